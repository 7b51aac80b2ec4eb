// The moments at which a report could mislead: what it reads as of its snapshot and what it reads as of now lie apart.
import type { PoolClient } from 'pg'
import t from 'tap'
import type { Pool } from '../../src/kit/index.ts'
import { loadMigrations, readStatus } from '../../src/kit/index.ts'
import { type Release, release, trivial } from './fixture.ts'

const ATTEMPT = `INSERT INTO schema_migration_attempts (version, name, checksum, transaction_id, system_identifier)
  SELECT 2, '002_step.sql', 'x', $1::text::xid8, system_identifier::text FROM pg_control_system()`

/** Gives these connections one after the other, and takes none back. */
const poolOf = (...clients: PoolClient[]): Pool => ({
  connect: async () => {
    const client = clients.shift()
    if (!client) throw new Error('no connection is left')
    return { query: (text, values) => client.query(text, values), release: () => {}, on: () => {} }
  },
  on: () => {},
})

/** A connection whose every statement sees the database as it is now, whatever is committed afterwards. */
async function openSnapshot(
  t: { teardown(handler: () => void): void },
  { pool }: Release,
): Promise<PoolClient> {
  const client = await pool.connect()
  t.teardown(() => client.release(true))
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1')
  return client
}

t.test(
  'a migration that commits while the statement runs is in progress, not committed without its row',
  async (t) => {
    const r2 = await release(t, { ...trivial(1, 2), 'compat.json': '{"min":1,"max":2}' })
    await r2.run({ to: 1 })
    const migration = await r2.pool.connect()
    await migration.query('BEGIN')
    const { xid } = (await migration.query('SELECT pg_current_xact_id()::text AS xid')).rows[0]
    await r2.pool.query(ATTEMPT, [xid])
    const before = await openSnapshot(t, r2)
    await migration.query(`INSERT INTO schema_migrations (version, name, checksum) VALUES (2, '002_step.sql', 'x');
    UPDATE schema_migration_attempts SET outcome = 'applied' WHERE version = 2; COMMIT`)
    migration.release()
    const status = await readStatus(poolOf(before), await loadMigrations(r2.folder))
    t.match(status, { current_schema_version: 1, dirty: false, migration_running: true })
  },
)

t.test('a script without transaction that ends while the statement runs is looked at twice', async (t) => {
  const r2 = await release(t, { ...trivial(1, 2), 'compat.json': '{"min":1,"max":2}' })
  await r2.run({ to: 1 })
  await r2.pool.query(ATTEMPT, [null])
  const before = await openSnapshot(t, r2)
  await r2.pool.query(`UPDATE schema_migration_attempts SET outcome = 'applied' WHERE version = 2`)
  const after = await r2.pool.connect()
  t.teardown(() => after.release())
  const status = await readStatus(poolOf(before, after), await loadMigrations(r2.folder))
  t.match(status, { current_schema_version: 1, dirty: false, migration_running: false })
})

t.test('a table of applied migrations without one of attempts is read all the same', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  await r1.run()
  await r1.pool.query('DROP TABLE schema_migration_attempts')
  t.match((await r1.status()).json, { current_schema_version: 1, dirty: false, compatible: true })
})
