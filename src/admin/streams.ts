// The events as a stream (Server-Sent Events, HTML Living Standard §9.2): how they are written, how many streams there may
// be, and what ends one: its reader, its key that is taken away, its age, or the end of slotgate.
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { SlotgateError } from '../errors.ts'
import type { FeedEvent } from '../switch/types.ts'

export interface StreamLimits {
  /** Streams at once; the other connections are for calls. */
  most: number
  /** A reader that goes away without a word is noticed by what is written to it. */
  heartbeatMs: number
  /** Then its reader has to sign again. */
  longestMs: number
}

export const STREAM_LIMITS: StreamLimits = { most: 128, heartbeatMs: 15_000, longestMs: 60 * 60 * 1000 }

/** How long a reader may take for the last octets. */
const END_WITHIN_MS = 250
const HEARTBEAT = ':\n\n'
/** How long a browser waits before it comes back. */
const RETRY = 'retry: 1000\n\n'

export class Streams {
  readonly #limits: StreamLimits
  /** What ends each, with whose it is. */
  readonly #open = new Map<AbortController, string>()

  constructor(limits: StreamLimits) {
    this.#limits = limits
  }

  /**
   * Answers with a stream.
   *
   * @param read gives the events until they are ended
   * @throws SlotgateError `too_many_readers`, and what `read` throws
   */
  async send(
    actor: string,
    reply: FastifyReply,
    read: (ending: AbortController) => Promise<AsyncIterable<readonly FeedEvent[]>>,
  ): Promise<FastifyReply> {
    const ending = this.#begin(actor, reply.raw)
    const stream = Readable.from(written(await read(ending)), { objectMode: false })
    // The last keeps a proxy in between from gathering what is to be seen at once.
    return reply.header('content-type', 'text/event-stream').header('x-accel-buffering', 'no').send(stream)
  }

  /** Counts the answer as a stream until it is closed. */
  #begin(actor: string, response: ServerResponse): AbortController {
    const { most } = this.#limits
    if (this.#open.size >= most) throw new SlotgateError('too_many_readers', { limit: most })
    const ending = new AbortController()
    // Its reader may have gone while the call was held; nothing would end it then.
    if (response.closed) ending.abort()
    else this.#keep(ending, actor, response)
    return ending
  }

  #keep(ending: AbortController, actor: string, response: ServerResponse): void {
    const { heartbeatMs, longestMs } = this.#limits
    this.#open.set(ending, actor)
    const heart = setInterval(() => beat(response), heartbeatMs).unref()
    const old = setTimeout(() => ending.abort(), longestMs).unref()
    let stuck: NodeJS.Timeout | undefined
    ending.signal.addEventListener('abort', () => {
      stuck = setTimeout(() => response.destroy(), END_WITHIN_MS)
    })
    response.once('close', () => {
      this.#open.delete(ending)
      ending.abort()
      clearInterval(heart)
      clearTimeout(old)
      clearTimeout(stuck)
    })
  }

  /** Ends the streams of all but those whose key stays as it is. */
  end(stays: (actor: string) => boolean = () => false): void {
    for (const [ending, actor] of this.#open) if (!stays(actor)) ending.abort()
  }
}

function beat(response: ServerResponse): void {
  if (response.headersSent && !response.writableEnded) response.write(HEARTBEAT)
}

/** The events as octets, in pieces that end where an event ends, so that a heartbeat may come between any two. */
async function* written(batches: AsyncIterable<readonly FeedEvent[]>): AsyncGenerator<Buffer> {
  yield Buffer.from(RETRY)
  for await (const events of batches) yield Buffer.concat(events.map(frameOf))
}

/** However many read an event, it is written down once. */
const frames = new WeakMap<FeedEvent, Buffer>()

function frameOf(event: FeedEvent): Buffer {
  const known = frames.get(event)
  if (known) return known
  const id = event.kind === 'record' ? event.record.seq : event.kind === 'live' ? event.seq : undefined
  const lines = [
    ...(id === undefined ? [] : [`id: ${id}`]),
    `event: ${event.kind}`,
    `data: ${JSON.stringify(event)}`,
  ]
  const frame = Buffer.from(`${lines.join('\n')}\n\n`)
  frames.set(event, frame)
  return frame
}
