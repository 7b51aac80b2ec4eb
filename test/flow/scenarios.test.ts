// The acceptance scenarios, rows A and B, on real PostgreSQL: real releases with the kit behind a real slotgate.
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { DatabaseWorld, type Files, fileName, filesUpTo } from '../support/database-world.ts'

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
  'A02, B03: a promotion that needs a migration waits for it, and then nothing leads back to a release that stops before',
  async (t) => {
    const made = await liveR42(t, [41, 42])
    const { world } = made
    await made.addRelease('r43', [43, 43], filesUpTo(43, NOTES))
    const waits = { status: 422, body: { code: 'schema_behind_code', hint: /\/migrations\/run/ } }
    t.match(await world.deploy('r43'), waits)
    t.match(await made.migrate('idle', 43), { status: 200 })
    t.match(await world.deploy('r43'), { status: 200, body: { live: { release: 'r43' } } })
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
  'A07, A09, A14: a drop and a change of type behind everyone’s back: traffic stays, forward is allowed, and nothing leads back',
  async (t) => {
    const sql = 'ALTER TABLE invoices DROP COLUMN total; ALTER TABLE invoices ALTER COLUMN amount TYPE text'
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.sql('INSERT INTO invoices (id, total) VALUES (7, 1)')
    await made.addRelease('r43', [42, 43], filesUpTo(43))
    await made.addRelease('r44', [44, 44], filesUpTo(44, { 44: { name: 'drop', sql } }), { column: 'amount' })
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
    t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code', detail: /43.*44/ } })
    const answer = await world.get('/invoices/7/plus-one')
    t.match(
      answer,
      { status: 200, text: '8', release: 'r44' },
      'code that does arithmetic is not gone back to',
    )
  },
)

t.test(
  'A08, A15: a rename in four steps, every switch allowed; one step back is, two are not, without a boot',
  async (t) => {
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
    t.match((await world.advice(44)).body, { verdict: 'two_way_door', breaks: [], highest_two_way: 44 })
    t.match(await made.migrate('live', 44), { status: 200 })
    t.match((await world.status()).door, { open: true, to: 'r43' })
    t.match(await world.rollback(), { status: 200, body: { live: { release: 'r43' } } })
    const boots = async () => (await world.history()).filter(({ event }) => event === 'booting').length
    const before = await boots()
    t.match(await world.rollback('r42'), {
      status: 422,
      body: { code: 'schema_ahead_of_code', evidence: 'recorded' },
    })
    t.equal(await boots(), before, 'no process of r42 was started')
    t.match(await world.get(), { release: 'r43' })
  },
)

t.test(
  'A10, B14: a migration that fails inside its transaction: nothing changed, nothing dirty, no request to live fails',
  async (t) => {
    const bad = {
      44: {
        name: 'bad',
        sql: 'ALTER TABLE invoices ADD COLUMN ok int; ALTER TABLE invoices ADD COLUMN req int NOT NULL',
      },
    }
    const made = await DatabaseWorld.create(t, 43)
    const { world } = made
    await made.sql('INSERT INTO invoices (id, total) VALUES (1, 1)')
    await made.addRelease('r43', [42, 44], filesUpTo(44, bad))
    await made.addRelease('r44', [44, 44], filesUpTo(44, bad))
    await world.start(t)
    await world.deploy('r43')
    await world.deploy('r44')
    let running = true
    const serving = (async () => {
      const answers = new Set<string>()
      while (running) {
        const { status, release } = await world.get('/invoices/1/plus-one')
        answers.add(`${status} ${release}`)
      }
      return answers
    })()
    const failed = { error: 'migration_failed', version: 44, sqlstate: '23502', partial: false }
    for (const slot of ['live', 'idle'] as const)
      t.match(await made.migrate(slot, 44), { status: 422, body: failed }, slot)
    running = false
    t.same([...(await serving)], ['200 r43'])
    t.equal(await made.version(), 43)
    t.match(await made.schemaOf('idle'), {
      body: { dirty: false, pending_migrations: ['044_bad.sql'], compatible: false },
    })
    t.match(await world.deploy('r44'), { status: 422, body: { code: 'schema_behind_code' } })
    t.match(await world.status(), { generation: 1, live: { release: 'r43' } })
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
  'A17: a release with two 003 files is refused. A18: so is one whose 003 is another than that of the database',
  async (t) => {
    const human = { 3: { name: 'human', sql: 'CREATE TABLE human ()' } }
    const agent = { 3: { name: 'agent', sql: 'CREATE TABLE agent ()' } }
    const named = (files: Files) =>
      Object.entries(files).map(([number, file]) => ({ name: fileName(Number(number), file), sql: file.sql }))
    const made = await DatabaseWorld.create(t, 2)
    const { world } = made
    await made.addRelease('r2', [2, 3], filesUpTo(3, human))
    await made.addRelease('both', [2, 3], [...named(filesUpTo(3, human)), ...named(agent)])
    await made.addRelease('other', [3, 3], filesUpTo(3, agent))
    await world.start(t)
    await world.deploy('r2')
    t.match(await world.deploy('both'), {
      status: 422,
      body: { code: 'schema_declared_incompatible', detail: /003/ },
    })
    t.match(await made.schemaOf('idle'), {
      body: { compatible: false, problems: [{ code: 'duplicate_number', version: 3 }] },
    })
    t.match(await made.migrate('idle', 3), { status: 422, body: { error: 'duplicate_number' } })
    t.equal(await made.version(), 2)

    t.match(await made.migrate('live', 3), { status: 200 })
    t.match(await world.deploy('other'), { status: 422, body: { code: 'schema_declared_incompatible' } })
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

t.test(
  'B04, B06, B08: a release with three pending migrations is promoted as it is, and migrated later',
  async (t) => {
    const made = await liveR42(t, [41, 42])
    const { world } = made
    const started = async () => readFile(`${world.folder}/live.log`, 'utf8').catch(() => '')
    await world.until(async () => (await started()) === 'r42\n', 'the live one starts its work')
    await made.addRelease('r45', [42, 45], filesUpTo(45))
    await world.stage('r45')
    await world.until(async () => (await world.status()).idle.healthy, 'the candidate is asked')
    t.equal(await started(), 'r42\n', 'the staged one has not')
    t.match(await world.promote(), { status: 200, body: { live: { release: 'r45' } } })
    await world.until(async () => (await started()) === 'r42\nr45\n', 'the new live one starts its work')
    const { body } = await made.schemaOf('live')
    t.equal(body.current_schema_version, 42, 'no switch changes a schema')
    t.equal(body.pending_migrations.length, 3)
    t.match(await made.migrate('live', 45), { status: 200 })
    t.match(await made.schemaOf('live'), { body: { compatible: true, pending_migrations: [] } })
  },
)

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
