// A request's journey, told from top to bottom: from its head to the app, and from the app's head to the last octet.
// Each step goes on or throws; what is thrown becomes the answer. Runs in the thread of the client's connection.
import { type Code, SlotgateError } from '../errors.ts'
import type { Claim } from '../slots/table.ts'
import type { Peer } from './forwarded.ts'
import type { Front } from './front.ts'
import type { AppConnection, Asker } from './http1/app.ts'
import { BodyReader, type Framing } from './http1/body.ts'
import { type HeadReader, Unreadable } from './http1/head.ts'
import { afterContent, beforeContent, interimHead, requestHead, responseHead } from './http1/outgoing.ts'
import { asRefusal, bodyMustFit, type Request, screen } from './http1/request.ts'
import { isEventStream, type Response } from './http1/response.ts'
import type { Content, Taken } from './http1/write.ts'
import { Journey } from './journey.ts'
import { previewed } from './mark.ts'
import { annotated, askingForWhole, asksForPage, type Notice, takesAppendix } from './pages.ts'
import {
  type Answer,
  answerTo,
  asSlotgateError,
  CLOSES,
  jsonAnswer,
  localAnswer,
  pausedAnswer,
  upstreamFailure,
} from './refuse.ts'
import { createRequestId } from './request-id.ts'
import { pathOf, type Route, targetFor } from './route.ts'
import type { Pool } from './upstream.ts'

export const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/** RFC 9110 §9.2.2. A body may have been sent in part, so only requests without one. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** So much of a body is taken from a client whose request waits; then its connection is no longer read. */
const KEPT_BYTES = 64 * 1024

const NOTHING = Buffer.alloc(0)
const WRITTEN: Taken = { held: false, full: false }

/** What a load balancer in front asks, at the path that the app has for it. */
const isHealthCheck = ({ method, target }: Request, { service }: Route): boolean =>
  (method === 'GET' || method === 'HEAD') && pathOf(targetFor(target, service)) === service.health.path

/** Over so long the rate of a request's body is looked at. */
const RATE_WINDOW_MS = 30_000

/** A client's connection, as far as an exchange is concerned with it. */
export interface Client extends Peer {
  /** The client does not take what it is sent. */
  readonly isFull: boolean
  readonly isClosed: boolean
  /** Whether the client, after this exchange, is to open another connection. */
  readonly isLast: boolean
  /** The next thing has to happen within this time from now. */
  expect(withinMs: number): void
  /** Writes text of Latin-1, or any text. */
  write(text: string): void
  writeUtf8(text: string): void
  /** Writes a part of an answer. */
  send(head: string, content: Content, tail: string): Taken
  /** Stops reading from it, and goes on. */
  pause(): void
  resume(): void
  /** Stops reading from it while its exchange waits; that it leaves is noticed all the same. */
  setAside(): void
  /** The whole answer was written: `settle` the exchange when it has left. */
  finish(closes: boolean): void
  /** Ends the connection so that nobody takes the answer for complete. */
  breakOff(minor: number): void
}

export class Exchange extends Journey implements Asker {
  readonly #client: Client
  #request: Request | null = null
  #body: BodyReader | null = null
  /** What was read of the body while the request waits. */
  #kept = NOTHING
  #pool: Pool | null = null
  #app: AppConnection | null = null
  /** The request's head as it was sent, for the one case in which it is sent again. */
  #outgoing = ''
  #framing: Framing | null = null
  #closes = true
  /** What the page says that was asked for; null: nothing. */
  #notice: Notice | null = null
  #isPage = false
  /** What is still to go behind its end. */
  #appendix = ''
  /** The body so far, and what it was at the beginning of the window. */
  #received = 0
  #windowBegan = 0
  #windowReceived = 0
  /** What became of what was received last. */
  taken: Taken = WRITTEN
  /** The minor version of HTTP/1 that the client speaks. */
  minor = 1

  constructor(client: Client, front: Front) {
    super(front, client)
    this.#client = client
  }

  /** The whole request was received. */
  get isReceived(): boolean {
    return this.#body === null || this.#body.done
  }

  /** The head of an answer was sent. */
  get isAnswered(): boolean {
    return this.#framing !== null
  }

  // From the client's head to the app.

  /**
   * Takes the request whose head was read just now, with what is at hand of its body.
   *
   * @param headEnd where what is behind the head begins, and `end` where that ends
   * @returns where the octets behind it begin; -1: it asks for an upgrade, and is not this exchange's
   */
  begin(buffer: Buffer, headEnd: number, end: number): number {
    const { heads } = this.front
    this.read(heads)
    this.minor = heads.minor
    let next = headEnd
    try {
      const request = screen(heads)
      if (request.upgrade) return -1
      this.#request = request
      const body = new BodyReader(request.framing)
      this.#body = body
      next = this.#receive(body, buffer, headEnd, end)
      const own = this.front.pages?.answer(request.target) ?? null
      if (request.local) this.#answerLocally()
      else if (own !== null) this.#answerWith(jsonAnswer(own))
      else this.#forward(request, body, buffer)
    } catch (error) {
      this.refuse(error)
    }
    return next
  }

