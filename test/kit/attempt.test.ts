// Migrations that fail, half-run and die on a real database, and what the database tells of them afterwards.
import t from 'tap'
import { createTestDatabase } from '../support/postgres.ts'
import {
  ask,
  columnsOf,
  eventually,
  type Files,
  post,
  type Release,
  release,
  serve,
  spawnRelease,
  successor,
  trivial,
  writeFolder,
} from './fixture.ts'

const NOT_NULL = 'ALTER TABLE users ADD COLUMN req int NOT NULL;'
const USERS = { '043_users.sql': 'CREATE TABLE users (id int); INSERT INTO users VALUES (1);' }

/** A release whose 043 made a table with a row, and whose 044 is the script given. */
async function atFortyThree(
  t: Parameters<typeof release>[0],
  script: string,
  files: Files = {},
): Promise<Release> {
  const r44 = await release(t, { ...USERS, '044_bad.sql': script, ...files })
  const { status } = await r44.run({ to: 43 })
  if (status !== 200) throw new Error('the test could not be set up')
  return r44
}

t.test(
  'A10: a migration that fails inside its transaction changes nothing and leaves nothing dirty',
  async (t) => {
    const r44 = await atFortyThree(t, `ALTER TABLE users ADD COLUMN ok int; ${NOT_NULL}`)
    t.match(await r44.run({ to: 44 }), {
      status: 422,
      json: {
        error: 'migration_failed',
        code: 'migration_failed',
        version: 44,
        sqlstate: '23502',
        partial: false,
        file: '044_bad.sql',
      },
    })
    t.match((await r44.status()).json, {
      current_schema_version: 43,
      dirty: false,
      migration_running: false,
      pending_migrations: ['044_bad.sql'],
      compatible: false,
    })
    t.same(await columnsOf(r44.pool, 'users'), ['id'])
    const mended = await successor(t, r44, { ...USERS, '044_bad.sql': 'ALTER TABLE users ADD COLUMN ok int' })
    t.match(
      await mended.run({ to: 44 }),
      { status: 200, json: { applied: ['044_bad.sql'] } },
      'it may be tried again',
    )
  },
)

for (const [what, script] of Object.entries({
  'COMMIT, and the rest fails': `ALTER TABLE users ADD COLUMN c1 int; COMMIT; ${NOT_NULL}`,
  'COMMIT and BEGIN, and the rest fails': `ALTER TABLE users ADD COLUMN c1 int; COMMIT; BEGIN; ${NOT_NULL}`,
  'COMMIT, and the rest succeeds': 'ALTER TABLE users ADD COLUMN c1 int; COMMIT; SELECT 1',
  'COMMIT and BEGIN, and the rest succeeds': 'ALTER TABLE users ADD COLUMN c1 int; COMMIT; BEGIN; SELECT 1',
  'ROLLBACK, and changes on its own': 'ROLLBACK; ALTER TABLE users ADD COLUMN c1 int',
  'ROLLBACK, BEGIN and COMMIT, and the rest fails': `ROLLBACK; BEGIN; ALTER TABLE users ADD COLUMN c1 int; COMMIT; ${NOT_NULL}`,
})) {
  t.test(`A11: the script contains ${what}: applied in part, dirty, and nothing runs any more`, async (t) => {
    const r44 = await atFortyThree(t, script)
    t.match(await r44.run({ to: 44 }), {
      status: 422,
      json: { error: 'migration_failed', version: 44, partial: true },
    })
    t.match((await r44.status()).json, {
      current_schema_version: 43,
      dirty: true,
      compatible: false,
      problems: [{ code: 'partial_migration', version: 44 }],
    })
    t.match(await r44.run({ to: 44 }), { status: 409, json: { error: 'dirty', version: 44 } })
    t.same(await columnsOf(r44.pool, 'users'), ['c1', 'id'])
    const r43 = await successor(t, r44, { ...USERS, 'compat.json': '{"min":42,"max":44}' })
    t.match((await r43.status()).json, { dirty: true, compatible: false }, 'every release sees it')
  })
}

