// Asking the app: one attempt over http-proxy, its timers, and the one case in which a second attempt is harmless.
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RelayConfig } from '../config/types.ts'
import { type Code, SlotgateError } from '../errors.ts'
import type { Exchange } from './exchange.ts'
import { type RequestFields, responseFields } from './fields.ts'
import { type Outgoing, sendRequest, sendUpgrade } from './http-proxy.ts'
import type { Head } from './screen.ts'
import type { App } from './upstream.ts'

/** What the app said: an answer, or that it switched protocols. */
export type Reply =
  | { kind: 'answer'; answer: IncomingMessage }
  | { kind: 'switch'; answer: IncomingMessage; socket: Socket; join: () => void }

const REFUSED = new Set(['ECONNREFUSED', 'ENOENT', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH'])

function codeOf({ code = '' }: NodeJS.ErrnoException): Code {
  if (REFUSED.has(code)) return 'upstream_refused'
  return code.startsWith('HPE_') ? 'upstream_invalid' : 'upstream_failed'
}

/** The app closed a kept connection at the very moment it was used again; it saw the request or it did not. */
class StaleConnection extends SlotgateError {}

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** RFC 9110 §9.2.2. A body may have been sent in part, so only requests without one. */
const isRepeatable = ({ method, framing }: Head): boolean => IDEMPOTENT.has(method) && framing.kind === 'none'

/** Watches an attempt: first the connection, then the client's body, then the app's patience. */
function watch(exchange: Exchange, ask: ClientRequest, socket: Socket, config: RelayConfig): void {
  const { request } = exchange
  const awaitAnswer = () => exchange.expect(config.upstreamTimeoutMs, () => 'upstream_timeout')
  const awaitBody = () =>
    exchange.expect(config.stallTimeoutMs, () =>
      ask.writableNeedDrain ? 'upstream_timeout' : 'request_timeout',
    )
  const connected = () => (request.complete ? awaitAnswer() : awaitBody())
  if (socket.connecting) {
    exchange.expect(config.connectTimeoutMs, () => 'upstream_timeout')
    socket.once('connect', connected)
  } else connected()
}

/** Counts the client's body as it passes: it must go on, and end before the limit. */
function meter(exchange: Exchange, config: RelayConfig, isAnswered: () => boolean): void {
  const { request } = exchange
  let bytes = 0
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    exchange.progress()
    if (config.bodyLimitBytes > 0 && bytes > config.bodyLimitBytes) {
      exchange.abandon('request_too_large', { limit_bytes: config.bodyLimitBytes })
    }
  })
  request.once('end', () => {
    if (!isAnswered()) exchange.expect(config.upstreamTimeoutMs, () => 'upstream_timeout')
  })
}

/** RFC 9110 §15.2: interim answers go on, except to HTTP/1.0. A 100 was answered here, a 101 is none. */
function passInterim({ request, response }: Exchange, ask: ClientRequest): void {
  ask.on('information', ({ statusCode, rawHeaders }) => {
    if (statusCode === 100 || request.httpVersion === '1.0' || response.headersSent) return
    try {
      // Not in every Node that is supported; the final answer does not depend on it.
      response.writeInformation?.(statusCode, responseFields(rawHeaders, statusCode))
    } catch {
      // One that cannot be written is left out.
    }
  })
}

function attempt(
  exchange: Exchange,
  { framing }: Head,
  outgoing: Outgoing,
  config: RelayConfig,
): Promise<Reply> {
  const { request, response, client, early, signal } = exchange
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  let ask: ClientRequest | undefined
  let answered = false
  let bytesBefore = 0
  const isStale = ({ code }: NodeJS.ErrnoException) =>
    ask?.reusedSocket === true &&
    ask.socket?.bytesRead === bytesBefore &&
    (code === 'ECONNRESET' || code === 'EPIPE')
  // Destroying the request closes the app's connection at once, before and during the answer.
  const stop = () => {
    ask?.destroy()
    reject(signal.reason)
  }
  signal.addEventListener('abort', stop, { once: true })
  const listener = {
    sent(sent: ClientRequest) {
      ask = sent
      if (signal.aborted) return stop()
      passInterim(exchange, sent)
      // An app may want to answer a head whose body is still to come; if it is here already, both leave together.
      if (framing.kind !== 'none') setImmediate(() => sent.flushHeaders())
      const begin = (socket: Socket) => {
        bytesBefore = socket.bytesRead
        watch(exchange, sent, socket, config)
      }
      if (sent.socket) begin(sent.socket)
      else sent.once('socket', begin)
    },
    answered(answer: IncomingMessage) {
      answered = true
      // What happens to an answer from here on is the business of who delivers it.
      answer.on('error', () => {})
      resolve({ kind: 'answer', answer })
    },
    switched(answer: IncomingMessage, socket: Socket, join: () => void) {
      answered = true
      // A reset of an upgraded socket without a listener would take the process down.
      socket.on('error', () => socket.destroy())
      resolve({ kind: 'switch', answer, socket, join })
    },
    failed(error: NodeJS.ErrnoException) {
      const Failure = isStale(error) ? StaleConnection : SlotgateError
      reject(new Failure(codeOf(error), {}, { cause: error }))
    },
  }
  if (early) sendUpgrade(request, client, early, outgoing, listener)
  else sendRequest(request, response, outgoing, listener)
  // Not before: a listener starts the body, and the head must not be written before `sent` has seen it.
  if (framing.kind !== 'none') meter(exchange, config, () => answered)
  return promise
}

/**
 * Sends the request to the app.
 *
 * @returns its reply, with the head read and the body still to come
 * @throws SlotgateError upstream_refused, upstream_failed, upstream_invalid, upstream_timeout, or why the exchange
 *   was abandoned
 */
export async function ask(
  exchange: Exchange,
  head: Head,
  app: App,
  fields: RequestFields,
  config: RelayConfig,
): Promise<Reply> {
  const outgoing: Outgoing = { address: app.address, target: head.target, fields }
  const askedMs = exchange.ageMs
  try {
    if (exchange.early) return await attempt(exchange, head, outgoing, config)
    try {
      return await attempt(exchange, head, { ...outgoing, agent: app.pool }, config)
    } catch (error) {
      if (!(error instanceof StaleConnection && isRepeatable(head))) throw error
      // On a connection of its own, so that it cannot meet a second stale one: never two retries.
      return await attempt(exchange, head, outgoing, config)
    }
  } finally {
    exchange.known.upstreamMs = exchange.ageMs - askedMs
  }
}
