// The acceptance scenarios, rows A and B, on real PostgreSQL: real releases with the kit behind a real slotgate.
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { DatabaseWorld, filesUpTo } from '../support/database-world.ts'

const NOTES = { 43: { name: 'add_invoice_notes', sql: 'ALTER TABLE invoices ADD COLUMN notes text' } }

/** A database at 42 with r42 live, declared for this range and shipping files up to 043. */
async function liveR42(t: Test, range: [number, number]): Promise<DatabaseWorld> {
  const made = await DatabaseWorld.create(t, 42)
  await made.addRelease('r42', range, filesUpTo(Math.max(42, range[1]), NOTES))
  await made.world.start(t)
  t.match(await made.world.deploy('r42'), { status: 200 })
  return made
}

t.test(
  'A01: additive column, previous release declared it in advance: rollback allowed, data survives',
  async (t) => {
    const made = await liveR42(t, [41, 43])
    const { world } = made
    await made.addRelease('r43', [43, 43], filesUpTo(43, NOTES))
    t.match(await made.migrate('live', 43), { status: 200, body: { from: 42, to: 43 } })
    t.equal(await made.version(), 43)
    t.match(await world.deploy('r43'), { status: 200, body: { live: { release: 'r43' } } })
    await made.sql("INSERT INTO invoices (total, notes) VALUES (10, 'written by r43')")
    t.match(await world.rollback(), { status: 200, body: { live: { release: 'r42' } } })
    t.same(await made.sql('SELECT notes FROM invoices WHERE total = 10'), [['written by r43']])
  },
)

t.test(
  'A02: previous release declared max 42: rollback is blocked although the change is harmless',
  async (t) => {
    const made = await liveR42(t, [41, 42])
    const { world } = made
    await made.addRelease('r43', [43, 43], filesUpTo(43, NOTES))
    t.match(await world.deploy('r43'), { status: 422, body: { code: 'schema_behind_code' } })
    t.match(await made.migrate('idle', 43), { status: 200 })
    t.match(await world.promote(), { status: 200 })
    const refused = await world.rollback()
    t.match(refused, { status: 422, body: { code: 'schema_ahead_of_code', min: 41, max: 42, current: 43 } })
    for (const number of ['43', '41', '42']) t.ok(refused.body.detail.includes(number))
    t.match((await world.status()).live, { release: 'r43' })
  },
)

t.test('A04: rolled-back additions stay visible: applied, shipped, required by nobody', async (t) => {
  const more = {
    43: { name: 'a', sql: 'CREATE TABLE a ()' },
    44: { name: 'b', sql: 'CREATE TABLE b ()' },
    45: { name: 'c', sql: 'CREATE TABLE c ()' },
  }
  const made = await DatabaseWorld.create(t, 45, filesUpTo(45, more))
  await made.addRelease('r42c', [42, 45], filesUpTo(45, more))
  await made.world.start(t)
  t.match(await made.world.deploy('r42c'), { status: 200 })
  t.match(await made.schemaOf('live'), {
    body: {
      applied_not_required: ['043_a.sql', '044_b.sql', '045_c.sql'],
      applied_not_in_release: [],
      compatible: true,
    },
  })
  const { schema } = await made.world.status()
  t.ok(schema.warnings.some(({ code }) => code === 'orphaned_migrations'))
})

t.test(
  'A07: a drop behind everyone’s back: traffic stays, rollback is blocked, forward is allowed',
  async (t) => {
    const drop = { 44: { name: 'drop_total', sql: 'ALTER TABLE invoices DROP COLUMN total' } }
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.addRelease('r43', [42, 43], filesUpTo(43))
    await made.addRelease('r44', [44, 44], filesUpTo(44, drop))
    await world.start(t)
    await world.deploy('r43')
    t.match(await world.deploy('r44'), { status: 422 })
    t.match(await made.migrate('idle', 44), { status: 200 })
    t.match((await world.status()).live, {
      release: 'r43',
      schema: { compatible: false, in_range: false },
      healthy: true,
    })
    t.match(await world.get(), { status: 200, release: 'r43' }, 'a serving release is not ejected')
    const forward = await world.promote()
    t.match(forward, { status: 200, body: { live: { release: 'r44' } } })
    const warned = forward.body.verdict.warnings.map(({ code }: { code: string }) => code)
    t.ok(warned.includes('live_slot_incompatible'))
    t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code' } })
    t.match(await world.get(), { release: 'r44' })
  },
)

