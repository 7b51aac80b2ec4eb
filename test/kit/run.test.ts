// What a run does, what it refuses, and two of them at once, on a real database.
import { connect as openSocket } from 'node:net'
import pg from 'pg'
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
  successor,
  trivial,
} from './fixture.ts'

const current = async ({ status }: Pick<Release, 'status'>) => (await status()).json.current_schema_version

t.test('a run applies what is pending, in order, and says so', async (t) => {
  const r3 = await release(t, {
    '001_a.sql': 'CREATE TABLE a (id int)',
    '002_b.sql': 'ALTER TABLE a ADD b int',
    '003_c.sql': '',
  })
  t.same(await r3.run({ to: 2 }), {
    status: 200,
    json: { from: 0, to: 2, applied: ['001_a.sql', '002_b.sql'] },
  })
  t.same(await r3.run(), { status: 200, json: { from: 2, to: 3, applied: ['003_c.sql'] } })
  t.same(await r3.run(), { status: 200, json: { from: 3, to: 3, applied: [] } })
  t.match((await r3.status()).json, { current_schema_version: 3, compatible: true })
  t.same(await columnsOf(r3.pool, 'a'), ['b', 'id'])
})

t.test('a script without transaction runs on the direct pool and is recorded', async (t) => {
  const { url, pool } = await createTestDatabase(t)
  const directPool = new pg.Pool({ connectionString: url, application_name: 'direct' })
  t.teardown(() => directPool.end())
  const files = {
    '043_users.sql': 'CREATE TABLE users (id int)',
    '044_idx.sql': '-- no-transaction\nCREATE INDEX CONCURRENTLY one ON users (id)',
    '045_who.sql': `-- no-transaction\nCREATE TABLE who AS SELECT current_setting('application_name') AS name`,
  }
  const r45 = await serve(t, url, pool, files, { directPool })
  t.match(await r45.run(), { status: 200, json: { from: 0, to: 45 } })
  t.match((await r45.status()).json, {
    current_schema_version: 45,
    compatible: true,
    migration_running: false,
  })
  t.same((await pool.query('SELECT name FROM who')).rows, [{ name: 'direct' }])
})

t.test('B04: a release that does not need 043 yet is compatible before and after it ran', async (t) => {
  const r42 = await release(t, trivial(41, 42))
  await r42.run()
  const r43 = await successor(t, r42, { ...trivial(41, 43), 'compat.json': '{"min":42,"max":43}' })
  t.match((await r43.status()).json, { compatible: true, pending_migrations: ['043_step.sql'] })
  t.equal((await r43.run({ to: 43 })).status, 200)
  const { json } = await r43.status()
  t.equal(json.compatible, true)
  t.same(json.pending_migrations, [])
})

t.test('two runs on one release: one runs, the other is told so', async (t) => {
  const r1 = await release(t, { '001_slow.sql': 'SELECT pg_sleep(0.3)' })
  const answers = await Promise.all([r1.run(), r1.run()])
  t.same(answers.map(({ status }) => status).sort(), [200, 409])
  t.match(answers.find(({ status }) => status === 409)?.json, { error: 'migration_running', retryable: true })
})

t.test('two releases that run at once: each file is applied once', async (t) => {
  const one = await release(t, trivial(1, 5))
  const other = await successor(t, one, trivial(1, 5))
  const answers = await Promise.all([one.run(), other.run()])
  for (const { status } of answers) t.ok(status === 200 || status === 409, String(status))
  const applied = answers.flatMap(({ json }) => json.applied ?? [])
  t.same(applied.sort(), Object.keys(trivial(1, 5)))
  t.equal(await current(one), 5)
})

t.test(
  'a run waits for a lock no longer than 5 s; here somebody holds it throughout',
  { timeout: 20_000 },
  async (t) => {
    const r1 = await release(t, {
      '001_a.sql': 'CREATE TABLE a (id int)',
      '002_b.sql': 'ALTER TABLE a ADD b int',
    })
    await r1.run({ to: 1 })
    const holder = await r1.pool.connect()
    t.teardown(() => holder.release(true))
    await holder.query('BEGIN; SELECT FROM a')
    t.match(await r1.run(), {
      status: 422,
      json: { error: 'migration_failed', sqlstate: '55P03', partial: false },
    })
    t.match((await r1.status()).json, { current_schema_version: 1, dirty: false })
  },
)

t.test('a run goes on when its caller goes away, and the end of the app waits for it', async (t) => {
  const r1 = await release(t, { '001_slow.sql': 'SELECT pg_sleep(0.5)' })
  const caller = openSocket(r1.internal.port, '127.0.0.1')
  caller.write('POST /migrations/run HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n')
  await eventually(r1.status, ({ json }) => json.migration_running)
  caller.destroy()
  await r1.internal.close()
  const { rows } = await r1.pool.query('SELECT version FROM schema_migrations')
  t.same(rows, [{ version: '1' }])
})

t.test('a failure in the middle keeps what ran before it and stops there', async (t) => {
  const r3 = await release(t, { '001_a.sql': '', '002_b.sql': 'SELECT 1/0', '003_c.sql': '' })
  t.match(await r3.run(), {
    status: 422,
    json: { error: 'migration_failed', version: 2, sqlstate: '22012', from: 0, applied: ['001_a.sql'] },
  })
  t.equal(await current(r3), 1)
})

