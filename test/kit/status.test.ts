// The status of a release on a real database, scenario by scenario.
import { once } from 'node:events'
import { createServer } from 'node:net'
import { networkInterfaces } from 'node:os'
import pg from 'pg'
import t from 'tap'
import { startDatabase } from '../../example/database.ts'
import { ROLE_HEADER } from '../../src/contract.ts'
import { loadMigrations, readStatus, serveInternal } from '../../src/kit/index.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { ask, release, serve, successor, trivial, writeFolder } from './fixture.ts'

const codes = (problems: { code: string }[]) => problems.map(({ code }) => code)

t.test('A04: three rolled-back additions stay visible: applied, shipped, required by nobody', async (t) => {
  const additions = { '043_a.sql': '', '044_b.sql': '', '045_c.sql': '' }
  const r42 = await release(t, { ...trivial(40, 42), ...additions, 'compat.json': '{"min":42,"max":45}' })
  t.equal((await r42.run()).status, 200)
  const { json } = await r42.status()
  t.match(json, {
    current_schema_version: 45,
    compatible: true,
    applied_not_required: Object.keys(additions),
  })
  t.same(json.applied_not_in_release, [])
})

t.test(
  'A14: a release that stops at 43 reports the 44 of the database, and that it is not its own',
  async (t) => {
    const r44 = await release(t, trivial(42, 44))
    await r44.run()
    const r43 = await successor(t, r44, { ...trivial(42, 43), 'compat.json': '{"min":42,"max":43}' })
    t.match((await r43.status()).json, {
      current_schema_version: 44,
      code_max_schema_version: 43,
      compatible: false,
      applied_not_in_release: ['044_step.sql'],
    })
    t.equal((await r44.status()).json.schema_digest, (await r43.status()).json.schema_digest)
  },
)

t.test('A17: a release with two 003 files is not compatible', async (t) => {
  const r2 = await release(t, trivial(1, 2))
  await r2.run()
  const r3 = await successor(t, r2, { ...trivial(1, 2), '003_agent.sql': '', '003_human.sql': '' })
  t.match((await r3.status()).json, {
    compatible: false,
    problems: [{ code: 'duplicate_number', version: 3 }],
  })
  const refused = await r3.run({ to: 3 })
  t.equal(refused.status, 422)
  t.match(refused.json, { error: 'duplicate_number', code: 'duplicate_number' })
  t.equal((await r3.status()).json.current_schema_version, 2)
})

t.test(
  'A18: the database has 003_human, the release ships 003_agent: numbers agree, histories do not',
  async (t) => {
    const human = await release(t, { ...trivial(1, 2), '003_human.sql': '' })
    await human.run()
    const agent = await successor(t, human, { ...trivial(1, 2), '003_agent.sql': '' })
    t.match((await agent.status()).json, {
      current_schema_version: 3,
      compatible: false,
      problems: [
        { code: 'different_migration', version: 3, applied: '003_human.sql', release: '003_agent.sql' },
      ],
    })
    t.match(await agent.run(), { status: 422, json: { error: 'different_migration' } })
  },
)

t.test('B12: an empty database is at 0, and a question makes no table', async (t) => {
  const r3 = await release(t, {
    '001_a.sql': '',
    '002_b.sql': '',
    '003_c.sql': '',
    'compat.json': '{"min":1,"max":3}',
  })
  t.match((await r3.status()).json, {
    current_schema_version: 0,
    pending_migrations: ['001_a.sql', '002_b.sql', '003_c.sql'],
    compatible: false,
    dirty: false,
    migration_running: false,
  })
  const { rows } = await r3.pool.query(`SELECT FROM information_schema.tables WHERE table_schema = 'public'`)
  t.equal(rows.length, 0)
})