  /** The final recipient of an `OPTIONS` that is not to go further is the front door itself. */
  #answerLocally(): void {
    this.status = 204
    this.#answer(localAnswer(), '')
  }

  #forward(request: Request, body: BodyReader, buffer: Buffer): void {
    const { config, heads } = this.front
    const fields = this.fieldsFor(request, heads)
    const route = this.find(request, fields)
    bodyMustFit(request, this.#received, route.limits.bodyLimitBytes)
    const own = this.ownAnswer(request, route, heads)
    if (own !== null) return void this.#answerWith(own)
    const target = targetFor(request.target, route.service)
    const told = this.#fieldsOf(request, this.fieldsTo(route, fields))
    this.#outgoing = requestHead(request.method, target, told, config.upstreamReuse)
    const pool = this.enter(route)
    if (typeof pool !== 'string') this.#askOneOf(pool, request, body, buffer)
    else if (pool === 'paused' && !route.isPreview && isHealthCheck(request, route))
      this.#answerWith(pausedAnswer())
    else {
      this.#client.expect(this.wait(pool, route))
      this.#keep(body, buffer)
    }
  }

  #fieldsOf(request: Request, fields: string): string {
    const { pages } = this.front
    this.#isPage = pages !== null && asksForPage(request.method, fields)
    return this.#isPage && pages?.appends ? askingForWhole(fields) : fields
  }

  /** The buffer is about to be read into again. */
  #keep({ from, to, done }: BodyReader, buffer: Buffer): void {
    this.#kept = Buffer.concat([this.#kept, buffer.subarray(from, to)])
    if (!done && this.#kept.length >= KEPT_BYTES) this.#client.setAside()
  }

  /** Its wait is over: it is counted in a slot. */
  letIn(claim: Claim): void {
    this.stopWaiting()
    try {
      const pool = this.entered(claim)
      if (this.#request !== null && this.#body !== null) this.#goOn(pool, this.#request, this.#body)
    } catch (error) {
      this.refuse(error)
    }
  }

  #goOn(pool: Pool, request: Request, body: BodyReader): void {
    const kept = this.#kept
    this.#kept = NOTHING
    body.from = 0
    body.to = kept.length
    if (!body.done) this.#client.resume()
    this.#askOneOf(pool, request, body, kept)
  }

  /** It waited in vain. */
  turnAway(): void {
    if (this.waitsFor !== null) this.refuse(new SlotgateError(this.waitsFor))
  }

  #askOneOf(pool: Pool, request: Request, body: BodyReader, buffer: Buffer): void {
    this.#pool = pool
    if (request.awaitsContinue && !body.done && body.to === body.from) this.#client.write(CONTINUE)
    this.#ask(pool.borrow(), body, buffer)
  }

  #ask(app: AppConnection, body: BodyReader, buffer: Buffer): void {
    this.#app = app
    app.lend(this)
    this.#send(app, this.#outgoing, body, buffer)
    this.#expectNext()
  }

  /** Sends what was read of the body, framed as the head says. */
  #send(app: AppConnection, head: string, body: BodyReader, buffer: Buffer): void {
    const { kind } = body.framing
    const size = body.to - body.from
    app.requestSent = body.done
    const content = { body, buffer, common: buffer === this.front.buffers.common }
    const taken = app.send(head + beforeContent(kind, size), content, afterContent(kind, size, body.done))
    this.taken = taken
    if (taken.full && !body.done) this.#client.pause()
  }

  /**
   * Takes more of the body from the client.
   *
   * @returns where what no longer belongs to it begins
   */
  receive(buffer: Buffer, start: number, end: number): number {
    const body = this.#body
    if (body === null) return start
    this.taken = WRITTEN
    try {
      const next = this.#receive(body, buffer, start, end)
      if (this.#request && this.route)
        bodyMustFit(this.#request, this.#received, this.route.limits.bodyLimitBytes)
      if (this.waitsFor !== null) this.#keep(body, buffer)
      else {
        if (this.#app !== null) this.#send(this.#app, '', body, buffer)
        this.#expectOn()
      }
      return next
    } catch (error) {
      this.abandon(error)
      return end
    }
  }

  #receive(body: BodyReader, buffer: Buffer, start: number, end: number): number {
    const next = body.read(buffer, start, end)
    this.#received += body.to - body.from
    return next
  }

  /** The next thing to happen on the way to an answer has its own limit. */
  #expectNext(): void {
    const { config } = this.front
    const { upstreamTimeoutMs } = this.route?.limits ?? config
    if (this.#app?.connecting) this.#client.expect(config.connectTimeoutMs)
    else this.#client.expect(this.isReceived ? upstreamTimeoutMs : config.stallTimeoutMs)
  }

  /** Something went on: an answer that has begun has another limit, and a body that still comes keeps it alive. */
  #expectOn(): void {
    if (this.isAnswered) this.#expectMore()
    else this.#expectNext()
  }

  connected(): void {
    if (!this.isAnswered) this.#expectNext()
  }

  /** The app takes more of the body. */
  drained(): void {
    this.#client.resume()
    this.#expectOn()
  }

  // From the app's head to the client's last octet.

  /**
   * RFC 9110 §15.2: interim answers go on, except to HTTP/1.0. A 100 was answered here. A client that does not take
   * them stops the app.
   */
  interim(head: HeadReader): Taken {
    if (head.status !== 100 && this.minor === 1) this.#client.write(interimHead(head))
    return { held: false, full: this.#client.isFull }
  }

  /** The app has answered: its head goes on with what is at hand of the body, in one write. */
  answered(head: HeadReader, response: Response, content: Content): Taken {
    // Asking begins with the exchange, or with the end of its wait, but for a request that is sent a second time.
    this.upstreamMs = this.ageMs - this.heldMs
    this.#outgoing = ''
    this.status = head.status
    if (isEventStream(head)) this.toTunnel()
    const appendix = this.#appendixFor(head, response)
    const framing = this.#framingOf(response, appendix.length)
    // RFC 9112 §9.3: no lasting connection with an HTTP/1.0 client through a proxy; §9.6: an unread body ends it.
    this.#closes =
      !this.#request?.persistent || !this.isReceived || framing.kind === 'close' || this.#client.isLast
    this.#framing = framing
    return this.#deliver(this.#headOf(head, framing, appendix), framing, content)
  }

  /** What a page says of its service, as that stands when it is answered. */
  #noticeNow(): Notice | null {
    const { pages } = this.front
    if (pages === null || !this.#isPage || this.service === undefined) return null
    return pages.notice(this.service, this.release ?? null)
  }

  #appendixFor(head: HeadReader, { framing }: Response): string {
    this.#notice = this.#noticeNow()
    const appendix = this.#notice?.appendix ?? ''
    if (appendix === '' || !takesAppendix(head.status, head.text)) return ''
    // To HEAD the length is told of a body that does not come.
    if (framing.kind !== 'none') this.#appendix = appendix
    return appendix
  }

  #headOf(head: HeadReader, framing: Framing, appendix: string): string {
    const relayed = responseHead(head, framing, this.#closes)
    const told = this.isPreview ? previewed(relayed, this.release ?? '') : relayed
    const { pages } = this.front
    if (pages === null || this.#notice === null) return told
    return annotated(told, this.#notice.field, appendix === '' ? null : pages.script)
  }

  /** How the body ends on the connection to the client, who may not know chunks (RFC 9112 §7.1). */
  #framingOf({ declared }: Response, more: number): Framing {
    if (declared.kind === 'none' || (declared.kind === 'length' && more === 0)) return declared
    if (declared.kind === 'length') return { kind: 'length', bytes: declared.bytes + more }
    return { kind: this.minor === 1 ? 'chunked' : 'close' }
  }

  content(content: Content): Taken {
    return this.#deliver('', this.#framing ?? { kind: 'none' }, content)
  }

  #deliver(head: string, { kind }: Framing, content: Content): Taken {
    const { body } = content
    const size = body.to - body.from
    this.bytes += size
    this.#expectMore()
    const isLast = body.done && this.#appendix !== ''
    const tail = isLast ? this.#appended(kind, size) : afterContent(kind, size, body.done)
    return this.#client.send(head + beforeContent(kind, size), content, tail)
  }

  /** Behind the end of the page, and before the end of the body. */
  #appended(kind: Framing['kind'], size: number): string {
    const { length } = this.#appendix
    this.bytes += length
    return `${afterContent(kind, size, false)}${beforeContent(kind, length)}${this.#appendix}${afterContent(kind, length, true)}`
  }

  #expectMore(): void {
    const { tunnelIdleMs, stallTimeoutMs } = this.front.config
    this.#client.expect(this.claim?.kind === 'tunnels' ? tunnelIdleMs : stallTimeoutMs)
  }

  /** The client takes more of the answer. */
  clientDrained(): void {
    if (this.isAnswered) this.#expectMore()
    this.#app?.resume()
  }

  complete(): void {
    this.#app = null
    this.#client.finish(this.#closes)
  }

  // The ways to end early.

  /** The app's connection is gone, or what came over it is no answer. */
  lost(app: AppConnection, error: unknown): void {
    this.#app = null
    const refusal = this.#lossOf(app, error)
    if (refusal !== null) this.refuse(refusal)
    else this.#askAgain()
  }

  /**
   * The app closed a kept connection at the very moment it was used again. On a fresh one, so that it cannot meet a
   * second of that kind: never two retries.
   */
  #askAgain(): void {
    if (this.#body !== null && this.#pool !== null) this.#ask(this.#pool.open(), this.#body, NOTHING)
  }

  /** @returns null: the request may be sent once more */
  #lossOf(app: AppConnection, error: unknown): unknown {
    if (error instanceof Unreadable) return new SlotgateError('upstream_invalid', {}, { cause: error })
    const { code = '' } = (error ?? { code: 'EOF' }) as NodeJS.ErrnoException
    if (code === '') return error
    const repeatable = IDEMPOTENT.has(this.method) && this.#body?.framing.kind === 'none'
    if (app.reused && !app.heard && repeatable) return null
    return upstreamFailure(code, error)
  }

  /** Ends the exchange, whoever wants that: a limit, the end of a drain, a client that breaks the rules. */
  abandon(error: unknown): void {
    this.#app?.destroy()
    this.#app = null
    this.refuse(error)
  }

  /** At the end of a drain: one that waits for its answer gets a page; one that is being answered can only be cut. */
  cut(): void {
    const code = this.isAnswered || this.claim?.kind === 'tunnels' ? 'drain_cut' : 'upstream_timeout'
    this.abandon(new SlotgateError(code))
  }

  /** The time for what is waited for is up. */
  expired(): void {
    if (this.waitsFor !== null) this.turnAway()
    else this.abandon(new SlotgateError(this.#blame()))
  }

  #blame(): Code {
    const app = this.#app
    if (this.isAnswered) return app === null || this.#client.isFull ? 'client_closed' : 'upstream_timeout'
    return this.isReceived || app === null || app.connecting || app.isFull
      ? 'upstream_timeout'
      : 'request_timeout'
  }

  /** A body that comes drop by drop would hold its slot as long as it likes. */
  tick(nowMs: number): void {
    const { bodyRateBytes, bodyRateWindowMs = RATE_WINDOW_MS } = this.front.config
    if (bodyRateBytes === 0 || this.isReceived) return
    const waits = this.waitsFor !== null || this.#windowBegan === 0 || this.#app?.isFull
    if (!waits && nowMs - this.#windowBegan < bodyRateWindowMs) return
    const least = (bodyRateBytes * bodyRateWindowMs) / 1_000
    const tooSlow = !waits && this.#received - this.#windowReceived < least
    this.#windowBegan = nowMs
    this.#windowReceived = this.#received
    if (tooSlow) this.abandon(new SlotgateError('request_timeout'))
  }

  clientHalfClosed(goneMs: number): void {
    if (this.claim?.kind === 'tunnels') {
      this.abandon(new SlotgateError('client_closed'))
      return
    }
    const before = this.bytes
    setTimeout(() => {
      // The app is done or not silent, or the client is slow: what is written next tells whether it is there.
      if (this.isSettled || this.#app === null || this.bytes !== before || this.#client.isFull) return
      this.abandon(new SlotgateError('client_closed'))
    }, goneMs).unref()
  }

  /** The client's connection is closed, whoever closed it. */
  clientClosed(): void {
    this.error ??= new SlotgateError('client_closed')
    this.#app?.destroy()
    this.#app = null
    this.settle()
  }

  /** The exit of every failed exchange. */
  refuse(thrown: unknown): void {
    if (this.isSettled) return
    this.stopWaiting()
    if (this.requestId === '') this.requestId = createRequestId()
    const error = asSlotgateError(asRefusal(thrown, this.front.config), this.requestId)
    this.error = error
    const unanswerable = error.entry.status === 0 || error.code === 'client_closed'
    if (this.#client.isClosed) this.settle()
    else if (this.isAnswered || unanswerable) this.#client.breakOff(this.minor)
    else this.#answerWith(answerTo(error, this, this.#noticeNow()))
  }

  #answerWith({ status, head, body }: Answer): void {
    this.status = status
    this.#answer(head, this.method === 'HEAD' ? '' : body)
  }

  /** slotgate's own answer. */
  #answer(head: string, body: string): void {
    this.#closes =
      CLOSES.has(this.status) || !this.#request?.persistent || !this.isReceived || this.#client.isLast
    this.#framing = { kind: 'none' }
    this.bytes = Buffer.byteLength(body)
    this.#client.expect(this.front.config.stallTimeoutMs)
    this.#client.writeUtf8(`${head}${this.#closes ? 'Connection: close\r\n' : ''}\r\n${body}`)
    this.#client.finish(this.#closes)
  }
}
