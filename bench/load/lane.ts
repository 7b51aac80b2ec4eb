// One client of a load: a connection after another, and one request at a time on it. Every answer is looked at.
import { connect, type Socket } from 'node:net'
import { MessageReader, type MessageSink } from '../message.ts'

export interface Asked {
  port: number
  request: Buffer
  /** How long the body of each answer has to be. */
  bodyBytes: number
  /** A new connection for each request; the request has to say so, too. */
  connectsEach: boolean
}

/** Decides when a lane asks, and hears what became of it. */
export interface LaneOwner {
  /** It is connected and has nothing to wait for. */
  ready(lane: Lane): void
  /** @param isRight whether the answer came, with status 200 and a body of the right length */
  answered(lane: Lane, isRight: boolean): void
  /** Its connection ended while there was nothing to wait for; it is ready again when it has another. */
  lost(lane: Lane): void
}

const READ_BYTES = 256 * 1024
/** Every connection reads into the same memory, which is done with when its callback returns. */
const shared = Buffer.allocUnsafe(READ_BYTES)

export class Lane implements MessageSink {
  /** When what it asks was due. */
  dueMs = 0
  /** The first byte of the last answer's body: where two apps answer, it says which. */
  firstByte = 0
  /** For whoever watches: what was so when it asked. */
  asOf = 0
  readonly #asked: Asked
  readonly #owner: LaneOwner
  #reader = new MessageReader(this)
  #socket: Socket | null = null
  #closed: Promise<void> = Promise.resolve()
  #isRight = false
  #closes = false
  #bodyBytes = 0
  #awaits = false
  #left = false

  constructor(asked: Asked, owner: LaneOwner) {
    this.#asked = asked
    this.#owner = owner
  }

  connect(): void {
    this.#reader = new MessageReader(this)
    const onread = { buffer: shared, callback: (count: number) => this.#read(count) }
    const socket = connect({ port: this.#asked.port, host: '127.0.0.1', noDelay: true, onread })
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    socket.once('connect', () => this.#owner.ready(this))
    socket.once('error', () => socket.destroy())
    socket.once('close', () => this.#lost())
  }

  ask(): void {
    this.#awaits = true
    this.#bodyBytes = 0
    this.#socket?.write(this.#asked.request)
  }

  /** Whether an answer is awaited. */
  get isBusy(): boolean {
    return this.#awaits
  }

  /** Closes the connection, whatever is on its way. */
  leave(): Promise<void> {
    this.#left = true
    this.#socket?.destroy()
    return this.#closed
  }

  #read(count: number): boolean {
    this.#reader.push(shared.subarray(0, count))
    return true
  }

  head(head: string): void {
    this.#isRight = head.startsWith('HTTP/1.1 200')
    this.#closes = this.#asked.connectsEach || /\r\nconnection: *close/i.test(head)
  }

  body(bytes: Buffer): void {
    if (this.#bodyBytes === 0) this.firstByte = bytes[0] ?? 0
    this.#bodyBytes += bytes.length
  }

  end(): void {
    this.#awaits = false
    this.#owner.answered(this, this.#isRight && this.#bodyBytes === this.#asked.bodyBytes)
    if (this.#closes) this.#socket?.end()
    else if (!this.#left) this.#owner.ready(this)
  }

  /** A connection that ends between two requests is no failure: nginx closes after a thousand of them. */
  #lost(): void {
    if (this.#left) return
    if (this.#awaits) this.#owner.answered(this, false)
    else this.#owner.lost(this)
    this.#awaits = false
    this.connect()
  }
}
