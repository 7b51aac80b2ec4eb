// The watch: what it says of a schema that moves under running code, once for each change; and that it never switches.
import t, { type Test } from 'tap'
import { World } from '../support/world.ts'

const OFTEN = 'schema: { interval: 20ms }'
const WATCHED = /^(schema_version_|schema_live_|rollback_door_)/

/** What the watch has said so far, oldest first. */
async function said(world: World): Promise<string[]> {
  const records = await world.history()
  return records
    .map(({ event }) => String(event))
    .filter((event) => WATCHED.test(event))
    .reverse()
}

/** The last thing of this name that it said. */
async function last(world: World, event: string) {
  return (await world.history()).find((record) => record.event === event)
}

/** Waits until the watch has looked at what there is now, twice, from its first question to its last word. */
async function lookTwice(world: World): Promise<void> {
  const looks = async () =>
    (await world.internalLog()).filter((line) => line.endsWith('GET /schema/status live')).length
  const before = await looks()
  // The third one begins when the second one is over; one more may be of the seconds after a flip.
  await world.until(async () => (await looks()) >= before + 4, 'the watch looks')
}

/** r43 (42 to 44) live at 43, and r42 (41 to 43) before it, both running: the door is open. */
async function withDoorOpen(t: Test): Promise<{ world: World; restart: () => Promise<void> }> {
  const world = await World.create(t, 43)
  world.service = [OFTEN]
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 42, max: 44 })
  let stop = await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  await lookTwice(world)
  t.same(await said(world), [], 'a first release is no change')
  t.match(await world.deploy('r43'), { status: 200 })
  await lookTwice(world)
  t.same(await said(world), ['rollback_door_opened'])
  t.match(await last(world, 'rollback_door_opened'), { to: 'r42', current: 43, generation: 2 })
  const restart = async () => {
    await stop()
    stop = await world.start(t)
    await world.until(async () => (await world.get()).status === 200, 'live is up again')
  }
  return { world, restart }
}

t.test('D09: live becomes incompatible later: one event, and it goes on serving', async (t) => {
  const world = await World.create(t, 43)
  world.service = [OFTEN]
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.start(t)
  t.match(await world.deploy('r43'), { status: 200 })
  for (const version of [44, 45]) {
    await world.migrate(version)
    await lookTwice(world)
  }
  t.same(await said(world), ['schema_version_changed', 'schema_live_incompatible', 'schema_version_changed'])
  t.match(await last(world, 'schema_live_incompatible'), {
    service: 'invoices',
    actor: 'slotgate',
    generation: 1,
    release: 'r43',
    current: 44,
    cause: 'schema_ahead_of_code',
    sentence: /r43 works with schema 42 to 43; the database is already at 44/,
  })
  t.match(await world.status(), {
    generation: 1,
    live: { release: 'r43', healthy: true, schema: { compatible: false } },
  })
  t.match(await world.get(), { status: 200, release: 'r43' })
})

t.test(
  'D10: the door closes when 44 commits, and says why; a schema that goes back opens it again',
  async (t) => {
    const { world } = await withDoorOpen(t)
    await world.migrate(44)
    await lookTwice(world)
    t.match((await world.status()).door, { open: false, to: 'r42', code: 'schema_ahead_of_code' })
    t.match(await last(world, 'rollback_door_closed'), {
      to: 'r42',
      current: 44,
      cause: 'schema_ahead_of_code',
      sentence: /r42 works with schema 41 to 43; the database is at 44/,
    })
    await world.migrate(43)
    await lookTwice(world)
    t.same((await said(world)).slice(1), [
      'schema_version_changed',
      'rollback_door_closed',
      'schema_version_regressed',
      'rollback_door_opened',
    ])
    t.match(await last(world, 'schema_version_changed'), { before: 43, after: 44, release: 'r43' })
    t.match(await last(world, 'schema_version_regressed'), { before: 44, after: 43, release: 'r43' })
  },
)

