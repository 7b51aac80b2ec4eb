// The admin server: Fastify on `admin.listen`, behind a door that only lets signed calls in (DESIGN §8).
import { randomUUID } from 'node:crypto'
import type { RequestListener, Server } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import swagger from '@fastify/swagger'
import fastify, { type FastifyInstance } from 'fastify'
import type { AdminConfig, AdminKey, ListenAddress } from '../config/types.ts'
import { type Code, SlotgateError, toProblem } from '../errors.ts'
import { createServer as createHttpServer } from '../http.ts'
import type { Logger } from '../log.ts'
import { listenError } from '../ports.ts'
import type { Control } from '../switch/types.ts'
import { within } from '../wait.ts'
import { type AuditLine, createAudit } from './audit.ts'
import { addDashboard } from './dashboard.ts'
import { guard } from './guard.ts'
import { Keyring } from './keyring.ts'
import type { Metrics } from './metrics/metrics.ts'
import { answerProblems, PROBLEM_TYPE, sendProblem } from './problems.ts'
import { addRoutes } from './routes.ts'
import { STREAM_LIMITS, type StreamLimits, Streams } from './streams.ts'
import { buildValidator } from './validation.ts'

const BODY_LIMIT_BYTES = 64 * 1024
const HEAD_LIMIT_BYTES = 16 * 1024
/** A whole request must arrive within this time; how long its answer takes is another matter. */
const REQUEST_WITHIN_MS = 10_000
const KEEP_ALIVE_MS = 5_000
const MAX_CONNECTIONS = 256
/** How long `close` lets calls that are being answered go on. */
const CLOSE_WITHIN_MS = 5_000

export interface AdminOptions {
  config: AdminConfig
  control: Control
  metrics: Metrics
  log: Logger
  /** Takes each decision of the door; by default it goes to the log. */
  audit?: (line: AuditLine) => void
  /** Milliseconds since the epoch; for tests. */
  now?: () => number
  /**
   * Calls signed up to this moment are refused, since an earlier process may have accepted them. The present by default;
   * the time of the last journal record if that is later, for then the clock has gone back.
   */
  acceptSignedAfterMs?: number
  /** For tests. */
  streams?: Partial<StreamLimits>
}

export interface Admin {
  /**
   * @returns the address it listens on
   * @throws port_in_use, listen_failed
   */
  listen(): Promise<ListenAddress>
  /** Takes no new calls, lets those that are being answered finish within a few seconds, and ends. */
  close(): Promise<void>
  /** Replaces all keys at once: calls already verified go on, later ones and streams meet the new keys. */
  setKeys(keys: readonly AdminKey[]): void
}

export function createAdmin(options: AdminOptions): Admin {
  const { config, control, metrics, log, now = Date.now } = options
  const acceptAfterS = Math.floor((options.acceptSignedAfterMs ?? now()) / 1000)
  const keyring = new Keyring(config.keys, now)
  let isClosing = false
  const streams = new Streams({ ...STREAM_LIMITS, ...options.streams })

  const app = createApp(config)
  const inFlight = countInFlight(app)
  answerProblems(app, log, BODY_LIMIT_BYTES)
  guard(app, {
    config,
    keyring,
    acceptAfterS,
    audit: createAudit(log, now, options.audit),
    isClosing: () => isClosing,
    now,
  })
  app.register(swagger, { openapi: OPENAPI })
  app.register(async (scope) => {
    addRoutes(scope, { control, streams, metrics, keyring })
    addDashboard(scope)
  })

  return {
    async listen() {
      await app.ready()
      await passSecond(acceptAfterS, now, log)
      return listenOn(app, config.listen)
    },
    async close() {
      isClosing = true
      streams.end()
      const closed = app.close()
      await within(inFlight.none(), CLOSE_WITHIN_MS)
      app.server.closeAllConnections()
      await closed
    },
    setKeys(next) {
      streams.end(keyring.replace(next))
    },
  }
}

