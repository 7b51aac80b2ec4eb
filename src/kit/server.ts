// The internal server of an app: its health, its schema status and its migrations, never to be reached from outside.
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from 'fastify'
import { ENV } from '../contract.ts'
import { messageOf, type Problem, SlotgateError, toProblem } from '../errors.ts'
import { buildValidator } from '../validation.ts'
import type { AdviceOptions } from './advice.ts'
import type { Place } from './attempt.ts'
import { Liveness } from './live.ts'
import { loadMigrations, type Migrations } from './migrations.ts'
import { type ClearRequest, clearAttempt, type RunRequest, runMigrations } from './run.ts'
import { readStatus } from './status.ts'

export interface InternalOptions extends Place, AdviceOptions {
  /** The migrations folder, or what `loadMigrations` read from it. */
  migrations: string | URL | Migrations
  /** `INTERNAL_PORT` by default, else any free port. */
  port?: number
  /** Loopback by default. Whoever reaches this port may migrate the database. */
  host?: string
  /** Whether the app is ready for requests; true by default. The database has no part in it. */
  healthy?: () => boolean | Promise<boolean>
}

export interface Internal {
  /** Where it listens, without a slash at the end. */
  url: string
  port: number
  /**
   * Calls back once, when slotgate first says that this process is the live release: start cron jobs and workers then, and
   * they never run in an idle or rehearsed one. Without slotgate it is called right away.
   */
  onLive(callback: () => void): void
  /** Takes no new requests, waits for those under way and for a running migration. */
  close(): Promise<void>
}

const RUN_BODY = {
  type: ['object', 'null'],
  additionalProperties: false,
  properties: {
    to: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    expected_current: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
    accept_breaks: { type: 'array', items: { type: 'string' } },
    confirm: { type: 'string' },
    dry_run: { type: 'boolean' },
  },
}

const CLEAR_BODY = {
  type: 'object',
  additionalProperties: false,
  required: ['version', 'as'],
  properties: {
    version: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    as: { enum: ['applied', 'undone'] },
  },
}

/**
 * Serves the contract on the internal port: `GET /healthz`, `GET /schema/status`, `POST /migrations/run` and
 * `POST /migrations/clear`. It never migrates by itself.
 *
 * @throws SlotgateError `compat_invalid`; Error when the folder cannot be read or the port is taken
 * @see DESIGN.md §2, docs/kit.md
 */
export async function serveInternal(options: InternalOptions): Promise<Internal> {
  const migrations = isLoaded(options.migrations)
    ? options.migrations
    : await loadMigrations(options.migrations)
  // The database may restart under an idle connection; the app need not end for that.
  for (const pool of new Set([options.pool, options.directPool])) pool?.on('error', () => {})
  const liveness = new Liveness()
  const app = createApp(liveness)
  addHealth(app, options.healthy ?? (() => true))
  addStatus(app, options, migrations)
  const runs = addMigrations(app, options, migrations)
  const url = await app.listen({
    port: options.port ?? Number(process.env[ENV.internalPort] ?? 0),
    host: options.host ?? '127.0.0.1',
  })
  return {
    url,
    port: Number(new URL(url).port),
    onLive: (callback) => liveness.onLive(callback),
    close: async () => {
      await app.close()
      await runs.ended()
    },
  }
}

const isLoaded = (migrations: InternalOptions['migrations']): migrations is Migrations =>
  typeof migrations === 'object' && 'files' in migrations

function createApp(liveness: Liveness): FastifyInstance {
  const app = Fastify({
    schemaController: { compilersFactory: { buildValidator } },
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
  })
  // Whatever the content type says, the body is JSON: `curl -d` sends another one.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, async (_request: FastifyRequest, body: string) =>
    parseBody(body),
  )
  app.addHook('onRequest', async (request, reply) => {
    liveness.hear(request.headers)
    reply.header('cache-control', 'no-store')
    // A web page that the operator has open must not migrate; browsers name the page in every POST.
    if (request.headers.origin !== undefined) throw new SlotgateError('origin_refused')
  })
  // A person reads these answers in a terminal.
  app.setReplySerializer((payload) => `${JSON.stringify(payload)}\n`)
  app.setErrorHandler((error: FastifyError, _request, reply) => refuse(reply, error))
  app.setNotFoundHandler((request, reply) =>
    refuse(reply, new SlotgateError('unknown_route', { method: request.method, path: request.url })),
  )
  return app
}

function parseBody(body: string): unknown {
  if (body.trim() === '') return null
  try {
    return JSON.parse(body)
  } catch (error) {
    throw new SlotgateError('run_body_invalid', { detail: messageOf(error) })
  }
}

function addHealth(app: FastifyInstance, healthy: () => boolean | Promise<boolean>): void {
  app.get('/healthz', async (_request, reply) => {
    const isHealthy = await Promise.resolve()
      .then(healthy)
      .catch(() => false)
    return reply.code(isHealthy ? 200 : 503).send({ healthy: isHealthy })
  })
}

function addStatus(app: FastifyInstance, { pool }: Place, migrations: Migrations): void {
  app.get('/schema/status', () => readStatus(pool, migrations))
}

/** @returns how to wait for a run whose caller has gone away: it goes on */
function addMigrations(
  app: FastifyInstance,
  options: Place & AdviceOptions,
  migrations: Migrations,
): { ended(): Promise<void> } {
  let running: Promise<unknown> | undefined
  const alone = async <T>(work: () => Promise<T>): Promise<T> => {
    // The lock in the database would do, but two runs waiting for it would use up the pool.
    if (running) throw new SlotgateError('migration_running')
    const run = work().finally(() => {
      running = undefined
    })
    running = run
    return run
  }
  app.post<{ Body: RunRequest | null }>('/migrations/run', { schema: { body: RUN_BODY } }, ({ body }) =>
    alone(() => runMigrations(options, migrations, body ?? {}, options)),
  )
  app.post<{ Body: ClearRequest }>('/migrations/clear', { schema: { body: CLEAR_BODY } }, ({ body }) =>
    alone(async () => {
      await clearAttempt(options, migrations, body)
      return readStatus(options.pool, migrations)
    }),
  )
  return { ended: async () => void (await running?.catch(() => {})) }
}

function refuse(reply: FastifyReply, error: unknown): FastifyReply {
  const { status, body } = problemOf(error)
  return reply.code(status).type('application/problem+json').send(body)
}

/** A problem document of the kit: `error` repeats `code`, for callers that know only one of the two. */
export interface KitProblem extends Problem {
  error: string
}

/** What to answer when a function of the kit threw, for apps with a server of their own. */
export function problemOf(error: unknown): { status: number; body: KitProblem } {
  const problem = toProblem(asOurs(error))
  return { status: problem.status, body: { ...problem, error: problem.code } }
}

function asOurs(error: unknown): SlotgateError {
  if (error instanceof SlotgateError) return error
  const { statusCode = 500 } = error as { statusCode?: number }
  const isCallers = statusCode >= 400 && statusCode < 500
  return new SlotgateError(isCallers ? 'run_body_invalid' : 'database_unavailable', {
    detail: messageOf(error),
  })
}
