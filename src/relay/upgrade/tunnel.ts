// An upgrade's journey, told from top to bottom: asked by http-proxy, checked before it is joined, idle together, closed
// together. Runs in the thread of the client's connection.
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type Code, SlotgateError } from '../../errors.ts'
import type { Claim, ClaimKind } from '../../slots/table.ts'
import type { Peer } from '../forwarded.ts'
import type { Front } from '../front.ts'
import type { Framing } from '../http1/body.ts'
import { HeadReader, Unreadable } from '../http1/head.ts'
import {
  afterContent,
  beforeContent,
  interimHead,
  membersOf,
  responseHead,
  switchFields,
} from '../http1/outgoing.ts'
import { type Request, screen } from '../http1/request.ts'
import { screenResponse } from '../http1/response.ts'
import { Journey, LINGER_MS } from '../journey.ts'
import { previewed, previewField } from '../mark.ts'
import { answerTo, asSlotgateError, upstreamFailure } from '../refuse.ts'
import { type Route, targetFor } from '../route.ts'
import { ANSWER_FIELDS, type Pool } from '../upstream.ts'
import { Frames, GOING_AWAY } from './frames.ts'
import { type AnswerHead, type Fields, sendUpgrade } from './http-proxy.ts'

/** When one side has closed its half, the other has so long between two bytes. */
const HALF_CLOSED_MS = 10_000

/** How long what was written last may take to leave, and its reader to answer, once a tunnel is cut. */
const FLUSH_MS = 1_000

const KEEPALIVE_MS = 30_000

/** In lower case, as http-proxy looks for them. */
const UPGRADE = 'connection: Upgrade\r\nupgrade: websocket\r\n'

/** Sends what is written, then a FIN, then no longer waits. */
function closeSoon(socket: Socket): void {
  if (socket.destroyed) return
  socket.destroySoon()
  setTimeout(() => socket.destroy(), FLUSH_MS).unref()
}

/** A reset is passed on at once. An end waits for what is still being written; the clock of idle tunnels bounds that. */
function bind(one: Socket, other: Socket): void {
  one.once('error', () => other.destroy())
  one.once('close', () => {
    other.end()
    // Nobody is left to hear what it still says, its FIN excepted.
    other.resume()
  })
}

/** Reads on for a moment, so that closing does not reset the connection before its client has read the answer. */
function linger(socket: Socket): void {
  socket.resume()
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}

/** Resolves when it is closed, however: `once` of node:events would reject at a reset. */
const closed = async (socket: Socket): Promise<void> => {
  if (!socket.closed) await new Promise<void>((resolve) => socket.once('close', () => resolve()))
}

/** Resolves when all that was written has left. */
const left = async (socket: Socket): Promise<void> => {
  if (!socket.writableFinished) await new Promise<void>((resolve) => socket.once('finish', resolve))
}

const appIsLate = (): Code => 'upstream_timeout'

/** What an app says to an upgrade request; `app` is its side of the tunnel if it has switched. */
type Answered =
  | { answer: IncomingMessage; app: null }
  | { answer: IncomingMessage; app: Socket; join: () => void }