t.test('a script that rolls back and begins anew is refused and rolled back', async (t) => {
  const r44 = await atFortyThree(t, 'ROLLBACK; BEGIN; ALTER TABLE users ADD COLUMN c1 int')
  t.match(await r44.run(), {
    status: 422,
    json: { error: 'migration_failed', partial: false, detail: /take COMMIT and ROLLBACK out/ },
  })
  t.match((await r44.status()).json, { current_schema_version: 43, dirty: false })
  t.same(await columnsOf(r44.pool, 'users'), ['id'])
})

t.test('a constraint that fails only at the commit leaves nothing', async (t) => {
  const r44 = await atFortyThree(
    t,
    `ALTER TABLE users ADD CONSTRAINT one UNIQUE (id) DEFERRABLE INITIALLY DEFERRED; INSERT INTO users VALUES (1)`,
  )
  t.match(await r44.run(), {
    status: 422,
    json: { error: 'migration_failed', sqlstate: '23505', partial: false },
  })
  t.match((await r44.status()).json, { current_schema_version: 43, dirty: false })
})

t.test('a script that empties the search path, as dumps do, is recorded all the same', async (t) => {
  const r44 = await atFortyThree(
    t,
    `SELECT pg_catalog.set_config('search_path', '', false); ALTER TABLE public.users ADD c int`,
  )
  t.match(await r44.run(), { status: 200, json: { applied: ['044_bad.sql'] } })
  t.equal(
    (await r44.pool.query('SHOW search_path')).rows[0].search_path,
    '"$user", public',
    'and the pool is as before',
  )
})

t.test('A12: a failed CREATE UNIQUE INDEX CONCURRENTLY leaves an invalid index: dirty', async (t) => {
  const r44 = await atFortyThree(t, '-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY one ON users (id)')
  await r44.pool.query('INSERT INTO users VALUES (1)')
  t.match(await r44.run({ to: 44 }), {
    status: 422,
    json: { error: 'migration_failed', version: 44, sqlstate: '23505', partial: true },
  })
  t.match((await r44.status()).json, { dirty: true, compatible: false, migration_running: false })
  t.equal((await r44.pool.query('SELECT FROM pg_index WHERE NOT indisvalid')).rows.length, 1)
})

t.test('an app killed in the middle of a migration: running first, then clean', async (t) => {
  const { url: databaseUrl, pool } = await createTestDatabase(t)
  const files = { '001_slow.sql': 'CREATE TABLE slow (id int); SELECT pg_sleep(1.5)' }
  const { app, exited, url } = await spawnRelease(t, databaseUrl, await writeFolder(t, files))
  const witness = await serve(t, databaseUrl, pool, files)
  ask(`${url}/migrations/run`, { method: 'POST' }).catch(() => {})
  await eventually(witness.status, ({ json }) => json.migration_running)
  await eventually(
    async () => (await pool.query(`SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)'`)).rowCount,
    Boolean,
  )
  app.kill('SIGKILL')
  await exited
  t.match((await witness.status()).json, { migration_running: true, dirty: false, current_schema_version: 0 })
  t.match(await witness.run(), { status: 409, json: { error: 'migration_running', retryable: true } })
  await eventually(witness.status, ({ json }) => !json.migration_running)
  t.match((await witness.status()).json, { dirty: false, current_schema_version: 0 })
  t.match(await witness.run(), { status: 200, json: { applied: ['001_slow.sql'] } })
  const { rows } = await pool.query('SELECT outcome FROM schema_migration_attempts ORDER BY id')
  t.same(
    rows.map(({ outcome }) => outcome),
    ['rolled back', 'applied'],
    'the abandoned attempt is closed',
  )
})

t.test('an app killed in a script without transaction: running first, then dirty', async (t) => {
  const { url: databaseUrl, pool } = await createTestDatabase(t)
  const files = { '001_slow.sql': '-- no-transaction\nSELECT pg_sleep(1)' }
  const { app, exited, url } = await spawnRelease(t, databaseUrl, await writeFolder(t, files))
  const witness = await serve(t, databaseUrl, pool, files)
  ask(`${url}/migrations/run`, { method: 'POST' }).catch(() => {})
  await eventually(
    async () => (await pool.query(`SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1)'`)).rowCount,
    Boolean,
  )
  app.kill('SIGKILL')
  await exited
  t.match((await witness.status()).json, { migration_running: true, dirty: false })
  await eventually(witness.status, ({ json }) => !json.migration_running)
  t.match((await witness.status()).json, {
    dirty: true,
    problems: [{ code: 'partial_migration', version: 1 }],
  })
})

