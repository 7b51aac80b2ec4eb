// What the kit needs of the `pg` pool that the app brings, and ways to use it that end in bounded time.
import { SlotgateError } from '../errors.ts'

export interface Result {
  rows: Record<string, unknown>[]
  /** The tag of the statement: `COMMIT`, `CREATE`, … */
  command: string
}

/** A connection taken from a pool. `pg`'s `PoolClient` is one. */
export interface Client {
  /** Several statements in one text give a result each. */
  query(text: string, values?: unknown[]): Promise<Result | Result[]>
  /** `true` closes the connection instead of giving it back. */
  release(destroy?: boolean): void
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** What gives connections. `pg`'s `Pool` is one. */
export interface Pool {
  connect(): Promise<Client>
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** How long a migration run waits for a connection of its own. */
export const CONNECT_WITHIN_MS = 5_000

/**
 * @returns what `work` gives, unless that takes longer than `withinMs`
 * @throws Error `<what> within <withinMs> ms`
 */
export async function within<T>(work: Promise<T>, withinMs: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what} within ${withinMs} ms`)), withinMs)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** @throws SlotgateError `database_unavailable` when no connection can be had in time, be it for an exhausted pool */
export async function connect(pool: Pool, withinMs: number): Promise<Client> {
  const connecting = pool.connect()
  try {
    const client = await within(connecting, withinMs, 'the pool gave no connection')
    hearErrors(client)
    return client
  } catch (error) {
    connecting.then(
      (client) => client.release(),
      () => {},
    )
    throw unavailable(error)
  }
}

const heard = new WeakSet<Client>()

/** A connection that breaks while no statement waits has nobody to tell and would end the process; the next statement fails anyhow. */
function hearErrors(client: Client): void {
  if (heard.has(client)) return
  heard.add(client)
  client.on('error', () => {})
}

/** Runs one statement on a connection of its own, committed at once. */
export async function execute(pool: Pool, text: string, values?: unknown[]): Promise<Result> {
  const client = await connect(pool, CONNECT_WITHIN_MS)
  try {
    return last(await client.query(text, values))
  } finally {
    client.release()
  }
}

export function last(results: Result | Result[]): Result {
  const result = Array.isArray(results) ? results.at(-1) : results
  return result ?? { rows: [], command: '' }
}

/** Whether the statement succeeds; its failure is an answer, not an error. */
export const succeeds = (client: Client, text: string): Promise<boolean> =>
  client.query(text).then(
    () => true,
    () => false,
  )

/** The five characters by which PostgreSQL names an error, if it is one of PostgreSQL's. */
export function sqlstateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

/** @returns the error as `database_unavailable`, unless it already has a code of ours */
export function unavailable(error: unknown): SlotgateError {
  if (error instanceof SlotgateError) return error
  const { message, code } = error as { message?: string; code?: string }
  return new SlotgateError(
    'database_unavailable',
    { detail: message || code || String(error) },
    { cause: error },
  )
}
