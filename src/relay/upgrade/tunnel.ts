// An upgrade's journey, told from top to bottom: asked by http-proxy, checked before it is joined, idle together, closed
// together. Runs in the thread of the client's connection.
import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { SlotgateError } from '../../errors.ts'
import type { Peer } from '../forwarded.ts'
import type { Front } from '../front.ts'
import type { Framing } from '../http1/body.ts'
import { HeadReader, Unreadable } from '../http1/head.ts'
import { afterContent, beforeContent, membersOf, responseHead, switchFields } from '../http1/outgoing.ts'
import { type Request, screen } from '../http1/request.ts'
import { screenResponse } from '../http1/response.ts'
import { Journey } from '../journey.ts'
import { answerTo, asSlotgateError } from '../refuse.ts'
import { ANSWER_FIELDS } from '../upstream.ts'
import { Frames, GOING_AWAY } from './frames.ts'
import { type Fields, sendUpgrade } from './http-proxy.ts'

/** When one side has closed its half, the other has so long between two bytes. */
const HALF_CLOSED_MS = 10_000

/** How long what was written last may take to leave, once a tunnel is over. */
const FLUSH_MS = 1_000

/** In lower case, as http-proxy looks for them. */
const UPGRADE = 'connection: Upgrade\r\nupgrade: websocket\r\n'

/** Sends what is written, then a FIN, then no longer waits. */
function closeSoon(socket: Socket): void {
  if (socket.destroyed) return
  socket.destroySoon()
  setTimeout(() => socket.destroy(), FLUSH_MS).unref()
}

/** Whatever ends one side ends the other; a reset is passed on at once. */
function bind(one: Socket, other: Socket): void {
  one.once('error', () => other.destroy())
  one.once('close', () => closeSoon(other))
}