t.test('E01: a migration under way neither blocks the status nor shows its result', async (t) => {
  const r42 = await release(t, trivial(40, 42))
  await r42.run()
  const other = await r42.pool.connect()
  t.teardown(() => other.release(true))
  await other.query(`BEGIN; SELECT pg_advisory_xact_lock(77, 12); CREATE TABLE fresh (id int);
    INSERT INTO schema_migrations (version, name, checksum) VALUES (43, '043_x.sql', 'x')`)
  // What waited for the other transaction would wait for ever.
  t.match((await r42.status()).json, { current_schema_version: 42, migration_running: true })
  await other.query('ROLLBACK')
  t.match((await r42.status()).json, {
    current_schema_version: 42,
    migration_running: false,
    compatible: true,
  })
})

t.test('E04: 003 arrives after 004 ran: neither skipped nor run in silence', async (t) => {
  const early = await release(t, {
    '001_step.sql': 'SELECT 1;',
    '002_step.sql': 'SELECT 1;',
    '004_step.sql': 'SELECT 1;',
  })
  await early.run()
  const late = await successor(t, early, trivial(1, 4))
  t.match((await late.status()).json, {
    current_schema_version: 4,
    compatible: false,
    pending_migrations: ['003_step.sql'],
    problems: [{ code: 'hole', version: 3 }],
  })
  t.match(await late.run({ to: 4 }), { status: 422, json: { error: 'hole', version: 3 } })
})

t.test('E07: a database that is down makes the status 503, and nothing else', async (t) => {
  const database = await startDatabase()
  t.teardown(() => database.stop())
  const pool = new pg.Pool({ connectionString: database.url })
  const internal = await serveInternal({ pool, port: 0, migrations: await writeFolder(t, trivial(1, 2)) })
  t.teardown(async () => {
    await internal.close()
    await pool.end()
  })
  t.equal((await ask(`${internal.url}/schema/status`)).status, 200)
  await database.stop()
  t.match(await ask(`${internal.url}/schema/status`), {
    status: 503,
    json: { code: 'database_unavailable', retryable: true },
  })
  t.match(await ask(`${internal.url}/migrations/run`, { method: 'POST' }), {
    status: 503,
    json: { error: 'database_unavailable' },
  })
  t.equal((await ask(`${internal.url}/healthz`)).status, 200)
})

t.test(
  'E07: a database that accepts and then says nothing makes the status 503 within the 3 s of the gate',
  async (t) => {
    const silent = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as { port: number }
    const pool = new pg.Pool({ host: '127.0.0.1', port, user: 'nobody', connectionTimeoutMillis: 1500 })
    const internal = await serveInternal({ pool, port: 0, migrations: await writeFolder(t, {}) })
    t.teardown(async () => {
      await internal.close()
      silent.close()
      await pool.end()
    })
    const begun = performance.now()
    t.match(await ask(`${internal.url}/schema/status`), {
      status: 503,
      json: { code: 'database_unavailable' },
    })
    t.ok(performance.now() - begun < 3000)
  },
)

t.test('an exhausted pool is an unavailable database, not an incompatible one', async (t) => {
  const { url } = await createTestDatabase(t)
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  const busy = await pool.connect()
  const internal = await serveInternal({ pool, port: 0, migrations: await writeFolder(t, {}) })
  t.teardown(async () => {
    await internal.close()
    await pool.end()
  })
  t.match(await ask(`${internal.url}/schema/status`), { status: 503, json: { code: 'database_unavailable' } })
  busy.release()
  t.equal(
    (await ask(`${internal.url}/schema/status`)).status,
    200,
    'and the late connection went back to the pool',
  )
})

t.test('a table that is locked ends the statement at its own limit', async (t) => {
  const r1 = await release(t, trivial(1, 1))
  await r1.run()
  const other = await r1.pool.connect()
  t.teardown(() => other.release(true))
  await other.query('BEGIN; LOCK TABLE schema_migrations')
  t.match(await r1.status(), {
    status: 503,
    json: { code: 'database_unavailable', detail: /statement timeout/ },
  })
})

t.test('a standby answers 503 not_primary, because it may lag', async (t) => {
  const standby = await startDatabase({ standby: true })
  const pool = new pg.Pool({ connectionString: standby.url })
  const internal = await serveInternal({ pool, port: 0, migrations: await writeFolder(t, {}) })
  t.teardown(async () => {
    await internal.close()
    await pool.end()
    await standby.stop()
  })
  t.match(await ask(`${internal.url}/schema/status`), { status: 503, json: { code: 'not_primary' } })
  t.match(await ask(`${internal.url}/migrations/run`, { method: 'POST' }), {
    status: 503,
    json: { error: 'not_primary' },
  })
})