const OPENAPI = {
  openapi: '3.1.0',
  info: {
    title: 'slotgate admin API',
    description: 'Calls are signed with HTTP Message Signatures (RFC 9421); docs/admin.md says how.',
    version: '1',
  },
  components: {
    securitySchemes: {
      signature: {
        type: 'apiKey',
        in: 'header',
        name: 'Signature',
        description: 'With Signature-Input and Content-Digest, tag "slotgate-admin-v1".',
      },
    },
  },
} as const

/** Node's own limits, before Fastify sees anything. */
function createNodeServer(tls: AdminConfig['tls'], handler: RequestListener): Server {
  const limits = {
    maxHeaderSize: HEAD_LIMIT_BYTES,
    requestTimeout: REQUEST_WITHIN_MS,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: KEEP_ALIVE_MS,
  }
  const server = tls
    ? createHttpsServer({ ...limits, ...tls, minVersion: 'TLSv1.2' }, handler)
    : createHttpServer(limits, handler)
  server.maxConnections = MAX_CONNECTIONS
  return server
}

const AJV = {
  // Nothing is repaired silently: a number is not a string, and an unknown field is a mistake worth naming.
  coerceTypes: false,
  removeAdditional: false,
  allErrors: false,
  verbose: true,
  // Those of routes.ts are valid, and to check that takes the first call as long as all else.
  validateSchema: false,
} as const

function createApp({ tls }: AdminConfig): FastifyInstance {
  const app = fastify({
    serverFactory: (handler) => createNodeServer(tls, handler),
    bodyLimit: BODY_LIMIT_BYTES,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    genReqId: () => randomUUID(),
    routerOptions: { maxParamLength: 255 },
    // Answers are what Control gave; a schema that lags behind must not drop a field of it.
    schemaController: { compilersFactory: { buildValidator, buildSerializer: () => () => JSON.stringify } },
    ajv: { customOptions: AJV },
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error, request, reply) =>
      sendProblem(new SlotgateError('request_malformed', { detail: error.message }), request, reply),
  })
  app.removeAllContentTypeParsers()
  // The digest is over the bytes as they came, and nothing is parsed before its signature is verified.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.addHook('onSend', async (request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    reply.header('x-request-id', request.id)
  })
  return app
}

const BROKEN: Record<string, Code> = {
  HPE_HEADER_OVERFLOW: 'head_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
}

/** Bytes that are no HTTP request get an answer too, as long as somebody is there to read it. */
function answerBrokenRequest(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const code = BROKEN[error.code ?? ''] ?? 'request_malformed'
  const facts = { detail: error.message, limit_bytes: HEAD_LIMIT_BYTES }
  const problem = toProblem(new SlotgateError(code, facts))
  const body = JSON.stringify(problem)
  const head = `HTTP/1.1 ${problem.status} Bad Request\r\nContent-Type: ${PROBLEM_TYPE}`
  socket.end(`${head}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`)
}

function countInFlight(app: FastifyInstance): { none(): Promise<void> } {
  let count = 0
  let idle = () => {}
  app.addHook('onRequest', async (_request, reply) => {
    count++
    reply.raw.once('close', () => {
      if (--count === 0) idle()
    })
  })
  return {
    none: () =>
      new Promise((resolve) => {
        idle = resolve
        if (count === 0) resolve()
      }),
  }
}

/**
 * `created` counts whole seconds, so what was signed in the second of the start may have been signed, and used, before it.
 * All of that second is refused; waiting here until it is over spares the first caller that refusal.
 */
async function passSecond(acceptAfterS: number, now: () => number, log: Logger): Promise<void> {
  const waitMs = (acceptAfterS + 1) * 1000 - now()
  if (waitMs > 1000)
    log.warn(
      { wait_ms: waitMs },
      'the clock is behind the journal: admin calls are refused until it has caught up',
    )
  if (waitMs > 0) await sleep(Math.min(waitMs, 1000))
}

async function listenOn(app: FastifyInstance, { host, port }: ListenAddress): Promise<ListenAddress> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    throw await listenError(error, { host, port, what: 'admin.listen, the admin API' })
  }
  return { host, port: portOf(app.server) ?? port }
}

function portOf(server: Server): number | undefined {
  const address = server.address()
  return typeof address === 'object' ? address?.port : undefined
}
