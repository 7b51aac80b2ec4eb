// An open-loop load on a front door: arrivals by schedule, whatever became of those before, and every answer checked.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { type Dispatcher, Pool } from 'undici'
import { WebSocket } from 'ws'

/** What arrives, and how often a second. The names say what is special about each. */
export interface Mix {
  /** GET on a kept connection. */
  get: number
  /** GET on a connection of its own. */
  getFresh: number
  /** POST with a length; the answer must be the same bytes. */
  post: number
  /** POST in chunks. */
  postChunked: number
  /** POST of 256 KiB, by turns with a length and in chunks. */
  postLarge: number
  /** A response that takes a while between its first byte and its last. */
  slow: number
  /** A WebSocket session of a few echoes. */
  webSocket: number
  /** An event stream that the client leaves after a while. */
  events: number
}
export type Kind = keyof Mix

/** One arrival and what became of it. */
export interface Sample {
  kind: Kind
  /** Epoch milliseconds at which the request was really sent. */
  sentAt: number
  /** Epoch milliseconds at which its answer began; null if there was none. */
  begunAt: number | null
  /** From the moment it was due until its last byte. */
  tookMs: number
  /** Who answered it. */
  release: string | null
  /** What was wrong with it. */
  problem: string | null
}

export const MIX: Mix = {
  get: 90,
  getFresh: 60,
  post: 40,
  postChunked: 15,
  postLarge: 4,
  slow: 15,
  webSocket: 6,
  events: 4,
}
export const KINDS = Object.keys(MIX) as Kind[]

const LARGE_BYTES = 256 * 1024
const SLOW_MS = [50, 150, 300] as const
/** Sessions outlive a switch, but not the sixty-four switches for which a claim may stay open. */
const SESSION_MS = [150, 300, 450] as const
const ECHO_EVERY_MS = 40
const GIVE_UP_MS = 15_000
const TICK_MS = 2

/** @returns one of the values, in turn */
const turnOf = <Value>(values: readonly [Value, ...Value[]], turn: number): Value =>
  values[turn % values.length] ?? values[0]

/** What an arrival works with. */
interface Turn {
  url: string
  pool: Pool
  /** Counts the arrivals of its kind. */
  turn: number
  /** Told once, when the answer begins. */
  begun(release: string | string[] | undefined): void
}

export class Load {
  readonly samples: Sample[] = []
  readonly #url: string
  readonly #pool: Pool
  readonly #rates: readonly (readonly [Kind, number])[]
  readonly #open = new Set<Promise<void>>()
  readonly #stopped = new AbortController()
  #running: Promise<void> = Promise.resolve()

  /** @param scale multiplies all the rates of the mix */
  constructor(url: string, scale = 1) {
    this.#url = url
    this.#pool = new Pool(url, { headersTimeout: GIVE_UP_MS, bodyTimeout: GIVE_UP_MS })
    this.#rates = KINDS.map((kind) => [kind, MIX[kind] * scale])
  }

  start(): void {
    this.#running = this.#run(performance.now())
  }

  /** No new arrivals; resolves when those that are open have ended. */
  async stop(): Promise<readonly Sample[]> {
    this.#stopped.abort()
    await this.#running
    await Promise.all(this.#open)
    await this.#pool.close()
    return this.samples
  }

  /** Starts what is due. What is late because this process was busy is late in its latency, too. */
  async #run(startedMs: number): Promise<void> {
    const turns = new Map<Kind, number>()
    while (!this.#stopped.signal.aborted) {
      const elapsedMs = performance.now() - startedMs
      for (const [kind, rate] of this.#rates) {
        for (let turn = turns.get(kind) ?? 0; turn < (elapsedMs * rate) / 1000; turn++) {
          turns.set(kind, turn + 1)
          this.#arrive(kind, turn, startedMs + (turn * 1000) / rate)
        }
      }
      await pause(TICK_MS)
    }
  }