t.test(
  'a live release that does not fit is said once, also in the log, and once more when it fits again',
  async (t) => {
    const { world } = await withDoorOpen(t)
    await world.migrate(45)
    await lookTwice(world)
    const logged = world.logLines.map((line) => JSON.parse(line)).filter(({ code }) => WATCHED.test(code))
    t.equal(logged.length, 4, 'each once')
    t.match(logged, [
      { level: 'info', code: 'rollback_door_opened' },
      {
        level: 'info',
        code: 'schema_version_changed',
        msg: 'The schema moved from 43 to 45 while r43 is live.',
      },
      { level: 'error', code: 'schema_live_incompatible', release: 'r43' },
      { level: 'warn', code: 'rollback_door_closed', to: 'r42' },
    ])
    for (const version of [46, 44]) {
      await world.migrate(version)
      await lookTwice(world)
    }
    t.same((await said(world)).slice(1), [
      'schema_version_changed',
      'schema_live_incompatible',
      'rollback_door_closed',
      'schema_version_changed',
      'schema_version_regressed',
      'schema_live_compatible',
    ])
  },
)

t.test('what commits between the questions of one look closes no door at the former version', async (t) => {
  const { world } = await withDoorOpen(t)
  await world.letSeeOnce('r42', 44)
  await lookTwice(world)
  t.same(await said(world), ['rollback_door_opened'])
  await world.migrate(44)
  await lookTwice(world)
  t.same((await said(world)).slice(1), ['schema_version_changed', 'rollback_door_closed'])
  t.match(await last(world, 'rollback_door_closed'), { current: 44 })
})

t.test('a migration applied in part closes the door too: the former release says so itself', async (t) => {
  const { world } = await withDoorOpen(t)
  await world.migrate(43, { dirty: true, compatible: false })
  await lookTwice(world)
  // In any order: the version is the same, so one of the two may have seen the rest of it a look before the other.
  t.same((await said(world)).slice(1).toSorted(), ['rollback_door_closed', 'schema_live_incompatible'])
  t.match(await last(world, 'rollback_door_closed'), { to: 'r42', cause: 'schema_dirty' })
  t.match((await world.status()).door, { open: false, code: 'schema_dirty', evidence: 'probed' })
})

t.test('one before the former release, staged anew, says itself that it does not fit', async (t) => {
  const world = await World.create(t, 43)
  world.service = [OFTEN]
  await world.addRelease('r41', { min: 40, max: 44 })
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 42, max: 44 })
  await world.start(t)
  for (const release of ['r41', 'r42', 'r43']) t.match(await world.deploy(release), { status: 200 })
  await world.migrate(44)
  await lookTwice(world)
  t.match((await world.status()).door, { open: true, to: 'r41', evidence: 'recorded' })
  await world.addRelease('r41', { min: 40, max: 44, status: { compatible: false } })
  t.match(await world.stage('r41'), { status: 200 })
  await lookTwice(world)
  const closed = { open: false, to: 'r41', code: 'schema_declared_incompatible', evidence: 'probed' }
  t.match((await world.status()).door, closed)
  t.match(
    await last(world, 'rollback_door_closed'),
    { to: 'r41', cause: closed.code },
    'and so does the watch',
  )
})

t.test(
  'a live release that cannot be read is no change, nor is one whose migration still runs',
  async (t) => {
    const { world } = await withDoorOpen(t)
    await world.migrate(44, { compatible: 'perhaps' })
    await lookTwice(world)
    await world.migrate(44, { migration_running: true })
    await lookTwice(world)
    t.same(await said(world), ['rollback_door_opened'])
  },
)

t.test('after a restart nothing is said twice, and what happened meanwhile is said', async (t) => {
  const { world, restart } = await withDoorOpen(t)
  await world.migrate(45)
  await lookTwice(world)
  const before = await said(world)
  t.equal(before.length, 4)
  await restart()
  await lookTwice(world)
  t.same(await said(world), before)
  await world.migrate(44)
  await restart()
  await lookTwice(world)
  t.same((await said(world)).slice(4), ['schema_version_regressed', 'schema_live_compatible'])
})

t.test('a release that no longer fits keeps its traffic, although the former one fits', async (t) => {
  const { world, restart } = await withDoorOpen(t)
  // The seconds after the flip are over with a restart; from then on only the watch looks.
  await restart()
  await world.migrate(41)
  await lookTwice(world)
  t.ok((await said(world)).includes('schema_live_incompatible'))
  t.match(await world.status(), { generation: 2, live: { release: 'r43' }, door: { open: true, to: 'r42' } })
  t.match(await world.get(), { status: 200, release: 'r43' })
})
