// Asks the database, in one statement that never writes, which migrations it has and what became of each attempt.
import { SlotgateError } from '../errors.ts'
import { type Client, connect, last, type Pool, sqlstateOf, unavailable, within } from './database.ts'

/** A row of `schema_migrations`. */
export interface AppliedMigration {
  version: number
  name: string
  checksum: string
}

/**
 * An attempt that has not been closed.
 * `in progress`, `committed`, `aborted`: what became of its transaction; `unknown`: too long ago to tell, or another cluster;
 * `no transaction`: it has none; `partial`: already found to be applied in part.
 */
export interface OpenAttempt {
  id: number
  version: number
  name: string
  state: 'in progress' | 'committed' | 'aborted' | 'unknown' | 'no transaction' | 'partial'
}

/** The database as one statement saw it. */
export interface Report {
  standby: boolean
  system_identifier: string
  database_oid: string
  /** Somebody holds the lock that every migration takes. */
  locked: boolean
  /** False before the first migration: the tables are made by it, never by a question. */
  prepared: boolean
  applied: AppliedMigration[]
  attempts: OpenAttempt[]
}

/** The advisory lock of migrations. Two keys, because `pg_locks` splits a single big one. */
export const LOCK = { classid: 77, objid: 12 } as const

const CONNECT_MS = 1_000
const STATEMENT_MS = 1_000
/** The server ends the statement by itself; this is for a server that no longer answers at all. */
const ANSWER_MS = 1_500

const UNDEFINED_TABLE = '42P01'

const APPLIED = `(SELECT coalesce(json_agg(json_build_object(
    'version', version, 'name', name, 'checksum', checksum) ORDER BY version), '[]') FROM schema_migrations)`

// The fate of a transaction is read as it is now, the rows as they were when the statement began. A transaction that ended
// in between would look committed without its row, so what the statement's snapshot does not see yet is in progress.
const ATTEMPTS = `(SELECT coalesce(json_agg(json_build_object('id', id, 'version', version, 'name', name, 'state', CASE
      WHEN outcome = 'partial' THEN 'partial'
      WHEN transaction_id IS NULL THEN 'no transaction'
      WHEN a.system_identifier <> control.system_identifier::text THEN 'unknown'
      WHEN NOT pg_visible_in_snapshot(transaction_id, pg_current_snapshot()) THEN 'in progress'
      ELSE coalesce(pg_xact_status(transaction_id), 'unknown') END) ORDER BY id), '[]')
    FROM schema_migration_attempts a WHERE outcome IS NULL OR outcome = 'partial')`

const NONE = `'[]'::json`

const statement = (prepared: boolean, applied: string, attempts: string) => `
  SELECT json_build_object(
    'standby', pg_is_in_recovery(),
    'system_identifier', control.system_identifier::text,
    'database_oid', here.oid::text,
    'locked', EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = here.oid
                      AND classid = ${LOCK.classid} AND objid = ${LOCK.objid} AND objsubid = 2),
    'prepared', ${prepared},
    'applied', ${applied},
    'attempts', ${attempts})::text AS report
  FROM pg_control_system() control, pg_database here WHERE here.datname = current_database()`

const FULL = statement(true, APPLIED, ATTEMPTS)

/** A missing table cannot be asked around within a statement, so the next one asks for less. */
const STATEMENTS = [FULL, statement(false, APPLIED, NONE), statement(false, NONE, NONE)]

/**
 * @returns the database now: read each time, kept never
 * @throws SlotgateError `database_unavailable` within 3 s, or `not_primary`: a standby may lag, so its answer could be old
 * @see SCHEMA.md §5.1
 */
export async function readReport(pool: Pool): Promise<Report> {
  const report = await readOnce(pool)
  // Locks too are read as they are now: a script without transaction that ended while the statement ran would look
  // abandoned. A second look tells the two apart.
  return looksAbandoned(report) ? readOnce(pool) : report
}

const looksAbandoned = ({ locked, attempts }: Report) =>
  !locked && attempts.some(({ state }) => state === 'no transaction')

async function readOnce(pool: Pool): Promise<Report> {
  const client = await connect(pool, CONNECT_MS)
  let broken = true
  try {
    // One message is one transaction, so the limit ends with it, and behind a transaction pooler too.
    const asking = askFor(client, `SET LOCAL statement_timeout = ${STATEMENT_MS};`)
    const report = await within(asking, ANSWER_MS, 'the database gave no answer')
    broken = false
    return report
  } catch (error) {
    broken = sqlstateOf(error) === undefined
    throw unavailable(error)
  } finally {
    client.release(broken)
  }
}

async function askFor(client: Client, prelude: string): Promise<Report> {
  for (const text of STATEMENTS) {
    try {
      return await readWith(client, prelude + text)
    } catch (error) {
      if (sqlstateOf(error) !== UNDEFINED_TABLE) throw error
    }
  }
  throw new SlotgateError('database_unavailable', { detail: 'its catalog cannot be read' })
}

/** The same within a transaction that already is under way, whose tables exist. */
export const readReportInside = (client: Client): Promise<Report> => readWith(client, FULL)

async function readWith(client: Client, text: string): Promise<Report> {
  const report: Report = JSON.parse(String(last(await client.query(text)).rows[0]?.report))
  if (report.standby) throw new SlotgateError('not_primary')
  return report
}