t.test('A08: a rename in four steps, every switch allowed', async (t) => {
  const steps = {
    43: { name: 'add_full_name', sql: 'ALTER TABLE invoices ADD COLUMN full_name text' },
    44: { name: 'drop_name', sql: 'ALTER TABLE invoices DROP COLUMN amount' },
  }
  const made = await DatabaseWorld.create(t, 42)
  const { world } = made
  await made.addRelease('r42', [42, 43], filesUpTo(43, steps))
  await made.addRelease('r43', [43, 44], filesUpTo(44, steps))
  await made.addRelease('r44', [43, 44], filesUpTo(44, steps))
  await world.start(t)
  await world.deploy('r42')
  t.match(await made.migrate('live', 43), { status: 200 })
  t.match(await world.deploy('r43'), { status: 200 })
  t.match((await world.status()).door, { open: true, to: 'r42' })
  t.match(await world.deploy('r44'), { status: 200 })
  t.match((await world.status()).door, { open: true, to: 'r43' })
  t.match(await made.migrate('live', 44), { status: 200 })
  t.match((await world.status()).door, { open: true, to: 'r43' })
  t.match(await world.rollback(), { status: 200, body: { live: { release: 'r43' } } })
})

t.test('A09: integer to text: code that does arithmetic is not rolled back to', async (t) => {
  const toText = { 44: { name: 'amount_to_text', sql: 'ALTER TABLE invoices ALTER COLUMN amount TYPE text' } }
  const made = await DatabaseWorld.create(t, 43)
  const { world } = made
  await made.sql('INSERT INTO invoices (id, total) VALUES (7, 1)')
  await made.addRelease('r43', [42, 43], filesUpTo(43), { column: 'amount' })
  await made.addRelease('r44', [44, 44], filesUpTo(44, toText), { column: 'amount' })
  await world.start(t)
  await world.deploy('r43')
  await world.deploy('r44')
  await made.migrate('idle', 44)
  t.match(await world.promote(), { status: 200 })
  t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code' } })
  t.match(await world.get('/invoices/7/plus-one'), { status: 200, text: '8', release: 'r44' })
})

t.test(
  'A10: a migration that fails inside its transaction: nothing changed, nothing dirty, live untouched',
  async (t) => {
    const bad = {
      44: {
        name: 'bad',
        sql: 'ALTER TABLE invoices ADD COLUMN ok int; ALTER TABLE invoices ADD COLUMN req int NOT NULL',
      },
    }
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.sql('INSERT INTO invoices (total) VALUES (1)')
    await made.addRelease('r43', [42, 43], filesUpTo(43))
    await made.addRelease('r44', [44, 44], filesUpTo(44, bad))
    await world.start(t)
    await world.deploy('r43')
    await world.deploy('r44')
    t.match(await made.migrate('idle', 44), {
      status: 422,
      body: { error: 'migration_failed', version: 44, sqlstate: '23502', partial: false },
    })
    t.equal(await made.version(), 43)
    t.match(await made.schemaOf('idle'), {
      body: { dirty: false, pending_migrations: ['044_bad.sql'], compatible: false },
    })
    t.match(await world.deploy('r44'), { status: 422, body: { code: 'schema_behind_code' } })
    t.match(await world.get(), { release: 'r43' })
    t.same(await made.sql("SELECT count(*)::int FROM information_schema.columns WHERE column_name = 'ok'"), [
      [0],
    ])
  },
)

