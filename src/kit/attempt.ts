// Runs one migration script so that afterwards, even after a crash, the database can tell whether it ran, did not, or did in part.
import { messageOf, SlotgateError } from '../errors.ts'
import {
  type Client,
  CONNECT_WITHIN_MS,
  connect,
  execute,
  last,
  type Pool,
  type Result,
  sqlstateOf,
  succeeds,
  unavailable,
} from './database.ts'
import type { MigrationFile } from './migrations.ts'
import { LOCK, type Report, readReport, readReportInside } from './report.ts'

/** Where migrations run. */
export interface Place {
  pool: Pool
  /** Connections that reach the database directly, for scripts without transaction; a pooler would lose their lock. */
  directPool?: Pool
}

/** Looks at the database once more, under the lock. @returns false when there is nothing left to do */
export type Recheck = (report: Report) => boolean

// Waiting longer for a lock would make everybody who comes after wait too.
const IN_TRANSACTION = `BEGIN; SET LOCAL lock_timeout = '5s'; SELECT pg_advisory_xact_lock(${LOCK.classid}, ${LOCK.objid})`
const IN_SESSION = `SET lock_timeout = '5s'; SELECT pg_advisory_lock(${LOCK.classid}, ${LOCK.objid})`

const LOCK_NOT_AVAILABLE = '55P03'

