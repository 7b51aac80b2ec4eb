// The listening side: node:http with its limits pinned, and its events turned into exchanges, one at a time for
// each connection.

import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { RelayConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { clientEnded } from './client.ts'
import { Exchange } from './exchange.ts'
import { type Front, handle } from './handle.ts'
import { refuseSocket } from './refuse.ts'
import { asksForWebSocket } from './screen.ts'

/** More requests on one connection than any client needs; a bound on what a hostile one keeps. */
const REQUESTS_PER_SOCKET = 10_000

/** Requests that one connection may have waiting for their turn; nobody who pipelines in earnest sends more. */
const PIPELINE_LIMIT = 100

const optionsOf = (config: RelayConfig) => ({
  // Pinned: NODE_OPTIONS must not be able to make the parser lenient.
  insecureHTTPParser: false,
  maxHeaderSize: config.headLimitBytes,
  headersTimeout: config.headTimeoutMs,
  // Bodies have a timer of their own, which looks at progress instead of the total.
  requestTimeout: 0,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: config.keepAliveTimeoutMs,
  // One screen for all: a missing Host is answered there.
  requireHostHeader: false,
  joinDuplicateHeaders: false,
  noDelay: true,
})

/** What is known of a client's connection. */
interface Connection {
  /** Requests that are being handled or wait for their turn. */
  open: Set<Exchange>
  newest?: Exchange
  /** When all requests so far are over. */
  turn: Promise<unknown>
}

/** The parser's own limits, as errors of the table; anything else it says is a bad request. */
function parserError({ code = '', message }: NodeJS.ErrnoException, config: RelayConfig): SlotgateError {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new SlotgateError('request_timeout')
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new SlotgateError('head_too_large', { limit_bytes: config.headLimitBytes })
  }
  return new SlotgateError('bad_request', { detail: message })
}

/**
 * @param isClosing true once the relay is being closed: answers then end their connection
 * @returns the server, not yet listening; no error of a client or of accepting reaches the process
 */
export function createFrontServer(front: Front, isClosing: () => boolean): Server {
  const { config, log } = front
  const connections = new WeakMap<Socket, Connection>()

  function connectionOf(client: Socket): Connection {
    const connection = connections.get(client) ?? { open: new Set(), turn: Promise.resolve() }
    connections.set(client, connection)
    return connection
  }

  /** Fault of http-proxy: it looks for an aborted request, and one that was read to its end never is. */
  function onConnection(client: Socket): void {
    const connection = connectionOf(client)
    client.on('close', () => {
      for (const exchange of connection.open) exchange.clientClosed()
    })
    client.on('end', () => {
      if (connection.newest) clientEnded(connection.newest, config)
    })
  }

  /** Answers leave in the order of the requests, and who pipelines has one claim at a time (RFC 9112 §9.3.2). */
  function enter(
    request: IncomingMessage,
    response: ServerResponse,
    client: Socket,
    early: Buffer | null,
  ): void {
    const connection = connectionOf(client)
    if (client.destroyed) return
    if (connection.open.size >= PIPELINE_LIMIT) {
      log.warn(
        { client: client.remoteAddress },
        'a client sent too many requests without waiting for answers',
      )
      client.destroy()
      return
    }
    const exchange = new Exchange(request, response, client, early)
    if (isClosing()) response.shouldKeepAlive = false
    connection.newest = exchange
    connection.open.add(exchange)
    connection.turn = connection.turn
      .then(() => handle(exchange, front))
      .catch((error: unknown) => {
        // A fault of ours costs one connection, never the process.
        log.error({ err: error, request_id: exchange.requestId }, 'an exchange ended badly')
        client.destroy()
      })
      .finally(() => connection.open.delete(exchange))
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse) =>
    enter(request, response, request.socket, null)

  /** The server lets go of the socket here; without a listener of ours its first error would end the process. */
  function onTakenOver(request: IncomingMessage, _stream: unknown, head: Buffer): void {
    const client = request.socket
    client.on('error', () => client.destroy())
    const response = new ServerResponse(request)
    response.shouldKeepAlive = false
    response.assignSocket(client)
    response.once('finish', () => client.destroySoon())
    enter(request, response, client, head)
  }

  function onClientError(error: NodeJS.ErrnoException, client: Socket): void {
    const { newest, turn } = connectionOf(client)
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') client.destroy()
    if (client.destroyed) return
    const refusal = parserError(error, config)
    // The parser reads one message after the other: it stumbled over the newest one's body, or over what came after.
    if (newest && !newest.request.complete) {
      newest.abandon(refusal.code, refusal.facts)
      return
    }
    const requestId = randomUUID()
    turn.then(() => {
      if (client.destroyed) return
      const { code, entry } = refusal
      log.info(
        { request_id: requestId, status: entry.status, client: client.remoteAddress, code },
        'exchange',
      )
      refuseSocket(client, refusal, requestId)
    })
  }

  const server = createServer({
    ...optionsOf(config),
    shouldUpgradeCallback: (request: IncomingMessage) =>
      asksForWebSocket(request) && connectionOf(request.socket).open.size === 0,
  })
  // Half-closing is not leaving (RFC 9112 §9.5); `clientEnded` tells one from the other.
  Object.assign(server, { httpAllowHalfOpen: true })
  // Node would cut the list and say nothing; the screen counts instead, and `maxHeaderSize` bounds it.
  server.maxHeadersCount = 0
  server.maxRequestsPerSocket = REQUESTS_PER_SOCKET
  server
    .on('request', onRequest)
    .on('checkContinue', onRequest)
    .on('checkExpectation', onRequest)
    .on('upgrade', onTakenOver)
    .on('connect', onTakenOver)
    .on('clientError', onClientError)
    .on('connection', onConnection)
  return server
}