  #arrive(kind: Kind, turn: number, dueMs: number): void {
    const sample: Sample = {
      kind,
      sentAt: Date.now(),
      begunAt: null,
      tookMs: 0,
      release: null,
      problem: null,
    }
    this.samples.push(sample)
    const begun = (release: string | string[] | undefined) => {
      sample.begunAt = Date.now()
      sample.release = String(release)
    }
    const exchange = EXCHANGES[kind]({ url: this.#url, pool: this.#pool, turn, begun })
      .catch((error: Error) => {
        sample.problem = `${error.name}: ${error.message}`
      })
      .finally(() => {
        sample.tookMs = performance.now() - dueMs
        this.#open.delete(exchange)
      })
    this.#open.add(exchange)
  }
}

/** How each kind goes. Each resolves after the last byte, and throws if the answer is not as it should be. */
const EXCHANGES: Record<Kind, (turn: Turn) => Promise<void>> = {
  async get({ pool, begun }) {
    const { statusCode, headers, body } = await pool.request({ path: '/', method: 'GET' })
    begun(headers['x-release'])
    expectAnswer(statusCode, headers['x-release'], (await body.json()) as { release: string })
  },
  async getFresh({ url, begun }) {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    httpGet(url, { agent: false, timeout: GIVE_UP_MS }, resolve).on('error', reject)
    const answer = await promise
    begun(answer.headers['x-release'])
    const body = JSON.parse((await buffer(answer)).toString())
    expectAnswer(answer.statusCode, answer.headers['x-release'], body)
  },
  post: (turn) => echo(turn, randomBytes(200 + ((turn.turn * 997) % 8_000)), false),
  postChunked: (turn) => echo(turn, randomBytes(200 + ((turn.turn * 997) % 30_000)), true),
  postLarge: (turn) => echo(turn, randomBytes(LARGE_BYTES), turn.turn % 2 === 1),
  async slow({ pool, turn, begun }) {
    const path = `/slow?ms=${turnOf(SLOW_MS, turn)}`
    const { statusCode, headers, body } = await pool.request({ path, method: 'GET' })
    begun(headers['x-release'])
    expect(statusCode, 200, 'status')
    expect(await body.text(), 'begun\nended\n', 'body')
  },
  webSocket,
  events,
}

async function echo({ pool, begun }: Turn, sent: Buffer, chunked: boolean): Promise<void> {
  const body = chunked ? Readable.from(piecesOf(sent)) : sent
  const answer = await pool.request({ path: '/echo', method: 'POST', body })
  begun(answer.headers['x-release'])
  const received = Buffer.from(await answer.body.arrayBuffer())
  expect(answer.statusCode, 200, 'status')
  if (!received.equals(sent)) throw new Error(`${received.length} bytes came back for ${sent.length}`)
}

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  const size = Math.ceil(bytes.length / 4)
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** Every message must be answered by the release that the socket was connected to. */
async function webSocket({ url, turn, begun }: Turn): Promise<void> {
  const socket = new WebSocket(url.replace('http:', 'ws:'), { handshakeTimeout: GIVE_UP_MS })
  const signal = AbortSignal.timeout(GIVE_UP_MS)
  const closed = once(socket, 'close', { signal })
  closed.catch(() => {})
  // What is given up on may still fail; it has nobody to tell.
  socket.on('error', () => {})
  await once(socket, 'open', { signal })
  const until = performance.now() + turnOf(SESSION_MS, turn)
  let release: string | undefined
  for (let count = 0; performance.now() < until; count++) {
    const text = `${turn}.${count}`
    const answered = once(socket, 'message', { signal })
    socket.send(text)
    const [data] = await Promise.race([answered, closed.then(endedEarly)])
    const [from, back] = String(data).split(': ')
    if (release === undefined) begun(from)
    release ??= from
    expect(from, release, 'release of the answer')
    expect(back, text, 'echo')
    await pause(ECHO_EVERY_MS)
  }
  socket.close(1000)
  const [code] = await closed
  expect(code, 1000, 'close code')
}

function endedEarly(how: unknown[]): never {
  throw new Error(`the connection ended early (${String(how[0])})`)
}

/** Events must arrive without a gap until the client has seen enough. */
async function events({ pool, turn, begun }: Turn): Promise<void> {
  const answer: Dispatcher.ResponseData = await pool.request({ path: '/sse', method: 'GET' })
  const release = answer.headers['x-release']
  begun(release)
  expect(answer.statusCode, 200, 'status')
  const until = performance.now() + turnOf(SESSION_MS, turn)
  let rest = ''
  let count = 0
  for await (const chunk of answer.body) {
    const whole = (rest + String(chunk)).split('\n\n')
    rest = whole.pop() ?? ''
    for (const event of whole) expect(event, `data: ${release} ${count++}`, 'event')
    // Leaving the loop destroys the body: the client goes away, as browsers do.
    if (performance.now() >= until) return
  }
  throw new Error(`the stream ended after ${count} events`)
}

function expectAnswer(status: number | undefined, release: unknown, body: { release: string }): void {
  expect(status, 200, 'status')
  expect(body.release, release, 'release in the body')
}

function expect(found: unknown, wanted: unknown, what: string): void {
  if (found !== wanted)
    throw new Error(`${what}: ${JSON.stringify(found)} instead of ${JSON.stringify(wanted)}`)
}