t.test(
  'A11: the script contains COMMIT: half is applied, status says dirty, both directions are blocked',
  async (t) => {
    const bad = {
      44: {
        name: 'bad',
        sql: 'ALTER TABLE invoices ADD COLUMN c1 int; COMMIT; ALTER TABLE invoices ADD COLUMN req int NOT NULL',
      },
    }
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.sql('INSERT INTO invoices (total) VALUES (1)')
    await made.addRelease('r42', [42, 44], filesUpTo(43))
    await made.addRelease('r43', [42, 44], filesUpTo(43))
    await made.addRelease('r44', [43, 44], filesUpTo(44, bad), {})
    await world.start(t)
    await world.deploy('r42')
    await world.deploy('r43')
    await world.stage('r44')
    t.match(await made.migrate('idle', 44), {
      status: 422,
      body: { error: 'migration_failed', version: 44, partial: true },
    })
    t.match(await made.schemaOf('idle'), {
      body: { dirty: true, compatible: false, problems: [{ code: 'partial_migration', version: 44 }] },
    })
    t.match(await world.deploy('r44'), { status: 422, body: { code: 'schema_dirty' } })
    t.match(await made.migrate('idle', 44), { status: 409, body: { error: 'dirty' } })
    t.match(await world.rollback(), { status: 422, body: { code: 'schema_dirty' } })
    t.match(await world.get(), { release: 'r43' })
  },
)

t.test(
  'A14: 43 then 44 applied, the previous release stops at 43: blocked, naming both numbers',
  async (t) => {
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.addRelease('r43', [42, 43], filesUpTo(43))
    await made.addRelease('r44', [44, 44], filesUpTo(44))
    await world.start(t)
    await world.deploy('r43')
    await world.deploy('r44')
    await made.migrate('idle', 44)
    await world.promote()
    const { status, body } = await world.rollback()
    t.match({ status, body }, { status: 422, body: { code: 'schema_ahead_of_code', detail: /43.*44/ } })
    t.match(await world.get(), { release: 'r44' })
  },
)

t.test('A15: one step back allowed, two steps back blocked without booting', async (t) => {
  const made = await DatabaseWorld.create(t, 43)
  const { world } = made
  await made.addRelease('r42', [41, 43], filesUpTo(43))
  await made.addRelease('r43', [43, 44], filesUpTo(44))
  await made.addRelease('r44', [44, 44], filesUpTo(44))
  await world.start(t)
  await world.deploy('r42')
  await world.deploy('r43')
  await made.migrate('live', 44)
  t.match(await world.deploy('r44'), { status: 200 })
  t.match(await world.rollback(), { status: 200, body: { live: { release: 'r43' } } })
  const boots = async () => (await world.history()).filter(({ event }) => event === 'booting').length
  const before = await boots()
  t.match(await world.rollback('r42'), {
    status: 422,
    body: { code: 'schema_ahead_of_code', evidence: 'recorded' },
  })
  t.equal(await boots(), before, 'no process of r42 was started')
  t.match(await world.get(), { release: 'r43' })
})

t.test('A17: a release with two 003 files: incompatible, run refuses, the deploy is refused', async (t) => {
  const made = await DatabaseWorld.create(t, 2)
  const { world } = made
  await made.addRelease('r2', [1, 2], filesUpTo(2))
  const { 1: first, 2: second } = filesUpTo(2)
  await made.addRelease(
    'r3',
    [2, 3],
    [
      { name: '001_start.sql', sql: first?.sql ?? '' },
      { name: '002_step.sql', sql: second?.sql ?? '' },
      { name: '003_agent.sql', sql: 'CREATE TABLE agent ()' },
      { name: '003_human.sql', sql: 'CREATE TABLE human ()' },
    ],
  )
  await world.start(t)
  await world.deploy('r2')
  t.match(await world.deploy('r3'), {
    status: 422,
    body: { code: 'schema_declared_incompatible', detail: /003/ },
  })
  t.match(await made.schemaOf('idle'), {
    body: { compatible: false, problems: [{ code: 'duplicate_number', version: 3 }] },
  })
  t.match(await made.migrate('idle', 3), { status: 422, body: { error: 'duplicate_number' } })
  t.equal(await made.version(), 2)
  t.match(await world.get(), { release: 'r2' })
})

t.test(
  'A18: the database has 003_human, the release ships 003_agent: numbers agree, histories do not',
  async (t) => {
    const human = { 3: { name: 'human', sql: 'CREATE TABLE human ()' } }
    const made = await DatabaseWorld.create(t, 3, filesUpTo(3, human))
    const { world } = made
    await made.addRelease('r2', [2, 3], filesUpTo(3, human))
    await made.addRelease('rA', [3, 3], filesUpTo(3, { 3: { name: 'agent', sql: 'CREATE TABLE agent ()' } }))
    await world.start(t)
    await world.deploy('r2')
    t.match(await world.deploy('rA'), { status: 422, body: { code: 'schema_declared_incompatible' } })
    t.match(await made.schemaOf('idle'), {
      body: {
        current_schema_version: 3,
        compatible: false,
        problems: [
          { code: 'different_migration', version: 3, applied: '003_human.sql', release: '003_agent.sql' },
        ],
      },
    })
    t.match(await world.get(), { release: 'r2' })
  },
)