t.test('E09: without a declaration the range is exactly the newest file', async (t) => {
  const r43 = await release(t, trivial(42, 43))
  t.match((await r43.status()).json, { code_min_schema_version: 43, code_max_schema_version: 43 })
})

t.test('a role that may only read the two tables gets the whole status', async (t) => {
  const r2 = await release(t, trivial(1, 2))
  await r2.run()
  const role = `reader_${new URL(r2.databaseUrl).pathname.slice(1)}`
  await r2.pool.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret';
    GRANT SELECT ON schema_migrations, schema_migration_attempts TO ${role}`)
  const url = new URL(r2.databaseUrl)
  url.username = role
  url.password = 'secret'
  const pool = new pg.Pool({ connectionString: url.href })
  const reader = await serveInternal({ pool, port: 0, migrations: r2.folder })
  t.teardown(async () => {
    await reader.close()
    await pool.end()
    await r2.pool.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  })
  const holder = await r2.pool.connect()
  await holder.query('SELECT pg_advisory_lock(77, 12)')
  t.same((await ask(`${reader.url}/schema/status`)).json, (await r2.status()).json)
  t.equal((await ask(`${reader.url}/schema/status`)).json.migration_running, true)
  holder.release(true)
})

t.test('a script that was changed after it ran is drift', async (t) => {
  const first = await release(t, trivial(1, 2))
  await first.run()
  const changed = await successor(t, first, { ...trivial(1, 1), '002_step.sql': 'SELECT 2;' })
  t.match((await changed.status()).json, {
    compatible: false,
    problems: [{ code: 'checksum_drift', version: 2 }],
  })
  t.match(await changed.run(), { status: 422, json: { error: 'checksum_drift', file: '002_step.sql' } })
})

t.test('a script that ran and is no longer shipped is a problem below the newest file', async (t) => {
  const first = await release(t, trivial(1, 3))
  await first.run()
  const { json } = await (await successor(t, first, { ...trivial(1, 1), ...trivial(3, 3) })).status()
  t.equal(json.compatible, false)
  t.match(json.problems, [{ code: 'applied_not_in_release', version: 2, applied: '002_step.sql' }])
  t.same(json.applied_not_in_release, ['002_step.sql'])
})

t.test('every problem has a sentence without a gap', async (t) => {
  const first = await release(t, { '001_a.sql': '', '002_b.sql': '', '003_c.sql': '', '005_e.sql': '' })
  await first.run()
  const next = {
    '001_a.sql': '--',
    '002_x.sql': '',
    '004_d.sql': '',
    '005_e.sql': '',
    '006_a.sql': '',
    '006_b.sql': '',
    'x.sql': '',
    SUMS: '',
  }
  const { json } = await (await successor(t, first, next)).status()
  t.same([...new Set(codes(json.problems))].sort(), [
    'applied_not_in_release',
    'bad_name',
    'checksum_drift',
    'different_migration',
    'duplicate_number',
    'hole',
    'sums_mismatch',
  ])
  for (const { code, sentence, hint } of json.problems) t.notMatch(`${sentence}${hint}`, '?', code)
})

t.test('a folder whose every file drifted still fits into a status', async (t) => {
  const { pool, url, run } = await release(t, { ...trivial(1, 400), 'compat.json': '{"min":1,"max":400}' })
  await run({ to: 1 })
  await pool.query(`INSERT INTO schema_migrations (version, name, checksum)
    SELECT n, lpad(n::text, 3, '0') || '_step.sql', 'other' FROM generate_series(2, 400) n`)
  const text = await (await fetch(`${url}/schema/status`)).text()
  t.match(JSON.parse(text), { compatible: false, problems: [{ code: 'checksum_drift', version: 2 }] })
  t.ok(text.length < 64 * 1024, `${text.length} characters`)
})

t.test(
  'two databases of one cluster differ in database_id; two releases on one database do not',
  async (t) => {
    const [one, other] = await Promise.all([release(t, {}), release(t, {})])
    const again = await successor(t, one, trivial(1, 2))
    const ids = await Promise.all(
      [one, other, again].map(async ({ status }) => (await status()).json.database_id),
    )
    t.equal(ids[0], ids[2])
    t.not(ids[0], ids[1])
  },
)

t.test('boot id and release come from what slotgate put into the environment', async (t) => {
  process.env.SLOTGATE_BOOT_ID = 'boot-1'
  process.env.SLOTGATE_RELEASE = 'r42'
  t.teardown(() => {
    delete process.env.SLOTGATE_BOOT_ID
    delete process.env.SLOTGATE_RELEASE
  })
  const r42 = await release(t, {})
  t.match((await r42.status()).json, { boot_id: 'boot-1', release: 'r42' })
})

t.test('an answer is never stored', async (t) => {
  const { url } = await release(t, {})
  for (const path of ['/healthz', '/schema/status', '/nothing']) {
    t.equal((await fetch(url + path)).headers.get('cache-control'), 'no-store', path)
  }
})

t.test('what listens on localhost, or everywhere, is reached on loopback', async (t) => {
  const { databaseUrl, pool } = await release(t, {})
  const addresses = Object.values(networkInterfaces()).flatMap((those = []) => those)
  const places = [
    ['localhost', '127.0.0.1'],
    ['0.0.0.0', '127.0.0.1'],
    ...(addresses.some(({ address }) => address === '::1') ? [['::', '[::1]'] as const] : []),
  ] as const
  for (const [host, reached] of places) {
    const { url, internal } = await serve(t, databaseUrl, pool, {}, { host })
    t.equal(url, `http://${reached}:${internal.port}`)
    t.equal((await ask(`${url}/healthz`)).status, 200)
    // Where slotgate asks.
    t.equal((await ask(`http://127.0.0.1:${internal.port}/healthz`)).status, 200)
  }
})

