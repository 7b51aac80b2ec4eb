// The bake: a promoted release on trial, over the two doors of a real slotgate.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { World } from '../support/world.ts'

const DAY = 'bake: { for: 24h, max_error_ratio: 0.1, min_requests: 20 }'
/** Time enough for twenty requests on a busy machine. */
const SHORT = 'bake: { for: 4s, max_error_ratio: 0.1, min_requests: 20 }'

interface On {
  world: World
  restart(): Promise<void>
}

/** r42 was live and answered this; r43 is on trial since. */
async function onTrial(t: Test, bake: string, before: { answered: number; failed?: number }): Promise<On> {
  const world = await World.create(t)
  world.service = [bake]
  await world.addRelease('r42', { min: 41, max: 42 })
  await world.addRelease('r43', { min: 42, max: 43 })
  let stop = await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  t.equal((await world.status()).bake, null, 'a first release has nothing to go back to')
  await ask(world, 200, before.answered)
  await ask(world, 500, before.failed ?? 0)
  t.match(await world.deploy('r43'), { status: 200 })
  const restart = async () => {
    await stop()
    stop = await world.start(t)
    await world.until(async () => (await world.get()).status === 200, 'live is up again')
  }
  return { world, restart }
}

/** So many requests that the live release answers with this status. */
async function ask(world: World, status: number, times: number): Promise<void> {
  for (let count = 0; count < times; count++) await world.get(`/answer?status=${status}`)
}

const events = async (world: World, event: string) =>
  (await world.history()).filter((record) => record.event === event)

/** Looks into the file while it waits, which takes less than a call. */
const saidOnce = (world: World, event: string) =>
  world.until(async () => {
    const journal = await readFile(join(world.stateDir, 'journal.jsonl'), 'utf8')
    return journal.includes(`"event":"${event}"`) && (await events(world, event))[0]
  }, `${event} is in the journal`)

const isBack = (world: World) =>
  world.until(async () => (await world.get()).release === 'r42', 'traffic is back on r42')

t.test('too many failures of the new release: one rollback by itself, through the gate', async (t) => {
  const { world } = await onTrial(t, DAY, { answered: 20 })
  t.match((await world.status()).bake, {
    release: 'r43',
    until: String,
    requests: 0,
    failed: 0,
    former: { release: 'r42', requests: 20, failed: 0 },
    max_error_ratio: 0.1,
    min_requests: 20,
  })
  await ask(world, 500, 19)
  t.match(await world.status(), { generation: 2, bake: { requests: 19, failed: 19 } }, 'too few to tell')
  await ask(world, 200, 1)
  await isBack(world)
  const [failed] = await events(world, 'bake_failed')
  t.match(failed, {
    actor: 'slotgate',
    generation: 2,
    release: 'r43',
    failed: 19,
    requests: Number,
    percent: / %$/,
  })
  t.match((await events(world, 'flipped'))[0], {
    operation: 'rollback',
    actor: 'slotgate',
    code: 'bake_failed',
    generation: 3,
    release: 'r42',
    evidence: { kind: 'probed' },
  })
  await ask(world, 500, 20)
  t.match(await world.status(), { generation: 3, live: { release: 'r42' }, bake: null, operation: null })
})

t.test('a release that dies under its requests fails its bake', async (t) => {
  const { world } = await onTrial(t, DAY, { answered: 20 })
  const open = Promise.all(Array.from({ length: 19 }, () => world.get('/span?ms=600000')))
  // Where it rejects before it is awaited, the test says what it waited for instead.
  open.catch(() => {})
  await world.until(async () => (await world.status()).live?.claims.requests === 19, 'they are open')
  t.match(await world.get('/die'), { status: 502 })
  for (const answer of await open) t.match(answer, { status: 502 })
  await isBack(world)
  t.match((await events(world, 'bake_failed'))[0], { release: 'r43' })
})

t.test('what the clients get wrong does not count as failed', async (t) => {
  const { world } = await onTrial(t, SHORT, { answered: 20 })
  await ask(world, 404, 20)
  t.match(await saidOnce(world, 'bake_passed'), { release: 'r43', requests: 20, failed: 0, percent: '0 %' })
  t.match(await world.status(), { generation: 2, bake: null })
})

t.test('too few requests to tell: the bake passes at its end', async (t) => {
  const { world } = await onTrial(t, SHORT, { answered: 20 })
  await ask(world, 500, 19)
  t.match(await saidOnce(world, 'bake_passed'), { requests: 19, failed: 19 })
  t.match(await world.status(), { generation: 2, live: { release: 'r43' } })
})

t.test('a release that is no worse than the former one stays, however bad both are', async (t) => {
  const { world } = await onTrial(t, SHORT, { answered: 10, failed: 10 })
  await ask(world, 500, 20)
  t.match(await saidOnce(world, 'bake_passed'), { requests: 20, failed: 20, former_failed: 10 })
  t.match(await world.status(), { generation: 2, live: { release: 'r43' } })
})

t.test('a former release that answered too little is nothing to compare with', async (t) => {
  const { world } = await onTrial(t, DAY, { answered: 0, failed: 5 })
  await ask(world, 500, 20)
  await isBack(world)
  t.match((await events(world, 'bake_failed'))[0], { former_requests: 5, former_failed: 5 })
})

t.test('a rollback that the gate refuses is an alarm, and is not tried again', async (t) => {
  const { world } = await onTrial(t, DAY, { answered: 20 })
  await world.migrate(43)
  await ask(world, 500, 20)
  const alarm = await saidOnce(world, 'alarm')
  t.match(alarm, {
    code: 'bake_not_undone',
    release: 'r43',
    cause: 'schema_ahead_of_code',
    sentence: /traffic stays on it: Release r42 works with schema 41 to 42; the database is already at 43/,
  })
  await ask(world, 500, 20)
  t.match(await world.status(), { generation: 2, live: { release: 'r43' }, bake: null })
  t.equal((await events(world, 'refused')).length, 1)
})

t.test('a bake ends with the switch of somebody else', async (t) => {
  const { world } = await onTrial(t, DAY, { answered: 20 })
  await ask(world, 500, 10)
  t.match(await world.rollback(), { status: 200 })
  await ask(world, 500, 20)
  t.match(await world.status(), { generation: 3, live: { release: 'r42' }, bake: null })
  t.same(await events(world, 'bake_failed'), [])
})

t.test('after a restart the bake goes on to its end, with the counts of the former release', async (t) => {
  const { world, restart } = await onTrial(t, DAY, { answered: 25, failed: 1 })
  await ask(world, 500, 10)
  const before = (await world.status()).bake
  t.match(before, { requests: 10, failed: 10 })
  await restart()
  const after = (await world.status()).bake
  t.match(after, { until: before?.until, failed: 0, former: { release: 'r42', requests: 26, failed: 1 } })
  await ask(world, 500, 20)
  await isBack(world)
  t.match((await events(world, 'flipped'))[0], { code: 'bake_failed', generation: 3 })
})

t.test('a service without `bake` goes back by nobody', async (t) => {
  // The watch is the clock here: it looks as often as a bake would.
  const { world } = await onTrial(t, 'schema: { interval: 500ms }', { answered: 20 })
  await ask(world, 500, 20)
  const looks = async () =>
    (await world.internalLog()).filter((line) => /^r43 .*status live$/.test(line)).length
  const before = await looks()
  await world.until(async () => (await looks()) >= before + 4, 'a bake would have looked')
  t.match(await world.status(), { generation: 2, live: { release: 'r43' }, bake: null })
  t.notOk((await events(world, 'flipped'))[0]?.bake)
})
