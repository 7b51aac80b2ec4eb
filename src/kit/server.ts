// The internal server of an app: its health, its schema status and its migrations, never to be reached from outside.
import { once } from 'node:events'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ENV } from '../contract.ts'
import { messageOf, type Problem, SlotgateError, toProblem } from '../errors.ts'
import { createServer } from '../http.ts'
import type { AdviceOptions } from './advice.ts'
import type { Place } from './attempt.ts'
import { readClear, readRun } from './bodies.ts'
import { Liveness } from './live.ts'
import { loadMigrations, type Migrations } from './migrations.ts'
import { clearAttempt, runMigrations } from './run.ts'
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

/** The largest body is a list of releases. */
const BODY_LIMIT_BYTES = 1024 * 1024

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
  const runs = new Runs()
  const routes = createRoutes(options, migrations, runs)
  const server = createServer((request, response) => {
    liveness.hear(request.headers)
    void answer(request, routes).then((said) => send(response, said, server.listening))
  })
  server.listen(options.port ?? Number(process.env[ENV.internalPort] ?? 0), addressOf(options.host))
  await once(server, 'listening')
  return {
    ...placeOf(server),
    onLive: (callback) => liveness.onLive(callback),
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      await closed
      await runs.ended()
    },
  }
}

const isLoaded = (migrations: InternalOptions['migrations']): migrations is Migrations =>
  typeof migrations === 'object' && 'files' in migrations

/** `localhost` may be either loopback, and slotgate asks at this one. */
const addressOf = (host = 'localhost'): string => (host === 'localhost' ? '127.0.0.1' : host)

/** Every address, in both families, and where what listens there is reached. */
const EVERYWHERE: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** Where it is reached; what listens everywhere is reached on loopback. */
function placeOf(server: Server): Pick<Internal, 'url' | 'port'> {
  const { address, port } = server.address() as AddressInfo
  const host = EVERYWHERE[address] ?? address
  return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, port }
}

/** One at a time: the lock in the database would do, but two that wait for it would use up the pool. */
class Runs {
  #running: Promise<unknown> | undefined

  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#running) throw new SlotgateError('migration_running')
    const run = work().finally(() => {
      this.#running = undefined
    })
    this.#running = run
    return run
  }

  /** Also of one whose caller has gone away: it goes on. */
  async ended(): Promise<void> {
    await this.#running?.catch(() => {})
  }
}

interface Answer {
  status: number
  body: object
  /** JSON by default. */
  type?: string
}

/** By method and path; each takes the text of the request's body. */
type Routes = Readonly<Record<string, (text: string) => Promise<Answer>>>

function createRoutes(options: InternalOptions, migrations: Migrations, runs: Runs): Routes {
  const { pool, healthy = () => true } = options
  const ok = (body: object): Answer => ({ status: 200, body })
  return {
    'GET /healthz': async () => {
      const isHealthy = await Promise.resolve()
        .then(healthy)
        .catch(() => false)
      return { status: isHealthy ? 200 : 503, body: { healthy: isHealthy } }
    },
    'GET /schema/status': async () => ok(await readStatus(pool, migrations)),
    'POST /migrations/run': async (text) => {
      const asked = readRun(text)
      return ok(await runs.alone(() => runMigrations(options, migrations, asked, options)))
    },
    'POST /migrations/clear': async (text) => {
      const asked = readClear(text)
      return runs.alone(async () => {
        await clearAttempt(options, migrations, asked)
        return ok(await readStatus(pool, migrations))
      })
    },
  }
}

/** Whatever the content type says, the body is JSON: `curl -d` sends another one. */
async function answer(request: IncomingMessage, routes: Routes): Promise<Answer> {
  const { method = '', url: path = '', headers } = request
  try {
    // A web page that the operator has open must not migrate; browsers name the page in every POST.
    if (headers.origin !== undefined) throw new SlotgateError('origin_refused')
    const route = routes[`${method === 'HEAD' ? 'GET' : method} ${path.split('?')[0]}`]
    if (!route) throw new SlotgateError('unknown_route', { method, path })
    return await route(await textOf(request))
  } catch (error) {
    return { ...problemOf(error), type: 'application/problem+json' }
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size <= BODY_LIMIT_BYTES) chunks.push(chunk)
  }
  if (size <= BODY_LIMIT_BYTES) return Buffer.concat(chunks).toString('utf8')
  throw new SlotgateError('run_body_invalid', { detail: `it is larger than ${BODY_LIMIT_BYTES} bytes` })
}

/** A person reads these answers in a terminal. */
function send(
  response: ServerResponse,
  { status, body, type = 'application/json' }: Answer,
  isOpen: boolean,
): void {
  response
    .writeHead(status, {
      'content-type': `${type}; charset=utf-8`,
      'cache-control': 'no-store',
      // A connection that is kept would hold up the end.
      ...(!isOpen && { connection: 'close' }),
    })
    .end(`${JSON.stringify(body)}\n`)
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

const asOurs = (error: unknown): SlotgateError =>
  error instanceof SlotgateError
    ? error
    : new SlotgateError('database_unavailable', { detail: messageOf(error) })