t.test('a run refuses to go where the release says it does not fit', async (t) => {
  const r43 = await release(t, { ...trivial(41, 44), 'compat.json': '{"min":41,"max":43}' })
  t.match(await r43.run({ to: 44 }), {
    status: 409,
    json: { error: 'outside_range', min: 41, max: 43, to: 44 },
  })
  t.match(await r43.run(), { status: 409, json: { error: 'outside_range', to: 44 } })
  t.match(await r43.run({ to: 45 }), { status: 409, json: { error: 'outside_range' } })
  t.equal(await current(r43), 0)
  t.equal((await r43.run({ to: 43 })).status, 200)
})

t.test('a run never goes beyond the newest file, whatever the range says', async (t) => {
  const r43 = await release(t, { ...trivial(41, 43), 'compat.json': '{"min":41,"max":50}' })
  t.match(await r43.run({ to: 44 }), { status: 409, json: { error: 'outside_range' } })
})

t.test('expected_current is compared before anything runs', async (t) => {
  const r2 = await release(t, trivial(1, 2))
  t.match(await r2.run({ expected_current: 1 }), {
    status: 409,
    json: { error: 'expected_current_mismatch', current: 0, expected_current: 1 },
  })
  t.equal(await current(r2), 0)
  t.match(await r2.run({ expected_current: 0 }), { status: 200, json: { to: 2 } })
})

t.test('a dry run says what would run, and runs nothing', async (t) => {
  const r2 = await release(t, trivial(1, 2))
  t.same(await r2.run({ to: 1, dry_run: true }), {
    status: 200,
    json: { from: 0, to: 1, applied: [], would_apply: ['001_step.sql'] },
  })
  t.equal(
    (await r2.pool.query(`SELECT FROM information_schema.tables WHERE table_schema = 'public'`)).rows.length,
    0,
  )
})

t.test('a folder with a problem runs nothing', async (t) => {
  const problems: [string, Files][] = [
    ['bad_name', { 'add_thing.sql': '' }],
    ['sums_mismatch', { SUMS: '' }],
  ]
  for (const [code, files] of problems) {
    const r2 = await release(t, { ...trivial(1, 2), ...files })
    t.match(await r2.run(), { status: 422, json: { error: code } })
    t.match((await r2.status()).json, { current_schema_version: 0, compatible: false })
  }
})

t.test('a body that does not fit is refused with the reason, and nothing runs', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  const wrong = [
    '{',
    '[]',
    '"to"',
    '{"to":"1"}',
    '{"to":1.5}',
    '{"to":-1}',
    '{"too":1}',
    '{"dry_run":"yes"}',
    '{"accept_breaks":"r1"}',
    '{"confirm":true}',
    '{"expected_current":null}',
    '{"__proto__":{"to":1}}',
    JSON.stringify({ confirm: 'x'.repeat(2 ** 20) }),
  ]
  for (const body of wrong) {
    t.match(
      await r1.run(body),
      { status: 400, json: { error: 'run_body_invalid', detail: /does not fit/ } },
      body.slice(0, 30),
    )
  }
  t.equal(await current(r1), 0)
})

t.test('A06: accept_breaks and confirm are understood, and have no effect yet', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  t.equal((await r1.run({ accept_breaks: ['r0'], confirm: 'one_way_door' })).status, 200)
})

t.test('a body that is empty, or null, asks for all that is pending', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  for (const body of ['', ' ', 'null']) t.match(await r1.run(body), { status: 200, json: { to: 1 } })
})

t.test('a body is JSON whatever its content type, as curl -d sends it', async (t) => {
  const r2 = await release(t, trivial(1, 2))
  const form = {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: '{"to":1}',
  }
  t.match(await ask(`${r2.url}/migrations/run`, form), { status: 200, json: { to: 1 } })
})

t.test('a web page cannot make its reader migrate', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  const headers = { origin: 'https://elsewhere.example' }
  t.match(await ask(`${r1.url}/migrations/run`, { method: 'POST', headers }), {
    status: 403,
    json: { code: 'origin_refused' },
  })
  t.equal(await current(r1), 0)
})

t.test('a refusal is a problem document', async (t) => {
  const { url } = await release(t, trivial(1, 1))
  const response = await fetch(`${url}/migrations/run`, post({ to: 9 }))
  t.equal(response.headers.get('content-type'), 'application/problem+json; charset=utf-8')
  t.match(await response.json(), {
    type: 'urn:slotgate:error:outside_range',
    status: 409,
    stage: 'migrations',
    retryable: false,
  })
  t.match(await ask(`${url}/nothing`), { status: 404, json: { code: 'unknown_route' } })
})

t.test('a role that may not create tables is told so', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  await r1.pool.query('REVOKE CREATE ON SCHEMA public FROM PUBLIC')
  const role = `writer_${new URL(r1.databaseUrl).pathname.slice(1)}`
  await r1.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
  const url = Object.assign(new URL(r1.databaseUrl), { username: role, password: 'secret' })
  const pool = new pg.Pool({ connectionString: url.href })
  t.teardown(async () => {
    await pool.end()
    await r1.pool.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
  const writer = await serve(t, url.href, pool, trivial(1, 1))
  t.match(await writer.run(), {
    status: 503,
    json: { code: 'database_unavailable', detail: /permission denied/ },
  })
})
