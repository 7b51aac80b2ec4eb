// The API of an engine that runs containers, Docker's or one that speaks the same: each call on a connection of its own,
// so that nothing is kept open for an engine that is started again.
import type { Dispatcher } from 'undici'
import type { Address } from '../../config/types.ts'
import { SlotgateError } from '../../errors.ts'
import { describeFailure, originOf } from '../ask.ts'

/** Docker 20.10 and later, Podman 3 and later. */
const API = '/v1.41'
/** To create or to start a container takes a busy machine its time. */
const ANSWER_WITHIN_MS = 60_000

/** The engine answered, and refused. */
export class EngineRefusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'EngineRefusal'
    this.status = status
  }
}

export interface EngineCall {
  method: 'GET' | 'POST' | 'DELETE'
  /** Below the version, with its query. */
  path: string
  body?: unknown
  /** How long the answer may take to begin, in milliseconds; 0: as long as it takes. */
  withinMs?: number
  /** How long nothing may come of it once it has begun; absent: as long as it takes. */
  silentMs?: number
  signal?: AbortSignal
}

export interface Engine {
  /**
   * @returns what the engine says, parsed; null where it says nothing
   * @throws EngineRefusal, or SlotgateError `engine_unusable` where there is nobody to refuse
   */
  ask(call: EngineCall): Promise<unknown>
  /** As `ask`, for an answer that comes bit by bit. */
  follow(call: EngineCall): AsyncIterable<Buffer>
}

export function engineAt(address: Address): Engine {
  // As its own command line takes it.
  const engine = address.kind === 'unix' ? `unix://${address.path}` : `tcp://${address.host}:${address.port}`
  const unusable = (detail: string, cause: unknown) =>
    new SlotgateError('engine_unusable', { engine, detail }, { cause })

  async function* follow(call: EngineCall): AsyncGenerator<Buffer> {
    const { method, path, body, withinMs, silentMs, signal } = call
    // Loaded here: who has no containers needs none of it.
    const { Client } = await import('undici')
    const client = new Client(originOf(address), {
      bodyTimeout: silentMs ?? 0,
      headersTimeout: withinMs ?? ANSWER_WITHIN_MS,
      ...(address.kind === 'unix' && { connect: { socketPath: address.path } }),
    })
    try {
      const response = await client.request({
        method,
        path: API + path,
        headers: { 'content-type': 'application/json' },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
      })
      if (response.statusCode >= 400) throw await refusalOf(response)
      yield* response.body
    } catch (error) {
      if (error instanceof EngineRefusal || signal?.aborted) throw error
      throw unusable(describeFailure(error), error)
    } finally {
      // Not awaited: a connection that is no longer wanted may still bring something.
      client.destroy().catch(() => {})
    }
  }

  async function ask(call: EngineCall): Promise<unknown> {
    const chunks: Buffer[] = []
    for await (const chunk of follow(call)) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    try {
      return text.trim() === '' ? null : JSON.parse(text)
    } catch (error) {
      throw unusable('what answers there is no engine', error)
    }
  }

  return { ask, follow }
}

async function refusalOf({ statusCode, body }: Dispatcher.ResponseData): Promise<EngineRefusal> {
  const text = await body.text()
  return new EngineRefusal(statusCode, saidIn(text) ?? `it answered ${statusCode}`)
}

function saidIn(text: string): string | undefined {
  try {
    const { message } = JSON.parse(text) as { message?: string }
    return message?.trim().replace(/\.$/, '')
  } catch {
    return undefined
  }
}

/** Whether the engine says that there is no such thing. */
export const isGone = (error: unknown): boolean => error instanceof EngineRefusal && error.status === 404

/** Whether the engine says that this is being done already. */
export const isUnderWay = (error: unknown): boolean => error instanceof EngineRefusal && error.status === 409