/** Field lines as http-proxy takes them. Not assigned: a client may call a field `__proto__`. */
function asObject(lines: string): Fields {
  const fields: Fields = {}
  const names = new Map<string, string>()
  for (const line of lines.split('\r\n').slice(0, -1)) {
    const colon = line.indexOf(':')
    const name = names.get(line.slice(0, colon).toLowerCase()) ?? line.slice(0, colon)
    names.set(name.toLowerCase(), name)
    const before = Object.hasOwn(fields, name) ? fields[name] : undefined
    const value = before === undefined ? line.slice(colon + 2) : [before, line.slice(colon + 2)].flat()
    Object.defineProperty(fields, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return fields
}

export class Tunnel extends Journey {
  readonly #socket: Socket
  readonly #request: Request
  readonly #fields: string
  readonly #abandoned = new AbortController()
  #app: Socket | null = null
  #ask: ClientRequest | null = null
  /** The app's frames, to tell where a close frame may stand. */
  readonly #frames = new Frames()
  #timer: NodeJS.Timeout | undefined
  /** Its request was read for the second time. */
  #begun = false
  /** Told when its wait is over. */
  readonly #turn = Promise.withResolvers<Pool>()
  /** Its client is being told to go elsewhere. */
  #isCut = false

  /** @param front whose reader has just read the head of the upgrade request */
  constructor(front: Front, socket: Socket, from: Peer) {
    super(front, from)
    this.#socket = socket
    this.read(front.heads)
    this.#request = screen(front.heads)
    this.#fields = this.fieldsFor(this.#request, front.heads)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => this.#clientClosed())
    // Nobody half-closes a connection that is about to become a tunnel.
    socket.once('end', () => this.status === 0 && this.#abandon(new SlotgateError('client_closed')))
  }

  /**
   * Carries the tunnel until both of its sockets are closed. Never throws.
   *
   * @param request the client's, as node:http has read it
   * @param early what the client sent behind it
   */
  async carry(request: IncomingMessage, early: Buffer): Promise<void> {
    this.#begun = true
    try {
      const answered = await this.#unlessAbandoned(this.#asked(request, early))
      if (answered.app === null) await this.#deliver(answered.answer)
      else await this.#joined(answered.app, answered.answer, answered.join)
      this.#abandoned.signal.throwIfAborted()
    } catch (error) {
      this.#ask?.destroy()
      this.#refuse(error)
    } finally {
      clearTimeout(this.#timer)
      this.settle()
    }
    await closed(this.#socket)
  }

  /** @throws why it was abandoned, as soon as it is */
  #unlessAbandoned<Result>(step: Promise<Result>): Promise<Result> {
    const { signal } = this.#abandoned
    const { promise, reject } = Promise.withResolvers<never>()
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    return Promise.race([step, promise])
  }

  /** @returns where its release is reached, once it is counted there; while the service takes no requests, it waits */
  async #admitted(route: Route): Promise<Pool> {
    const pool = this.enter(route)
    if (typeof pool !== 'string') return pool
    this.#expect(this.wait(pool, route), () => this.waitsFor ?? pool)
    return this.#unlessAbandoned(this.#turn.promise)
  }

  /** Its wait is over: it is counted in a slot. */
  letIn(claim: Claim): void {
    this.stopWaiting()
    try {
      this.#turn.resolve(this.entered(claim))
    } catch (error) {
      this.#turn.reject(error)
    }
  }

  /** It waited in vain. */
  turnAway(): void {
    if (this.waitsFor !== null) this.#abandon(new SlotgateError(this.waitsFor))
  }

  /** @returns the app's answer; with the app's side of the tunnel if it has switched */
  async #asked(request: IncomingMessage, early: Buffer): Promise<Answered> {
    const { connectTimeoutMs } = this.front.config
    this.#abandoned.signal.throwIfAborted()
    const route = this.find(this.#request, this.#fields)
    if (this.previewFor(this.#request.target, route) !== null) {
      throw new SlotgateError('bad_request', { detail: 'a link to a preview opens no WebSocket' })
    }
    const { upstreamTimeoutMs } = route.limits
    const { address } = await this.#admitted(route)
    this.#abandoned.signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    const startedMs = this.ageMs
    const target = targetFor(this.#request.target, route.service)
    const fields = asObject(this.fieldsTo(route, this.#fields) + UPGRADE)
    const ask = sendUpgrade(
      request,
      this.#socket,
      early,
      { address, target, fields },
      {
        informed: (answer) => this.#inform(answer, reject),
        answered: (answer) => resolve({ answer, app: null }),
        switched: (answer, app, join) => resolve({ answer, app, join }),
        failed: (cause) => reject(upstreamFailure(cause.code ?? '', cause)),
      },
    )
    this.#ask = ask
    this.#expect(connectTimeoutMs, appIsLate)
    ask.once('socket', (socket) => socket.once('connect', () => this.#expect(upstreamTimeoutMs, appIsLate)))
    const answered = await promise
    this.upstreamMs = this.ageMs - startedMs
    return answered
  }

  /**
   * RFC 9110 §15.2: interim answers go on, as long as the client takes them. A 100 answers what only the front door can
   * have asked.
   */
  #inform(answer: AnswerHead, reject: (error: unknown) => void): void {
    try {
      const head = this.#reread(answer)
      if (head.status !== 100 && !this.#socket.writableNeedDrain)
        this.#socket.write(interimHead(head), 'latin1')
    } catch (error) {
      reject(error)
    }
  }

  /** The switch must be to what the client asked for, and by an app that speaks it (RFC 6455 §4.2.2). */
  async #joined(app: Socket, answer: IncomingMessage, join: () => void): Promise<void> {
    this.#app = app
    try {
      const head = this.#reread(answer)
      const agreed =
        membersOf(head.values('upgrade')).join() === 'websocket' &&
        membersOf(head.values('connection')).includes('upgrade') &&
        head.values('sec-websocket-accept').length === 1
      if (!agreed) throw new SlotgateError('upstream_invalid')
      const told = this.isPreview ? previewField(this.release ?? '') : ''
      answer.headers = asObject(switchFields(head) + told + UPGRADE)
    } catch (error) {
      app.destroy()
      throw error
    }
    this.status = 101
    this.toTunnel()
    this.#connect(app, join)
    await Promise.all([closed(this.#socket), closed(app)])
  }

  #connect(app: Socket, join: () => void): void {
    const client = this.#socket
    bind(client, app)
    bind(app, client)
    this.#idle(this.front.config.tunnelIdleMs)
    // http-proxy writes the head of the 101 as text, and each character stands for the octet that came.
    client.setDefaultEncoding('latin1')
    join()
    client.setDefaultEncoding('utf8')
    app.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      this.#frames.read(chunk)
    })
    for (const socket of [client, app]) {
      socket.setKeepAlive(true, KEEPALIVE_MS)
      socket.on('data', () => this.#isCut || this.#timer?.refresh())
      socket.once('end', () => this.#isCut || this.#idle(HALF_CLOSED_MS))
    }
  }

  /** The answer's head once more, as strictly as any other. */
  #reread({ httpVersion, statusCode, statusMessage, rawHeaders }: AnswerHead): HeadReader {
    const lines = [`HTTP/${httpVersion} ${statusCode} ${statusMessage}`]
    for (let at = 0; at < rawHeaders.length; at += 2) lines.push(`${rawHeaders[at]}: ${rawHeaders[at + 1]}`)
    const octets = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
    const head = new HeadReader({
      ...this.front.config,
      fieldLimit: ANSWER_FIELDS,
      headLimitBytes: octets.length,
    })
    head.readResponse(octets, 0, octets.length)
    return head
  }

  /** The app did not switch: its answer is one like any other, and the connection's last. */
  async #deliver(answer: IncomingMessage): Promise<void> {
    answer.on('error', () => {})
    const client = this.#socket
    const head = this.#reread(answer)
    const { declared } = screenResponse(head, 'GET')
    const framing: Framing = declared.kind === 'close' ? { kind: 'chunked' } : declared
    this.status = head.status
    const told = responseHead(head, framing, true)
    client.write(this.isPreview ? previewed(told, this.release ?? '') : told, 'latin1')
    this.#expect(this.front.config.stallTimeoutMs, () =>
      client.writableLength > 0 ? 'client_closed' : 'upstream_timeout',
    )
    answer.on('data', (chunk: Buffer) => {
      this.#timer?.refresh()
      this.bytes += chunk.length
      client.write(beforeContent(framing.kind, chunk.length), 'latin1')
      client.write(chunk)
      if (!client.write(afterContent(framing.kind, chunk.length, false), 'latin1')) answer.pause()
    })
    client.on('drain', () => {
      this.#timer?.refresh()
      answer.resume()
    })
    await this.#unlessAbandoned(new Promise((resolve) => answer.once('close', resolve)))
    if (!answer.complete) throw new SlotgateError('upstream_failed')
    client.end(afterContent(framing.kind, 0, true), 'latin1')
    await this.#unlessAbandoned(left(client))
    linger(client)
  }

  /** Something has to happen within this time, which begins anew with each octet. */
  #expect(withinMs: number, blame: () => Code): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(
      () => this.#abandon(new SlotgateError(blame(), { within_ms: withinMs })),
      withinMs,
    )
  }

  #idle(withinMs: number): void {
    this.#expect(withinMs, () => 'tunnel_idle')
  }

  #clientClosed(): void {
    // That is how a tunnel ends; before the 101 it is an early end.
    if (this.status === 0 || (this.status !== 101 && !this.#socket.writableFinished))
      this.#abandon(new SlotgateError('client_closed'))
  }

  #abandon(error: SlotgateError): void {
    if (this.#abandoned.signal.aborted) return
    this.#abandoned.abort(error)
    this.#ask?.destroy()
    if (this.status === 101) {
      closeSoon(this.#socket)
      if (this.#app) closeSoon(this.#app)
    } else if (!this.#begun) {
      this.#refuse(error)
      this.settle()
    }
  }

  override isOf(service: number, generations: readonly number[], kind: ClaimKind): boolean {
    return !this.isSettled && super.isOf(service, generations, kind)
  }

  /** At the end of a drain: the client is told, at the next frame boundary, and goes elsewhere. */
  cut(): void {
    if (this.isSettled) this.#socket.destroy()
    else if (this.status === 0) this.#abandon(new SlotgateError('upstream_timeout'))
    else if (this.#app === null || this.#socket.writableEnded) this.#abandon(new SlotgateError('drain_cut'))
    else if (!this.#isCut) this.#finishFrame(this.#app)
  }

  /** From here on the app's frames are passed on by hand, up to the end of the one that is under way. */
  #finishFrame(app: Socket): void {
    const client = this.#socket
    const frames = this.#frames
    this.#isCut = true
    app.unpipe(client).removeAllListeners('data')
    if (frames.isBoundary) {
      this.#sayGoodbye(app)
      return
    }
    app.on('data', (chunk: Buffer) => {
      const end = frames.readFrame(chunk, 0)
      this.bytes += end
      const ready = client.write(chunk.subarray(0, end))
      if (frames.isBoundary) this.#sayGoodbye(app)
      else if (!ready) app.pause()
    })
    app.once('end', () => this.#abandon(new SlotgateError('drain_cut')))
    client.on('drain', () => app.resume())
    app.resume()
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#abandon(new SlotgateError('drain_cut')), FLUSH_MS)
  }

  /**
   * The close frame is the last that the client gets. What it answers still reaches the app, which then sees the code as
   * well (RFC 6455 §5.5.1); what the app says to that, nobody.
   */
  #sayGoodbye(app: Socket): void {
    const client = this.#socket
    this.#abandoned.abort(new SlotgateError('drain_cut'))
    app.removeAllListeners('data').resume()
    client.end(GOING_AWAY)
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      client.destroy()
      app.destroy()
    }, FLUSH_MS)
  }

  #refuse(thrown: unknown): void {
    // What the client sent was read before: it is the app that cannot be understood.
    const failure =
      thrown instanceof Unreadable ? new SlotgateError('upstream_invalid', {}, { cause: thrown }) : thrown
    const error = asSlotgateError(failure, this.requestId)
    this.error = error
    const client = this.#socket
    if (this.status === 101 || client.destroyed) return
    if (this.status !== 0 || error.entry.status === 0 || error.code === 'client_closed')
      return void client.destroy()
    const { status, head, body } = answerTo(error, this)
    this.status = status
    this.bytes = Buffer.byteLength(body)
    client.end(`${head}Connection: close\r\n\r\n${body}`)
    linger(client)
  }
}