t.test('health is what the app says, and a failing question is a no', async (t) => {
  let ready: () => boolean = () => false
  const { url } = await release(t, {}, { healthy: () => ready() })
  t.equal((await ask(`${url}/healthz`)).status, 503)
  ready = () => true
  t.equal((await ask(`${url}/healthz`)).status, 200)
  ready = () => {
    throw new Error('no')
  }
  t.equal((await ask(`${url}/healthz`)).status, 503)
})

t.test('background work starts once, when slotgate first says that this release is live', async (t) => {
  process.env.SLOTGATE = '1'
  t.teardown(() => {
    delete process.env.SLOTGATE
  })
  const { url, internal } = await release(t, {})
  let started = 0
  internal.onLive(() => {
    started += 1
  })
  for (const role of ['idle', 'rehearsal', undefined]) {
    await ask(`${url}/healthz`, { headers: role ? { [ROLE_HEADER]: role } : {} })
  }
  t.equal(started, 0)
  await ask(`${url}/healthz`, { headers: { [ROLE_HEADER]: 'live' } })
  await ask(`${url}/schema/status`, { headers: { [ROLE_HEADER]: 'live' } })
  t.equal(started, 1)
  await t.resolves(new Promise<void>((resolve) => internal.onLive(resolve)))
})

t.test('without slotgate there is one release, and it is live', async (t) => {
  const { internal } = await release(t, {})
  await t.resolves(new Promise<void>((resolve) => internal.onLive(resolve)))
})

t.test('a connection that is asked over and over gathers nothing', async (t) => {
  const { url } = await createTestDatabase(t)
  const pool = new pg.Pool({ connectionString: url, max: 1 })
  t.teardown(() => pool.end())
  const migrations = await loadMigrations(await writeFolder(t, {}))
  for (let times = 0; times < 20; times += 1) await readStatus(pool, migrations)
  const client = await pool.connect()
  t.ok(client.listenerCount('error') <= 2, `${client.listenerCount('error')} listeners`)
  client.release()
})
