// One client's connection: reads one request after the other, each only when the one before is over, and writes their
// answers. Runs in the thread that accepted it.
import type { Socket } from 'node:net'
import { SlotgateError } from '../../errors.ts'
import { type Client, CONTINUE, Exchange } from '../exchange.ts'
import { plainAddress } from '../forwarded.ts'
import type { Front } from '../front.ts'
import { LINGER_MS } from '../journey.ts'
import { readProxyHeader } from '../proxy-protocol.ts'
import { Intake } from './buffers.ts'
import { CR, LF } from './octets.ts'
import { readInto } from './read.ts'
import { type Content, type Taken, writeContent } from './write.ts'

/** What a client may send ahead of its turn before its connection is no longer read. */
const AHEAD_BYTES = 64 * 1024

/** After a client has closed its half in the middle of an answer, an app that is silent for so long has lost it. */
const GONE_MS = 50

const FIRST_PROBE_MS = 10
/** When to look for one that is not read while it waits. Not more often: there are clients that take five interim answers. */
const PROBES_ASIDE_MS = [250, 750, 2_500, 7_500]

const NOTHING = Buffer.alloc(0)

/**
 * `fresh`: nothing has arrived. `head`: a head has begun. `idle`: between two requests. `busy`: an exchange is under
 * way. `lingering`: all is written, what still comes is thrown away. `handedOver`: it is somebody else's.
 */
type Phase = 'fresh' | 'head' | 'idle' | 'busy' | 'lingering' | 'handedOver'

export class ClientConnection implements Client {
  readonly #socket: Socket
  readonly #front: Front
  readonly #onLeft: (client: ClientConnection) => void
  readonly #intake: Intake
  #phase: Phase = 'fresh'
  #exchange: Exchange | null = null
  /** What has arrived and belongs to no message yet: a part of a head, or requests that wait for their turn. */
  #ahead: Buffer = NOTHING
  #served = 0
  #deadlineMs: number
  #needsProxyHeader: boolean
  /** The exchange ended while the loop that begins exchanges was running, which then goes on by itself. */
  #reading = false
  /** The client said that it will send no more. */
  #halfClosed = false
  /** The address of the client, or of the proxy in front. */
  peer: string
  /** Whether what the peer says of others is believed. */
  trusted: boolean

