// One connection to an app: sends a request, reads the answer strictly, and knows whether it may be used again.
// Runs in the thread of the exchange.
import { connect, type Socket } from 'node:net'
import type { Address } from '../../config/types.ts'
import { BodyReader } from './body.ts'
import { type Buffers, Intake } from './buffers.ts'
import type { HeadReader } from './head.ts'
import { isPersistent } from './request.ts'
import { type Response, screenResponse } from './response.ts'
import { type Content, type Taken, writeContent } from './write.ts'

/** Who gets what the app says. What it throws, ends the connection. */
export interface Asker {
  readonly method: string
  /** An interim answer (1xx but 101). */
  interim(head: HeadReader): Taken
  /** The head of the answer and what is at hand of its body, at `body.from` to `body.to`. */
  answered(head: HeadReader, response: Response, content: Content): Taken
  /** More of its body. */
  content(content: Content): Taken
  /** The app has taken what was sent so far. */
  drained(): void
  /** The connection is established. */
  connected(): void
  /** The answer is complete; the connection is no longer the asker's. */
  complete(): void
  /** The connection ended before the answer was complete, or what it said is no answer. */
  lost(app: AppConnection, error: unknown): void
}

/** Where connections that may be used again go. */
export interface Home {
  readonly address: Address
  /** @returns false if the connection must not be kept */
  keep(app: AppConnection): boolean
  /** The connection is closed. */
  left(app: AppConnection): void
}

/** What all connections of a thread read with. */
export interface Reading {
  readonly heads: HeadReader
  readonly buffers: Buffers
}

/** The app closed its connection, in order but too early. */
class Ended extends Error {
  readonly code = 'EOF'

  constructor(when: string) {
    super(`the app closed its connection ${when}`)
  }
}

export class AppConnection {
  readonly #socket: Socket
  readonly #home: Home
  readonly #heads: HeadReader
  readonly #intake: Intake
  #asker: Asker | null = null
  #body: BodyReader | null = null
  /** The beginning of a head whose end has not arrived. */
  #unread: Buffer | null = null
  #persistent = true
  #requestSent = true
  #error: Error | undefined
  /** It has carried an exchange before: the app may be closing it at this moment. */
  reused = false
  /** The app has said something since it was asked. */
  heard = false
  /** When it was put aside; milliseconds of the door's clock. */
  idleSinceMs = 0