t.test('B03: code_min moved up: the promotion waits for the migration', async (t) => {
  const made = await liveR42(t, [41, 42])
  const { world } = made
  await made.addRelease('r43', [43, 43], filesUpTo(43, NOTES))
  const refused = await world.deploy('r43')
  t.match(refused, { status: 422, body: { code: 'schema_behind_code', hint: /\/migrations\/run/ } })
  t.match(await made.migrate('idle', 43), { status: 200 })
  t.match(await world.deploy('r43'), { status: 200, body: { live: { release: 'r43' } } })
})

t.test('B04: code_min stays put: promote at 42, migrate later, never incompatible', async (t) => {
  const made = await liveR42(t, [41, 42])
  const { world } = made
  await made.addRelease('r43', [42, 43], filesUpTo(43, NOTES))
  t.match(await world.deploy('r43'), { status: 200 })
  t.match(await made.migrate('live', 43), { status: 200 })
  t.match(await made.schemaOf('live'), { body: { compatible: true, pending_migrations: [] } })
})

t.test('B08: deploying a release with three pending migrations changes no schema', async (t) => {
  const made = await liveR42(t, [41, 42])
  await made.addRelease('r45', [42, 45], filesUpTo(45))
  t.match(await made.world.deploy('r45'), { status: 200, body: { live: { release: 'r45' } } })
  const { body } = await made.schemaOf('live')
  t.equal(body.current_schema_version, 42)
  t.equal(body.pending_migrations.length, 3)
})

t.test('B12: on an empty database the status is 0, all is pending, and nothing goes live', async (t) => {
  const made = await DatabaseWorld.create(t, 0)
  const { world } = made
  await made.addRelease('r3', [1, 3], filesUpTo(3))
  await world.start(t)
  t.match(await world.deploy('r3'), { status: 422, body: { code: 'schema_behind_code' } })
  t.match(await made.schemaOf('idle'), {
    body: {
      current_schema_version: 0,
      pending_migrations: ['001_start.sql', '002_step.sql', '003_step.sql'],
      compatible: false,
    },
  })
  t.equal((await world.status()).live, null)
  t.same(await made.sql("SELECT to_regclass('schema_migrations')"), [[null]], 'asking wrote nothing')
})

t.test(
  'B14: a migration fails while the live release serves: no request fails, nothing is switched',
  async (t) => {
    const bad = { 44: { name: 'bad', sql: 'ALTER TABLE invoices ADD COLUMN req int NOT NULL' } }
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.sql('INSERT INTO invoices (id, total) VALUES (1, 1)')
    await made.addRelease('r43', [42, 44], filesUpTo(44, bad))
    await world.start(t)
    await world.deploy('r43')
    let running = true
    const serving = (async () => {
      const statuses = new Set<number>()
      while (running) statuses.add((await world.get('/invoices/1/plus-one')).status)
      return statuses
    })()
    const generation = (await world.status()).generation
    t.match(await made.migrate('live', 44), { status: 422, body: { error: 'migration_failed' } })
    running = false
    t.same([...(await serving)], [200])
    t.equal((await world.status()).generation, generation)
  },
)

t.test(
  'B06 and the kit: only the live release starts its background work, and a rehearsal none',
  async (t) => {
    const made = await liveR42(t, [41, 43])
    const { world } = made
    await made.addRelease('r43', [42, 43], filesUpTo(43, NOTES))
    const started = async () => readFile(`${world.folder}/live.log`, 'utf8').catch(() => '')
    await world.until(async () => (await started()) === 'r42\n', 'the live one starts its work')
    await world.stage('r43')
    await world.until(async () => (await world.status()).idle.healthy, 'the candidate is asked')
    t.equal(await started(), 'r42\n', 'the staged one has not')
    await world.promote()
    await world.until(async () => (await started()) === 'r42\nr43\n', 'the new live one starts its work')
  },
)
