// The closed load: so many connections, each sending its next request when it has the answer to the one before. It shows
// what a request costs a proxy that is kept busy.
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { MessageReader, type MessageSink } from '../message.ts'
import { type CpuTime, cpuTimeOf, difference } from '../usage.ts'

export interface ClosedLoad {
  port: number
  request: Buffer
  /** How long the body of each answer has to be. */
  bodyBytes: number
  connections: number
  /** A new connection for each request; the request has to say so, too. */
  connectsEach: boolean
}

export interface Window {
  /** Whose time is measured. */
  pids: readonly number[]
  warmMs: number
  measureMs: number
}

export interface Measured {
  answered: number
  failed: number
  tookMs: number
  cpu: CpuTime
}

interface Tally {
  answered: number
  failed: number
  stopped: boolean
}

const READ_BYTES = 256 * 1024
const LEAVES_WITHIN_MS = 2000
/** Every connection reads into the same memory, which is done with when its callback returns. */
const shared = Buffer.allocUnsafe(READ_BYTES)

export async function runClosed(load: ClosedLoad, { pids, warmMs, measureMs }: Window): Promise<Measured> {
  const tally: Tally = { answered: 0, failed: 0, stopped: false }
  const lanes = Array.from({ length: load.connections }, () => new Lane(load, tally))
  for (const lane of lanes) lane.connect()
  try {
    await pause(warmMs)
    const before = { ...tally, cpu: cpuTimeOf(pids), at: performance.now() }
    await pause(measureMs)
    const cpu = difference(cpuTimeOf(pids), before.cpu)
    const tookMs = performance.now() - before.at
    return { answered: tally.answered - before.answered, failed: tally.failed - before.failed, tookMs, cpu }
  } finally {
    tally.stopped = true
    await Promise.race([Promise.all(lanes.map((lane) => lane.leave())), pause(LEAVES_WITHIN_MS)])
  }
}

/** One client: a connection after another, one request at a time. */
class Lane implements MessageSink {
  readonly #load: ClosedLoad
  readonly #tally: Tally
  #reader = new MessageReader(this)
  #socket: Socket | null = null
  #closed: Promise<void> = Promise.resolve()
  #isRight = false
  #closes = false
  #bodyBytes = 0
  #awaits = false

  constructor(load: ClosedLoad, tally: Tally) {
    this.#load = load
    this.#tally = tally
  }

  connect(): void {
    this.#reader = new MessageReader(this)
    const onread = { buffer: shared, callback: (count: number) => this.#read(count) }
    const socket = connect({ port: this.#load.port, host: '127.0.0.1', noDelay: true, onread })
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.once('connect', () => this.#ask())
    socket.once('error', () => socket.destroy())
    socket.once('close', () => this.#lost())
  }

  leave(): Promise<void> {
    this.#socket?.destroy()
    return this.#closed
  }

  #ask(): void {
    this.#awaits = true
    this.#bodyBytes = 0
    this.#socket?.write(this.#load.request)
  }

  #read(count: number): boolean {
    this.#reader.push(shared.subarray(0, count))
    return true
  }

  head(head: string): void {
    this.#isRight = head.startsWith('HTTP/1.1 200')
    this.#closes = this.#load.connectsEach || /\r\nconnection: *close/i.test(head)
  }

  body(bytes: Buffer): void {
    this.#bodyBytes += bytes.length
  }

  end(): void {
    this.#awaits = false
    const { bodyBytes } = this.#load
    if (this.#isRight && this.#bodyBytes === bodyBytes) this.#tally.answered += 1
    else this.#tally.failed += 1
    if (this.#closes) this.#socket?.end()
    else if (!this.#tally.stopped) this.#ask()
  }

  /** A connection that ends between two requests is no failure: nginx closes after a thousand of them. */
  #lost(): void {
    if (this.#tally.stopped) return
    if (this.#awaits) this.#tally.failed += 1
    this.connect()
  }
}