  /** @param onLeft told when nothing more comes from or goes to the connection here */
  constructor(socket: Socket, front: Front, onLeft: (client: ClientConnection) => void) {
    this.#onLeft = onLeft
    this.#socket = socket
    this.#front = front
    this.#intake = new Intake(front.buffers)
    this.peer = plainAddress(socket.remoteAddress ?? '')
    this.trusted = front.isTrusted(this.peer)
    this.#needsProxyHeader = front.config.proxyProtocol
    this.#deadlineMs = front.clock.in(front.config.headTimeoutMs)
    readInto(
      socket,
      () => this.#intake.next,
      (size, buffer) => this.#onRead(size, buffer),
    )
    socket
      .on('drain', () => this.#safely(() => this.#exchange?.clientDrained()))
      .on('end', () => this.#onEnd())
      // What there is to say of it, `close` says.
      .on('error', () => {})
      .on('close', () => this.#onClose())
  }

  get exchange(): Exchange | null {
    return this.#exchange
  }

  /** The client does not take what it is sent. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain
  }

  get isClosed(): boolean {
    return this.#socket.destroyed
  }

  /** Whether the client, after this exchange, is to open another connection. */
  get isLast(): boolean {
    return this.#served >= this.#front.config.requestsPerConnection || this.#front.isClosing()
  }

  /** The exchange, or whatever is waited for, has so long from now. */
  expect(withinMs: number): void {
    this.#deadlineMs = this.#front.clock.in(withinMs)
  }

  /** Called at each tick of the door's clock. */
  tick(nowMs: number): void {
    this.#exchange?.tick(nowMs)
    if (nowMs < this.#deadlineMs) return
    this.#deadlineMs = Number.POSITIVE_INFINITY
    if (this.#exchange !== null) this.#exchange.expired()
    else if (this.#phase === 'head') this.#refuseUnread(new SlotgateError('request_timeout'))
    else this.#socket.destroy()
  }

  /** Ends the connection if no exchange is under way. */
  closeIdle(): void {
    if (this.#exchange === null && this.#phase !== 'lingering') this.#socket.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Writes text; the client is expected to keep up. */
  write(text: string): void {
    this.#socket.write(text, 'latin1')
  }

  /** Writes slotgate's own text, which may hold any character. */
  writeUtf8(text: string): void {
    this.#socket.write(text)
  }

  /** Writes a part of an answer. */
  send(head: string, content: Content, tail: string): Taken {
    return writeContent(this.#socket, head, content, tail)
  }

  /** The app does not keep up with the body, or does again. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#intake.written()
    this.#socket.resume()
  }

  /** Its end is behind all that is not read, and cannot be seen. */
  setAside(): void {
    const exchange = this.#exchange
    if (exchange === null || this.#socket.isPaused()) return
    this.pause()
    if (exchange.minor !== 1) return
    for (const atMs of PROBES_ASIDE_MS) setTimeout(() => this.#probeAside(exchange), atMs).unref()
  }

  #probeAside(exchange: Exchange): void {
    if (exchange === this.#exchange && exchange.waitsFor !== null && !this.isClosed) this.write(CONTINUE)
  }

  /**
   * The whole answer was written. The exchange is over when it has left.
   *
   * @param closes whether the connection ends with it
   */
  finish(closes: boolean): void {
    if (this.#socket.writableLength === 0) this.#over(closes)
    else this.#socket.write('', 'latin1', (error) => error ?? this.#over(closes))
  }

  /**
   * Ends a connection in the middle of an answer so that nobody takes the answer for complete (RFC 9112 §8). To
   * HTTP/1.1 it has a length or chunks and is visibly cut off by any end; to HTTP/1.0 it may need a reset.
   */
  breakOff(minor: number): void {
    if (minor === 1) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  /** The client has closed its half, and how it leaves cannot be told from how it waits (RFC 9112 §9.5). */
  get isHalfClosed(): boolean {
    return this.#halfClosed
  }

  #onRead(size: number, buffer: Buffer): boolean {
    if (this.#phase === 'handedOver') return this.#socket.push(Buffer.from(buffer.subarray(0, size)))
    if (this.#phase === 'lingering') return true
    this.#safely(() => {
      const exchange = this.#exchange
      const from = exchange !== null && !exchange.isReceived ? this.#receive(exchange, buffer, size) : 0
      if (from < size) this.#read(buffer, from, size)
    })
    return true
  }

  /** Takes more of a request's body. @returns where what no longer belongs to it begins */
  #receive(exchange: Exchange, buffer: Buffer, size: number): number {
    const from = exchange.receive(buffer, 0, size)
    if (exchange.isReceived) this.#intake.afterBody(buffer, exchange.taken.held)
    else this.#intake.afterRead(buffer, size, exchange.taken)
    return from
  }

  /** Takes octets that belong to no exchange yet. */
  #read(buffer: Buffer, from: number, end: number): void {
    const ahead = this.#ahead
    this.#ahead = NOTHING
    if (ahead.length > 0) {
      const whole = Buffer.concat([ahead, buffer.subarray(from, end)])
      if (this.#exchange === null) this.#next(whole, 0, whole.length, true)
      else this.#keep(whole)
    } else if (this.#exchange === null) this.#next(buffer, from, end, false)
    else this.#keep(Buffer.from(buffer.subarray(from, end)))
  }

  /** Keeps what cannot be used yet. */
  #keep(ahead: Buffer): void {
    this.#ahead = ahead
    if (this.#exchange !== null && ahead.length > AHEAD_BYTES) this.#socket.pause()
  }

  /**
   * Begins the next exchange, and further ones as long as each is over at once.
   *
   * @param kept nobody else reads into the buffer: what is left of it may stay where it is
   */
  #next(buffer: Buffer, from: number, end: number, kept: boolean): void {
    let start = this.#needsProxyHeader ? this.#readProxyHeader(buffer, from, end) : from
    this.#reading = true
    while (this.#exchange === null && this.#isReading && start >= 0) {
      start = skipEmptyLines(buffer, start, end)
      if (start === end) break
      const headEnd = this.#readHead(buffer, start, end)
      if (headEnd < 0) break
      start = this.#begin(buffer, start, headEnd, end)
    }
    this.#reading = false
    if (this.#halfClosed) this.#onLast(start >= 0 && start < end)
    if (start < 0 || start >= end || !this.#isReading) return
    const rest = buffer.subarray(start, end)
    this.#keep(kept ? rest : Buffer.from(rest))
  }

  /** What comes is read as requests. */
  get #isReading(): boolean {
    return this.#phase !== 'lingering' && this.#phase !== 'handedOver'
  }

  /** @returns where the head ends; -1: not yet, or never */
  #readHead(buffer: Buffer, start: number, end: number): number {
    // An empty line that has only begun.
    if (start + 1 === end && buffer[start] === CR) return this.#awaitHead()
    try {
      const headEnd = this.#front.heads.readRequest(buffer, start, end)
      return headEnd < 0 ? this.#awaitHead() : headEnd
    } catch (error) {
      this.#refuseUnread(error)
      return -1
    }
  }

  #awaitHead(): number {
    // The time runs from the first octet of a head, and from the connection for the first of them.
    if (this.#phase === 'idle') this.expect(this.#front.config.headTimeoutMs)
    this.#phase = 'head'
    return -1
  }

  /** @returns where the octets behind the request begin, or -1 if the connection is no longer this one's */
  #begin(buffer: Buffer, start: number, headEnd: number, end: number): number {
    const exchange = new Exchange(this, this.#front)
    this.#exchange = exchange
    this.#phase = 'busy'
    this.#served++
    const next = exchange.begin(buffer, headEnd, end)
    if (!exchange.isReceived) this.#intake.afterRead(buffer, end - start, exchange.taken)
    if (next >= 0) return next
    this.#exchange = null
    this.#handOver(Buffer.from(buffer.subarray(start, end)))
    return -1
  }

  /** Whoever relays upgrades gets the socket as if nothing had been read from it. */
  #handOver(unread: Buffer): void {
    const socket = this.#socket
    // Not those of its close: the connection is counted until then.
    for (const event of ['data', 'drain', 'end', 'error'] as const) socket.removeAllListeners(event)
    socket.pause()
    this.#ahead = NOTHING
    this.#phase = 'handedOver'
    this.#front.upgrade(socket, unread, this)
    this.#onLeft(this)
  }

  /** Answers what was no request, or not yet one. */
  #refuseUnread(error: unknown): void {
    const exchange = new Exchange(this, this.#front)
    this.#exchange = exchange
    this.#phase = 'busy'
    this.#ahead = NOTHING
    exchange.refuse(error)
  }

  #readProxyHeader(buffer: Buffer, from: number, end: number): number {
    const header = readProxyHeader(buffer, from, end)
    if (header.kind === 'more') {
      this.#keep(Buffer.from(buffer.subarray(from, end)))
      return -1
    }
    if (header.kind === 'invalid') {
      const error = new SlotgateError('proxy_header_invalid', { peer: this.peer, detail: header.detail })
      this.#front.log.warn({ client: this.peer, code: error.code }, error.message)
      this.#socket.destroy()
      return -1
    }
    this.#needsProxyHeader = false
    if (header.source) this.peer = plainAddress(header.source.address)
    // Without a source, the proxy speaks for somebody it does not name: HAProxy says LOCAL for clients of its sockets.
    this.trusted = header.source !== null && this.#front.isTrusted(this.peer)
    return this.#front.admits(this.#socket, this.peer) ? header.next : -1
  }

  #over(closes: boolean): void {
    const exchange = this.#exchange
    if (exchange === null) return
    this.#exchange = null
    exchange.settle()
    const wanted = !this.#halfClosed && !this.#front.isClosing()
    if (closes || (!wanted && this.#ahead.length === 0 && !this.#reading)) this.#linger()
    else this.#goOn()
  }

  /** The connection is free for the next request. */
  #goOn(): void {
    this.#phase = 'idle'
    this.expect(this.#front.config.keepAliveTimeoutMs)
    if (this.#socket.isPaused()) this.#socket.resume()
    const ahead = this.#ahead
    if (this.#reading || ahead.length === 0) return
    this.#ahead = NOTHING
    // Whoever has just ended the exchange before must not pay for what the next one meets.
    this.#safely(() => this.#next(ahead, 0, ahead.length, true))
  }

  /**
   * Reads on for a moment, so that closing does not reset the connection before the client has read the answer
   * (RFC 9112 §9.6).
   */
  #linger(): void {
    this.#phase = 'lingering'
    this.#ahead = NOTHING
    this.#socket.end()
    this.#socket.resume()
    if (this.#halfClosed) this.#socket.destroySoon()
    this.expect(LINGER_MS)
  }

  /** What a client's FIN means. Most clients are gone; a few have only said all they had to say (RFC 9112 §9.5). */
  #onEnd(): void {
    this.#halfClosed = true
    this.#onLast(this.#phase === 'head')
  }

  /** Nothing more will come. @param unfinished what has come is a part of a head */
  #onLast(unfinished: boolean): void {
    const exchange = this.#exchange
    if (exchange === null) {
      if (this.#phase === 'lingering') return
      if (unfinished) this.#refuseUnread(new SlotgateError('bad_request', { detail: 'it ends in its head' }))
      else this.#socket.destroySoon()
    } else if (exchange.isAnswered) {
      // Who has its answer already may well give the rest of its body up.
      exchange.clientHalfClosed(GONE_MS)
    } else if (!exchange.isReceived) {
      exchange.abandon(new SlotgateError('bad_request', { detail: 'it ends in its body' }))
    } else if (exchange.minor === 1) this.#probe(exchange, FIRST_PROBE_MS)
  }

  /**
   * Sends interim answers, which every client must be able to read (RFC 9110 §15.2); 100, because some know no other.
   * The machine of a client that is gone answers the first with a reset, and the second finds that out; the exchange
   * then ends as any aborted one.
   */
  #probe(exchange: Exchange, againMs: number): void {
    if (exchange !== this.#exchange || exchange.isAnswered || this.isClosed) return
    this.write(CONTINUE)
    setTimeout(() => this.#probe(exchange, againMs * 2), againMs).unref()
  }

  #onClose(): void {
    this.#onLeft(this)
    this.#exchange?.clientClosed()
    this.#exchange = null
  }

  /** A fault of ours costs one connection, never the process. */
  #safely(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#front.log.error({ err: error, request_id: this.#exchange?.requestId }, 'an exchange ended badly')
      this.#socket.destroy()
    }
  }
}

/** RFC 9112 §2.2: empty lines before a request line are ignored. @returns where the first other octet is */
function skipEmptyLines(buffer: Buffer, from: number, end: number): number {
  let at = from
  while (at + 1 < end && buffer[at] === CR && buffer[at + 1] === LF) at += 2
  return at
}