t.test(
  'a connection that the server ends in the middle: the run says it does not know, the status does',
  async (t) => {
    const r44 = await atFortyThree(
      t,
      'ALTER TABLE users ADD c int; SELECT pg_terminate_backend(pg_backend_pid())',
    )
    t.match(await r44.run(), { status: 422, json: { error: 'migration_failed', version: 44, partial: null } })
    await eventually(r44.status, ({ json }) => !json.migration_running)
    t.match((await r44.status()).json, { current_schema_version: 43, dirty: false })
  },
)

t.test('the status is asked all through a run and never calls it dirty or half done', async (t) => {
  const files = { ...trivial(1, 8), '009_index.sql': '-- no-transaction\nSELECT 1', ...trivial(10, 14) }
  const r14 = await release(t, files)
  let ended = false
  const run = r14.run().finally(() => {
    ended = true
  })
  const seen: number[] = []
  while (!ended) {
    const { json } = await r14.status()
    if (json.dirty || json.problems.length > 0) t.fail(JSON.stringify(json))
    seen.push(json.current_schema_version)
  }
  t.match(await run, { status: 200, json: { to: 14 } })
  t.same(
    seen,
    seen.toSorted((a, b) => a - b),
    'the version only grows',
  )
  t.ok(seen.length > 10, `${seen.length} answers`)
})

t.test('an attempt from another cluster, or one too old to tell, counts as dirty', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  await r1.run()
  const insert = `INSERT INTO schema_migration_attempts (version, name, checksum, transaction_id, system_identifier) VALUES`
  await r1.pool.query(`${insert} (1, 'x', 'x', '99999999', 'elsewhere')`)
  t.match((await r1.status()).json, { dirty: true, compatible: false })
})

const PARTIAL = `ALTER TABLE users ADD COLUMN c1 int; COMMIT; ${NOT_NULL}`

const clear = ({ url }: Release, body: unknown) => ask(`${url}/migrations/clear`, post(body))

t.test('a partly applied migration that was undone by hand may run again', async (t) => {
  const r44 = await atFortyThree(t, PARTIAL)
  await r44.run()
  await r44.pool.query('ALTER TABLE users DROP COLUMN c1')
  t.match(await clear(r44, { version: 44, as: 'undone' }), {
    status: 200,
    json: { dirty: false, current_schema_version: 43 },
  })
  const mended = await successor(t, r44, { ...USERS, '044_bad.sql': 'ALTER TABLE users ADD COLUMN c1 int' })
  t.match(await mended.run(), { status: 200, json: { applied: ['044_bad.sql'] } })
})

t.test('a partly applied migration that was completed by hand counts as applied', async (t) => {
  const r44 = await atFortyThree(t, PARTIAL)
  await r44.run()
  t.match(await clear(r44, { version: 44, as: 'applied' }), {
    status: 200,
    json: { dirty: false, current_schema_version: 44, compatible: true },
  })
})

t.test('only a version that is applied in part can be cleared, and only by its name', async (t) => {
  const r44 = await atFortyThree(t, PARTIAL)
  t.match(await clear(r44, { version: 44, as: 'undone' }), {
    status: 409,
    json: { code: 'attempt_not_open' },
  })
  await r44.run()
  t.match(await clear(r44, { version: 43, as: 'undone' }), {
    status: 409,
    json: { code: 'attempt_not_open' },
  })
  const wrong = [
    {},
    { version: 44 },
    { as: 'undone' },
    { version: 44, as: 'yes' },
    { version: 0, as: 'undone' },
  ]
  for (const body of wrong) {
    t.match(await clear(r44, body), { status: 400, json: { code: 'run_body_invalid' } }, JSON.stringify(body))
  }
  const r43 = await successor(t, r44, USERS)
  t.match(await clear(r43, { version: 44, as: 'applied' }), {
    status: 422,
    json: { code: 'applied_not_in_release' },
  })
  t.equal((await r44.status()).json.dirty, true)
})

t.test('an empty database has nothing to clear', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  t.match(await clear(r1, { version: 1, as: 'undone' }), { status: 409, json: { code: 'attempt_not_open' } })
})