const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    version bigint PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  );
  CREATE TABLE IF NOT EXISTS schema_migration_attempts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version bigint NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    transaction_id xid8,
    system_identifier text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('applied', 'rolled back', 'partial', 'cleared'))
  )`

const OPEN_ATTEMPT = `
  INSERT INTO schema_migration_attempts (version, name, checksum, transaction_id, system_identifier)
  SELECT $1, $2, $3, $4::text::xid8, system_identifier::text FROM pg_control_system() RETURNING id`

const CLOSE = `UPDATE schema_migration_attempts SET outcome = $2, ended_at = now()
  WHERE id = ANY($1) AND outcome IS DISTINCT FROM 'applied'`

const RECORD = 'INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)'

export async function record(client: Client, { version, name, checksum }: MigrationFile): Promise<void> {
  await client.query(RECORD, [version, name, checksum])
}

type Outcome = 'applied' | 'rolled back' | 'partial' | 'cleared'

export async function closeAttempts(client: Client, ids: unknown[], outcome: Outcome): Promise<void> {
  await client.query(CLOSE, [ids, outcome])
}

/** Said of a script that succeeded, but not in the transaction it was given. */
class LeftTransaction extends Error {
  readonly commands: string[]

  constructor(commands: string[]) {
    super('the script ends the transaction it runs in; take COMMIT and ROLLBACK out of it')
    this.commands = commands
  }
}

/**
 * Takes a connection that holds the migration lock, for as long as `work` lasts. What is not committed by then is undone.
 *
 * @throws SlotgateError `migration_running` when somebody else holds the lock for too long
 */
async function holdLock<T>(pool: Pool, begin: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = await connect(pool, CONNECT_WITHIN_MS)
  try {
    await client.query(begin).catch((error) => {
      throw sqlstateOf(error) === LOCK_NOT_AVAILABLE
        ? new SlotgateError('migration_running')
        : unavailable(error)
    })
    return await work(client)
  } finally {
    await succeeds(client, 'ROLLBACK; SELECT pg_advisory_unlock_all()')
    client.release(true) // a script may leave settings behind that nobody else should inherit
  }
}

/** Does `work` in one transaction that holds the migration lock. */
export const underLock = <T>(pool: Pool, work: (client: Client) => Promise<T>): Promise<T> =>
  holdLock(pool, IN_TRANSACTION, async (client) => {
    const done = await work(client)
    await client.query('COMMIT')
    return done
  })

export const createTables = (pool: Pool): Promise<void> =>
  underLock(pool, async (client) => {
    await client.query(CREATE_TABLES)
  })

/**
 * Applies one script and records it, or leaves a truthful trace.
 *
 * @returns false when `recheck` found nothing left to do
 * @throws SlotgateError `migration_failed` with `version`, `file`, `sqlstate` and `partial`; `partial` is null when the
 * connection was lost, the next status knows then
 * @see SCHEMA.md §5.3
 */
export function apply(place: Place, file: MigrationFile, recheck: Recheck): Promise<boolean> {
  return file.transactional ? applyInTransaction(place, file, recheck) : applyWithout(place, file, recheck)
}

const applyInTransaction = ({ pool }: Place, file: MigrationFile, recheck: Recheck): Promise<boolean> =>
  holdLock(pool, IN_TRANSACTION, async (main) => {
    if (!(await isLeftToDo(main, await readReportInside(main), recheck))) return false
    const before = await readSession(main)
    const xid = String(last(await main.query('SELECT pg_current_xact_id()::text AS xid')).rows[0]?.xid)
    await runInTransaction(main, pool, file, { id: await openAttempt(pool, file, xid), xid, before })
    return true
  })

/** A script without transaction cannot be undone, so whatever stops it leaves it applied in part. */
const applyWithout = (
  { pool, directPool = pool }: Place,
  file: MigrationFile,
  recheck: Recheck,
): Promise<boolean> =>
  holdLock(directPool, IN_SESSION, async (main) => {
    if (!(await isLeftToDo(main, await readReport(pool), recheck))) return false
    const before = await readSession(main)
    await runWithout(main, pool, file, { id: await openAttempt(pool, file, null), before })
    return true
  })

/** Closes aborted attempts too, while their transactions are young enough for the server to know their end. */
async function isLeftToDo(main: Client, report: Report, recheck: Recheck): Promise<boolean> {
  if (!recheck({ ...report, locked: false })) return false // locked, but by this very run
  const aborted = report.attempts.filter(({ state }) => state === 'aborted').map(({ id }) => id)
  if (aborted.length > 0) await closeAttempts(main, aborted, 'rolled back')
  return true
}

interface Attempt {
  id: unknown
  xid: string
  before: Session
}

/** What a script may change of its session (a dump sets an empty search path) and the rows about it depend on. */
interface Session {
  search_path: unknown
  role: unknown
}

async function readSession(client: Client): Promise<Session> {
  const names = `SELECT current_setting('search_path') AS search_path, current_setting('role') AS role`
  const { search_path, role } = last(await client.query(names)).rows[0] ?? {}
  return { search_path, role }
}

/** Records the script as applied, and its attempt as closed, in the transaction at hand. */
async function recordApplied(
  client: Client,
  file: MigrationFile,
  attempt: Omit<Attempt, 'xid'>,
): Promise<void> {
  const { search_path, role } = attempt.before
  await client.query(`SELECT set_config('search_path', $1, true), set_config('role', $2, true)`, [
    search_path,
    role,
  ])
  await record(client, file)
  await closeAttempts(client, [attempt.id], 'applied')
}

/** Committed by another connection, so that it is there whatever becomes of the script. */
async function openAttempt(
  pool: Pool,
  { version, name, checksum }: MigrationFile,
  xid: string | null,
): Promise<unknown> {
  const { rows } = await execute(pool, OPEN_ATTEMPT, [version, name, checksum, xid])
  return rows[0]?.id
}

async function runInTransaction(
  main: Client,
  pool: Pool,
  file: MigrationFile,
  attempt: Attempt,
): Promise<void> {
  let stayedInside = false
  try {
    await main.query('SAVEPOINT slotgate')
    const results = await main.query(file.sql)
    await assertSameTransaction(main, attempt.xid, results)
    stayedInside = true
    await recordApplied(main, file, attempt)
    await main.query('COMMIT')
  } catch (error) {
    const clean = stayedInside || (await canBeUndone(main, error))
    const fate = await settle(main, pool, attempt, clean)
    if (fate === 'applied') return
    throw failed(file, error, fate)
  }
}

async function assertSameTransaction(main: Client, xid: string, results: Result | Result[]): Promise<void> {
  const { rows } = last(await main.query('SELECT pg_current_xact_id_if_assigned()::text AS xid'))
  if (rows[0]?.xid !== xid) throw new LeftTransaction([results].flat().map(({ command }) => command))
}

/**
 * Whether a rollback now undoes everything the script did: it is still in its transaction (the savepoint is there), or it
 * went from that into another without committing anything.
 */
async function canBeUndone(main: Client, error: unknown): Promise<boolean> {
  if (!(error instanceof LeftTransaction)) return succeeds(main, 'ROLLBACK TO SAVEPOINT slotgate')
  return !error.commands.includes('COMMIT') && (await succeeds(main, 'SAVEPOINT slotgate_again'))
}

type Fate = 'applied' | 'rolled back' | 'partial' | 'not known'

/** Asks the server what became of the transaction and closes the attempt, if the server can still be asked. */
async function settle(main: Client, pool: Pool, { id, xid }: Attempt, clean: boolean): Promise<Fate> {
  const connected = await succeeds(main, 'ROLLBACK')
  try {
    const fateQuery = `SELECT pg_xact_status($2::text::xid8) AS fate, outcome FROM schema_migration_attempts WHERE id = $1`
    const { fate, outcome } = (await execute(pool, fateQuery, [id, xid])).rows[0] ?? {}
    if (outcome === 'applied') return 'applied'
    // Without the connection there is no telling where the script was; the open attempt goes on telling what it knows.
    if (!connected) return 'not known'
    const verdict = fate === 'aborted' && clean ? 'rolled back' : 'partial'
    await execute(pool, CLOSE, [[id], verdict])
    return verdict
  } catch {
    return 'not known'
  }
}

async function runWithout(
  main: Client,
  pool: Pool,
  file: MigrationFile,
  attempt: Omit<Attempt, 'xid'>,
): Promise<void> {
  try {
    // CREATE INDEX CONCURRENTLY waits for every older transaction by design, and blocks nobody while it does.
    await main.query('SET lock_timeout = 0')
    await main.query(file.sql)
    await main.query('BEGIN')
    await recordApplied(main, file, attempt)
    await main.query('COMMIT')
  } catch (error) {
    await execute(pool, CLOSE, [[attempt.id], 'partial']).catch(() => {}) // open, it counts the same once the lock is gone
    throw failed(file, error, 'partial')
  }
}

const PARTIAL: Record<Exclude<Fate, 'applied'>, boolean | null> = {
  'rolled back': false,
  partial: true,
  'not known': null,
}

function failed(
  { version, name }: MigrationFile,
  error: unknown,
  fate: Exclude<Fate, 'applied'>,
): SlotgateError {
  const sqlstate = sqlstateOf(error)
  const facts = {
    version,
    file: name,
    partial: PARTIAL[fate],
    detail: messageOf(error),
    ...(sqlstate && { sqlstate }),
  }
  return new SlotgateError('migration_failed', facts, { cause: error })
}