const closed = (socket: Socket): Promise<unknown> | undefined =>
  socket.closed ? undefined : once(socket, 'close')

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

  /** @param front whose reader has just read the head of the upgrade request */
  constructor(front: Front, socket: Socket, from: Peer) {
    super(front, from)
    this.#socket = socket
    this.read(front.heads)
    this.#request = screen(front.heads, front.config)
    this.#fields = this.fieldsFor(this.#request, front.heads)
  }

  /**
   * Carries the tunnel until both of its sockets are closed. Never throws.
   *
   * @param early what the client sent behind the head
   * @see HTTP.md §4.1
   */
  async carry(request: IncomingMessage, early: Buffer): Promise<void> {
    const { signal } = this.#abandoned
    this.#socket.on('error', () => this.#socket.destroy())
    this.#socket.once('close', () => this.#clientClosed())
    // Nobody half-closes a connection that is about to become a tunnel.
    this.#socket.once('end', () => this.#clientClosed())
    try {
      const { app, answer, join } = await this.#asked(request, early)
      this.#join(app, answer, join)
      await Promise.all([closed(this.#socket), closed(app)])
      signal.throwIfAborted()
    } catch (error) {
      this.#refuse(error)
    } finally {
      clearTimeout(this.#timer)
      this.settle()
    }
  }

  /** @returns the app's side of the tunnel, as soon as the app has switched */
  async #asked(request: IncomingMessage, early: Buffer) {
    const { connectTimeoutMs, upstreamTimeoutMs } = this.front.config
    const { signal } = this.#abandoned
    signal.throwIfAborted()
    const { address } = this.enter(this.#request)
    const { promise, resolve, reject } = Promise.withResolvers<{
      app: Socket
      answer: IncomingMessage
      join: () => void
    }>()
    const startedMs = this.ageMs
    const fields = asObject(this.#fields + UPGRADE)
    const ask = sendUpgrade(
      request,
      this.#socket,
      early,
      { address, target: this.#request.target, fields },
      {
        answered: (answer) => this.#deliver(answer).catch(reject),
        switched: (answer, app, join) => resolve({ answer, app, join }),
        failed: (cause) => reject(failureOf(cause)),
      },
    )
    this.#ask = ask
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    this.#expect(connectTimeoutMs, 'upstream_timeout')
    ask.once('socket', (socket) =>
      socket.once('connect', () => this.#expect(upstreamTimeoutMs, 'upstream_timeout')),
    )
    try {
      return await promise
    } catch (error) {
      ask.destroy()
      throw error
    } finally {
      this.upstreamMs = this.ageMs - startedMs
    }
  }

  /** The switch must be to what the client asked for, and by an app that speaks it (RFC 6455 §4.2.2). */
  #join(app: Socket, answer: IncomingMessage, join: () => void): void {
    this.#app = app
    try {
      const head = this.#reread(answer)
      const agreed =
        membersOf(head.values('upgrade')).join() === 'websocket' &&
        membersOf(head.values('connection')).includes('upgrade') &&
        head.values('sec-websocket-accept').length === 1
      if (!agreed) throw new SlotgateError('upstream_invalid')
      answer.headers = asObject(switchFields(head) + UPGRADE)
    } catch (error) {
      app.destroy()
      throw error
    }
    this.status = 101
    this.toTunnel()
    const client = this.#socket
    bind(client, app)
    bind(app, client)
    this.#idle(this.front.config.tunnelIdleMs)
    join()
    app.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length
      this.#frames.read(chunk)
    })
    for (const socket of [client, app]) {
      socket.on('data', () => this.#timer?.refresh())
      socket.once('end', () => this.#idle(HALF_CLOSED_MS))
    }
  }

  /** The answer's head once more, as strictly as any other. */
  #reread({ httpVersion, statusCode, statusMessage, rawHeaders }: IncomingMessage): HeadReader {
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
    client.write(responseHead(head, framing, true), 'latin1')
    this.#expect(this.front.config.stallTimeoutMs, 'upstream_timeout')
    answer.on('data', (chunk: Buffer) => {
      this.#timer?.refresh()
      this.bytes += chunk.length
      client.write(beforeContent(framing.kind, chunk.length), 'latin1')
      client.write(chunk)
      if (!client.write(afterContent(framing.kind, chunk.length, false), 'latin1')) answer.pause()
    })
    client.on('drain', () => answer.resume())
    await once(answer, 'close')
    if (!answer.complete) throw new SlotgateError('upstream_failed')
    client.write(afterContent(framing.kind, 0, true), 'latin1')
    closeSoon(client)
    await closed(client)
    this.settle()
  }

  #expect(withinMs: number, code: 'upstream_timeout' | 'tunnel_idle'): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#abandon(new SlotgateError(code, { within_ms: withinMs })), withinMs)
  }

  #idle(withinMs: number): void {
    this.#expect(withinMs, 'tunnel_idle')
  }

  #clientClosed(): void {
    // That is how a tunnel ends; before the 101 it is an early end.
    if (this.status === 0) this.#abandon(new SlotgateError('client_closed'))
    else if (this.status !== 101 && !this.#socket.writableFinished)
      this.#abandon(new SlotgateError('client_closed'))
  }

  #abandon(error: SlotgateError): void {
    if (this.#abandoned.signal.aborted) return
    this.#abandoned.abort(error)
    this.#ask?.destroy()
    if (this.status !== 101) return
    closeSoon(this.#socket)
    if (this.#app) closeSoon(this.#app)
  }

  /** At the end of a drain: the client is told, at the next frame boundary, and goes elsewhere. */
  cut(): void {
    if (this.status === 101 && this.#app !== null) this.#sayGoodbye(this.#app)
    else this.#abandon(new SlotgateError('upstream_timeout'))
  }

  /** From here on the app's frames are passed on by hand, up to the end of the one that is under way. */
  #sayGoodbye(app: Socket): void {
    const client = this.#socket
    const frames = this.#frames
    app.unpipe(client)
    const goodbye = () => {
      client.write(GOING_AWAY)
      this.#abandon(new SlotgateError('drain_cut'))
    }
    if (frames.isBoundary) {
      goodbye()
      return
    }
    app.removeAllListeners('data')
    app.on('data', (chunk: Buffer) => {
      if (this.#abandoned.signal.aborted) return
      const end = frames.readFrame(chunk, 0)
      client.write(chunk.subarray(0, end))
      if (frames.isBoundary) goodbye()
    })
    app.resume()
    setTimeout(() => this.#abandon(new SlotgateError('drain_cut')), FLUSH_MS).unref()
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
    const { status, head, body } = answerTo(error, this.accept, this.requestId)
    this.status = status
    this.bytes = Buffer.byteLength(body)
    client.write(`${head}Connection: close\r\n\r\n${body}`)
    closeSoon(client)
  }
}

const REFUSED = new Set(['ECONNREFUSED', 'ENOENT', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH'])

function failureOf(cause: NodeJS.ErrnoException): SlotgateError {
  const code = cause.code ?? ''
  if (REFUSED.has(code)) return new SlotgateError('upstream_refused', {}, { cause })
  return new SlotgateError(code.startsWith('HPE_') ? 'upstream_invalid' : 'upstream_failed', {}, { cause })
}
