// A migration that runs between the last look and the flip, or in the seconds after it.
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { DatabaseWorld, filesUpTo } from '../support/database-world.ts'
import { pauseNextFlip } from '../support/pause.ts'
import { withLive } from '../support/world.ts'

t.test(
  'D01: 43 commits after the check, and the target knows it: the switch stands. D02: 44 does, and it ends at 43: traffic is back',
  async (t) => {
    const made = await DatabaseWorld.create(t, 42)
    const { world } = made
    await made.addRelease('r42', [42, 43], filesUpTo(43))
    await made.addRelease('r43', [42, 43], filesUpTo(43))
    await made.addRelease('r44', [43, 44], filesUpTo(44))
    await world.start(t)
    await world.deploy('r42')
    const flip = await pauseNextFlip(t)
    const deploying = world.deploy('r43')
    await flip.reached
    t.match(await made.migrate('live', 43), { status: 200 })
    flip.resume()
    t.match(await deploying, {
      status: 200,
      body: { live: { release: 'r43' }, schema_before: 42, schema_after: 43 },
    })
    t.match(await world.status(), { generation: 2, live: { release: 'r43', schema: { compatible: true } } })

    t.match(await world.deploy('r44'), { status: 200 })
    const flipBack = await pauseNextFlip(t)
    const rollingBack = world.rollback()
    await flipBack.reached
    t.match(await made.migrate('live', 44), { status: 200 })
    flipBack.resume()
    t.match(await rollingBack, {
      status: 422,
      body: {
        code: 'schema_changed_during_switch',
        flipped_back: true,
        generation: 5,
        detail:
          'The schema moved from 43 to 44 during the switch; release r43 does not work with 44; traffic is back on r44.',
      },
    })
    t.match(await world.get(), { release: 'r44' })
    t.match(await world.status(), { generation: 5, live: { release: 'r44' }, operation: null })
    const [back, flipped] = (await world.history()).filter(({ event }) => event === 'flipped')
    t.match(flipped, { generation: 4, release: 'r43', operation: 'rollback', actor: 'ops' })
    t.match(back, { generation: 5, release: 'r44', actor: 'slotgate', code: 'schema_changed_during_switch' })
  },
)

t.test(
  'neither release fits what was committed after the check: the switch stands, with an alarm',
  async (t) => {
    const world = await withLive(t)
    await world.addRelease('r43', { min: 42, max: 42 })
    const flip = await pauseNextFlip(t)
    const deploying = world.deploy('r43')
    await flip.reached
    await world.migrate(50)
    flip.resume()
    t.match(await deploying, { status: 200, body: { generation: 2, schema_before: 42, schema_after: 50 } })
    const alarms = (await world.history()).filter(({ event }) => event === 'alarm')
    t.match(alarms, [{ code: 'no_release_fits', release: 'r43', previous_release: 'r42', after: 50 }])
  },
)

t.test('a way back that the disk refuses at first is taken at a later look, once', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 42 })
  const flip = await pauseNextFlip(t)
  const deploying = world.deploy('r43')
  await flip.reached
  await world.migrate(43)
  const journal = join(world.stateDir, 'journal.jsonl')
  await rename(journal, `${journal}.away`)
  flip.resume()
  t.match(await deploying, { status: 200, body: { generation: 2, schema_after: 43 } })
  await rename(`${journal}.away`, journal)
  const isBack = async () => (await world.status()).live?.release === 'r42'
  await world.until(isBack, 'the way back')
  t.equal((await world.status()).generation, 3)
})

t.test('a migration that still runs after the flip is no reason to go back', async (t) => {
  // The watch is the clock here: by its last look all that could come of the looks after 1 and 5 s has come.
  const world = await withLive(t, { service: ['schema: { interval: 500ms }'] })
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await world.migrate(43, { migration_running: true })
  const looks = async () =>
    (await world.internalLog()).filter((line) => /^r43 .*status live$/.test(line)).length
  const before = await looks()
  await world.until(async () => (await looks()) >= before + 16, 'it was looked at long enough')
  t.match(await world.status(), { generation: 2, live: { release: 'r43' } })
  t.same(
    (await world.history()).filter(({ event }) => event === 'alarm'),
    [],
  )
})

t.test(
  'a migration between the look and the flip that breaks only the new release flips back once, by itself',
  async (t) => {
    const world = await withLive(t)
    await world.addRelease('r43', { min: 42, max: 42 })
    await world.deploy('r43')
    await world.migrate(43)
    await world.until(async () => (await world.get()).release === 'r42', 'traffic is back')
    const status = await world.status()
    t.equal(status.generation, 3)
    const alarms = (await world.history()).filter(({ event }) => event === 'alarm')
    t.match(alarms, [{ code: 'schema_changed_during_switch', before: 42, after: 43 }])
  },
)

t.test('if neither release fits after the flip, traffic stays and an alarm is raised', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.deploy('r43')
  await world.migrate(50)
  await world.until(
    async () =>
      (await world.history()).some(({ event, code }) => event === 'alarm' && code === 'no_release_fits'),
    'the alarm is raised',
  )
  t.match(await world.get(), { release: 'r43' })
  t.equal((await world.status()).generation, 2)
})

t.test('a release that was only staged is never flipped to, whoever sits in the former slot', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.addRelease('r99', { min: 42, max: 50 })
  await world.deploy('r43')
  // Before the last look, however long the stage takes: whoever finds r43 unfit waits for its end.
  const staging = world.stage('r99')
  await world.until(async () => {
    const { operation, idle } = await world.status()
    return operation?.operation === 'stage' || idle.release === 'r99'
  }, 'a stage is under way')
  await world.migrate(43)
  t.match(await staging, { status: 200 })
  await world.until(
    async () =>
      (await world.history()).some(({ event, code }) => event === 'alarm' && code === 'former_release_gone'),
    'the alarm is raised',
  )
  t.match(await world.status(), { generation: 2, live: { release: 'r43' } })
})

t.test('of a former release that was stopped, the alarm does not say that it does not fit', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.deploy('r43')
  await world.until(async () => (await world.status()).idle.state === 'stopped', 'r42 is stopped')
  await world.migrate(43)
  const alarms = async () => (await world.history()).filter(({ event }) => event === 'alarm')
  await world.until(async () => (await alarms()).length > 0, 'the alarm is raised')
  t.match(await alarms(), [{ code: 'former_release_gone', release: 'r43', previous_release: 'r42' }])
})

t.test('an operation that is under way delays the way back, and does not prevent it', async (t) => {
  const world = await withLive(t, { health: '{ interval: 100ms, within: 5s }' })
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.addRelease('slow', { min: 42, max: 50, unhealthy: true })
  await world.deploy('r43')
  const staging = world.stage('slow')
  await world.until(
    async () => (await world.status()).operation?.operation === 'stage',
    'a stage is under way',
  )
  await world.migrate(43)
  await world.until(async () => (await world.get()).release === 'r42', 'traffic is back')
  t.match(await staging, { status: 424 })
  t.match(await world.status(), { generation: 3 })
})
