// The seconds after a flip: a migration that runs just then.
import t from 'tap'
import { withLive } from '../support/world.ts'

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
  t.match(await world.stage('r99'), { status: 200 })
  await world.migrate(43)
  await world.until(
    async () =>
      (await world.history()).some(({ event, code }) => event === 'alarm' && code === 'no_release_fits'),
    'the alarm is raised',
  )
  t.match(await world.status(), { generation: 2, live: { release: 'r43' } })
})

t.test('an operation that is under way delays the way back, and does not prevent it', async (t) => {
  const world = await withLive(t)
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