  constructor(home: Home, { heads, buffers }: Reading) {
    this.#home = home
    this.#heads = heads
    this.#intake = new Intake(buffers)
    const { address } = home
    const where =
      address.kind === 'unix'
        ? { path: address.path }
        : { host: address.host, port: address.port, noDelay: true }
    this.#socket = connect({
      ...where,
      // No stream in between: one buffer for all, and nothing is allocated for what arrives.
      onread: {
        buffer: () => this.#intake.next,
        callback: (size, buffer) => this.#onRead(size, asBuffer(buffer)),
      },
    })
    this.#socket
      .on('connect', () => this.#asker?.connected())
      .on('drain', () => this.#asker?.drained())
      .on('end', () => this.#onEnd())
      .on('error', (error) => {
        this.#error = error
      })
      .on('close', () => this.#onClose())
  }

  get connecting(): boolean {
    return this.#socket.connecting
  }

  /** The app does not take what it is sent. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain
  }

  /** Whether the asker has sent the whole request. */
  set requestSent(sent: boolean) {
    this.#requestSent = sent
  }

  /** Gives the connection to an asker, who then sends. */
  lend(asker: Asker): void {
    this.#asker = asker
    this.#body = null
    this.heard = false
  }

  /** Sends a part of the request. */
  send(head: string, content: Content, tail: string): Taken {
    return writeContent(this.#socket, head, content, tail)
  }

  /** The asker has written all that it took, and can take more. */
  resume(): void {
    this.#intake.written()
    this.#socket.resume()
  }

  /** Ends the connection at once; the asker, if it still has one, is not told. */
  destroy(): void {
    this.#asker = null
    this.#socket.destroy()
  }

  #onRead(size: number, buffer: Buffer): boolean {
    const asker = this.#asker
    // Nobody has asked: RFC 9112 §9.2, it is no answer to anything.
    if (asker === null) {
      this.#socket.destroy()
      return false
    }
    this.heard = true
    try {
      return this.#take(asker, buffer, size)
    } catch (error) {
      this.#lose(error)
      return false
    }
  }

  /** @returns whether to read on */
  #take(asker: Asker, buffer: Buffer, size: number): boolean {
    const body = this.#body
    const taken =
      body === null ? this.#takeHead(asker, buffer, size) : this.#takeBody(asker, body, buffer, size)
    if (taken === null) return true
    if (this.#asker === null) return !this.#socket.destroyed
    return !taken.full
  }

  #takeHead(asker: Asker, read: Buffer, size: number): Taken | null {
    const heads = this.#heads
    const buffer = this.#unread === null ? read : Buffer.concat([this.#unread, read.subarray(0, size)])
    const end = this.#unread === null ? size : buffer.length
    this.#unread = null
    let interim: Taken | null = null
    for (let start = 0; ; ) {
      const headEnd = start === end ? -1 : heads.readResponse(buffer, start, end)
      if (headEnd < 0) {
        if (start < end) this.#unread = Buffer.from(buffer.subarray(start, end))
        return interim
      }
      if (!isInterim(heads.status)) {
        const response = screenResponse(heads, asker.method)
        const body = new BodyReader(response.framing)
        this.#body = body
        this.#persistent = isPersistent(heads) && response.framing.kind !== 'close'
        const next = body.read(buffer, headEnd, end)
        const taken = asker.answered(heads, response, this.#content(body, buffer))
        this.#afterContent(taken, buffer, size, next === end)
        return taken
      }
      interim = asker.interim(heads)
      start = headEnd
    }
  }

  #takeBody(asker: Asker, body: BodyReader, buffer: Buffer, size: number): Taken {
    const next = body.read(buffer, 0, size)
    const taken = asker.content(this.#content(body, buffer))
    this.#afterContent(taken, buffer, size, next === size)
    return taken
  }

  #content(body: BodyReader, buffer: Buffer): Content {
    return { body, buffer, common: this.#intake.isCommon(buffer) }
  }

  /**
   * @param clean nothing came behind the answer. What does is never an answer to the next request (RFC 9112 §9.2)
   */
  #afterContent(taken: Taken, buffer: Buffer, size: number, clean: boolean): void {
    if (this.#asker === null) return
    if (!this.#body?.done) {
      this.#intake.afterRead(buffer, size, taken)
      return
    }
    this.#intake.afterBody(buffer, taken.held)
    const asker = this.#asker
    this.#asker = null
    this.reused = true
    // What is still on its way to the app would stand in front of the next request.
    const isFree = this.#requestSent && this.#socket.writableLength === 0
    const keep = clean && isFree && this.#persistent && this.#home.keep(this)
    if (!keep) this.#socket.destroy()
    asker.complete()
  }

  #onEnd(): void {
    const body = this.#body
    const asker = this.#asker
    if (asker === null || body === null || body.framing.kind !== 'close') {
      this.#lose(new Ended(body === null ? 'before its answer' : 'in the middle of its answer'))
      return
    }
    try {
      // RFC 9112 §6.3 item 8: the end of the connection is the end of this body.
      body.end()
      const taken = asker.content(this.#content(body, EMPTY))
      this.#afterContent(taken, EMPTY, 0, false)
    } catch (error) {
      this.#lose(error)
    }
  }

  #onClose(): void {
    this.#home.left(this)
    this.#lose(this.#error)
  }

  #lose(error: unknown): void {
    const asker = this.#asker
    this.destroy()
    asker?.lost(this, error)
  }
}

/** An answer before the answer; a switch of protocols is none (RFC 9110 §15.2). */
const isInterim = (status: number): boolean => status >= 100 && status < 200 && status !== 101

const asBuffer = (octets: Uint8Array): Buffer =>
  octets instanceof Buffer ? octets : Buffer.from(octets.buffer, octets.byteOffset, octets.length)

const EMPTY = Buffer.alloc(0)
