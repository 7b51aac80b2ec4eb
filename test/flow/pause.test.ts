// Pause, resume and exclusive switches, over both doors, with real processes.
import { once } from 'node:events'
import t from 'tap'
import { request } from 'undici'
import { WebSocket } from 'ws'
import { pauseNextFlip } from '../support/pause.ts'
import { openRequest, World, withLive } from '../support/world.ts'

const held = (world: World, count: number) =>
  world.until(async () => (await world.status()).paused?.held === count, `${count} requests wait`)

const eventsOf = async (world: World, ...names: string[]) =>
  (await world.history()).filter(({ event }) => names.includes(String(event))).reverse()

/** Begins an exclusive promotion; resolves when it waits for what is open. */
async function drainingFor(world: World) {
  const promoted = world.cutOver()
  await world.until(
    async () => (await world.status()).operation?.step === 'draining',
    'it waits for what is open',
  )
  return { promoted }
}

t.test('while a service is paused its requests wait, and then they go on', async (t) => {
  const world = await withLive(t)
  const open = await openRequest(world)
  t.match(await world.pause(), {
    status: 200,
    body: {
      operation: 'pause',
      generation: 1,
      paused: { actor: 'ops', until: null, held: 0 },
      claims: { requests: 1, tunnels: 0 },
    },
  })
  const waiting = [1, 2, 3].map(() => world.get())
  await held(world, 3)
  t.equal(await open.end(), 'begun ended', 'what is open goes on')
  t.match((await world.status()).live?.claims, { requests: 0, tunnels: 0 })
  t.match(await world.resume(), { status: 200, body: { operation: 'resume', paused: null } })
  for (const answer of await Promise.all(waiting)) t.match(answer, { status: 200, release: 'r42' })
  t.equal((await world.status()).paused, null)
  t.match(await eventsOf(world, 'paused', 'resumed'), [
    { event: 'paused', actor: 'ops', generation: 1, until: null },
    { event: 'resumed', actor: 'ops', generation: 1 },
  ])
  const line = await world.until(
    async () => world.logLines.map((one) => JSON.parse(one)).find(({ held_ms: ms }) => ms > 0),
    'one that waited is in the log',
  )
  t.ok(line.upstream_ms < line.duration_ms - line.held_ms + 1, 'the app is not charged with the wait')
})

t.test('who waits too long, and who comes when too many wait, gets a 503', async (t) => {
  const world = await withLive(t, { service: ['hold: { within: 3s, requests: 2 }'] })
  await world.pause()
  const waiting = [world.get(), world.get()]
  await held(world, 2)
  t.match(await world.get(), { status: 503, retryAfter: /\d/, text: /"code":"paused"/ })
  t.equal((await world.status()).paused?.held, 2)
  for (const answer of await Promise.all(waiting)) t.match(answer, { status: 503, retryAfter: /\d/ })
  t.equal((await world.status()).paused?.held, 0)
})

t.test('a health check at the front door is answered while paused, and nothing else is', async (t) => {
  const world = await withLive(t, { service: ['hold: { requests: 0 }'] })
  t.match(await world.get('/healthz'), { status: 200, release: 'r42' }, 'by the app, as a rule')
  await world.pause()
  t.match(await world.get('/healthz?from=lb'), { status: 200, release: undefined, text: 'paused\n' })
  t.equal((await request(`${world.url}/healthz`, { method: 'HEAD' })).statusCode, 200)
  t.equal((await request(`${world.url}/healthz`, { method: 'POST' })).statusCode, 503)
  t.match(await world.get('/healthz/'), { status: 503 })
})

t.test('a pause with a time ends by itself, once', async (t) => {
  const world = await withLive(t)
  await world.pause(300)
  const answer = await world.get()
  t.match(answer, { status: 200, release: 'r42' })
  await world.until(async () => (await eventsOf(world, 'resumed')).length > 0, 'the end is written down')
  await world.resume()
  t.match(await eventsOf(world, 'resumed'), [{ actor: 'slotgate' }])
  t.equal((await eventsOf(world, 'resumed')).length, 1, 'and a resume of what goes on is not')
})

t.test('pausing again makes a pause longer, never shorter, and is written down if it does', async (t) => {
  const world = await withLive(t)
  const first = (await world.pause(60_000)).body.paused
  const shorter = (await world.pause(1_000)).body.paused
  t.same(shorter, first)
  const longer = (await world.pause(3_600_000)).body.paused
  t.equal(longer.since, first.since)
  t.ok(longer.until > first.until)
  t.match((await world.pause()).body.paused, { since: first.since, until: null })
  t.match((await world.pause(1_000)).body.paused, { until: null })
  t.equal((await eventsOf(world, 'paused')).length, 3)
  t.match((await world.resume()).body, { paused: null })
})

t.test(
  'the death of slotgate ends no pause that was asked for, but that of an exclusive switch',
  async (t) => {
    const world = await World.create(t)
    for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
    const first = await world.spawn(t)
    await world.deploy('r42')
    await world.stage('r43')
    const { since } = (await world.pause()).body.paused
    first.kill('SIGKILL')
    await first.exited
    const second = await world.spawn(t)
    t.match((await world.status()).paused, { since, actor: 'ops', until: null })
    const waiting = world.get()
    await held(world, 1)
    await world.resume()
    t.match(await waiting, { status: 200 })
    const open = await request(`${world.url}/held`)
    open.body.on('error', () => {})
    const { promoted } = await drainingFor(world)
    const answer = promoted.catch((error: unknown) => error)
    second.kill('SIGKILL')
    await second.exited
    await answer
    await world.start(t)
    t.match(await world.status(), { generation: 1, paused: null, live: { release: 'r42' } })
    t.match(await world.get(), { status: 200, release: 'r42' })
    t.match(await eventsOf(world, 'paused', 'resumed'), [
      { event: 'paused', actor: 'ops' },
      { event: 'resumed', actor: 'ops' },
      { event: 'paused', exclusive: true, actor: 'ops' },
      { event: 'resumed', exclusive: true, actor: 'slotgate', release: 'r43' },
    ])
  },
)

t.test(
  'switches of a paused service leave it paused, and who waits meets what is live at the end',
  async (t) => {
    const world = await withLive(t)
    await world.addRelease('r43', { min: 42, max: 43 })
    await world.addRelease('r44', { min: 42, max: 44 })
    await world.pause()
    const waiting = world.get()
    await held(world, 1)
    t.match(await world.deploy('r43'), { status: 200 })
    t.match(await world.rollback(), { status: 200 })
    t.match(await world.deploy('r44'), { status: 200 })
    t.match((await world.status()).paused, { held: 1 })
    await world.resume()
    t.match(await waiting, { status: 200, release: 'r44' })
  },
)

t.test('the end of slotgate turns those away who wait, at once', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  const stop = await world.start(t)
  await world.deploy('r42')
  await world.pause()
  const waiting = world.get()
  await held(world, 1)
  const stopped = stop()
  t.match(await waiting, { status: 503 })
  await stopped
})

t.test('with `hold.nothing_live` requests wait for the first promotion', async (t) => {
  const world = await World.create(t)
  world.service = ['hold: { nothing_live: on }']
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  const waiting = world.get()
  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await waiting, { status: 200, release: 'r42' })
})

t.test('an exclusive promotion lets the old code finish before the new one gets a request', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.stage('r43')
  const open = await openRequest(world)
  const { promoted } = await drainingFor(world)
  const waiting = world.get()
  await held(world, 1)
  t.match((await world.status()).paused, { actor: 'ops', until: null })
  t.equal(await open.end(), 'begun ended')
  t.match(await promoted, { status: 200, body: { generation: 2, live: { release: 'r43' } } })
  t.match(await waiting, { status: 200, release: 'r43' })
  t.equal((await world.status()).paused, null)
  t.match(await eventsOf(world, 'paused', 'flipped', 'resumed'), [
    { event: 'flipped', release: 'r42' },
    { event: 'paused', exclusive: true, release: 'r43', generation: 1 },
    { event: 'flipped', exclusive: true, release: 'r43', generation: 2 },
    { event: 'resumed', exclusive: true, release: 'r43', generation: 2 },
  ])
})

t.test('an exclusive promotion is undone if what is open does not end in time; tunnels count', async (t) => {
  const world = await withLive(t, { service: ['drain: { within: 300ms, tunnels_within: 60s }'] })
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.stage('r43')
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/`)
  await once(socket, 'open')
  const open = await request(`${world.url}/slow?ms=60000`)
  open.body.on('error', () => {})
  t.match(await world.cutOver(), {
    status: 409,
    body: { code: 'exclusive_drain_timeout', requests: 1, tunnels: 1, within_ms: 300, release: 'r43' },
  })
  t.match(await world.get(), { status: 200, release: 'r42' })
  t.match(await world.status(), { generation: 1, paused: null, idle: { release: 'r43', healthy: true } })
  open.body.destroy()
  t.match(await world.cutOver(), { status: 409, body: { requests: 0, tunnels: 1 } })
  socket.close()
  await once(socket, 'close')
  t.match(await world.cutOver(), { status: 200, body: { generation: 2, live: { release: 'r43' } } })
})

t.test('nobody waits for an exclusive promotion that the gate refuses', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r44', { min: 43, max: 44 })
  await world.stage('r44')
  t.match(await world.cutOver(), { status: 422, body: { code: 'schema_behind_code' } })
  t.same(await eventsOf(world, 'paused', 'resumed'), [])
})

t.test('the gate is asked again after the wait, since a migration may have run in it', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.stage('r43')
  const open = await openRequest(world)
  const { promoted } = await drainingFor(world)
  await world.migrate(43)
  await open.end()
  t.match(await promoted, { status: 422, body: { code: 'schema_ahead_of_code' } })
  t.match(await world.status(), { generation: 1, paused: null })
  t.match(await world.get(), { status: 200, release: 'r42' })
})

t.test('exclusive is also a rollback, a deploy, and the first promotion', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 41, max: 43 })
  await world.start(t)
  const act = (action: string, body: object) =>
    world.call('POST', `/v1/services/invoices/${action}`, { ...body, exclusive: true })
  t.match(await act('deploy', { release: 'r42' }), { status: 200, body: { generation: 1 } })
  t.match(await act('deploy', { release: 'r43' }), { status: 200, body: { generation: 2 } })
  t.match(await act('rollback', {}), { status: 200, body: { generation: 3, live: { release: 'r42' } } })
  t.equal((await eventsOf(world, 'flipped')).filter(({ exclusive }) => exclusive === true).length, 3)
  t.match(await world.get(), { status: 200, release: 'r42' })
})

t.test(
  'a pause that somebody asked for outlives an exclusive switch, and its end does not cut that one short',
  async (t) => {
    const world = await withLive(t)
    await world.addRelease('r43', { min: 42, max: 43 })
    await world.stage('r43')
    const open = await openRequest(world)
    const { promoted } = await drainingFor(world)
    await world.pause()
    t.match((await world.resume()).body, { paused: { actor: 'ops' } }, 'the switch still holds requests')
    const waiting = world.get()
    await held(world, 1)
    await world.pause()
    await open.end()
    t.match(await promoted, { status: 200, body: { generation: 2 } })
    t.match((await world.status()).paused, { until: null, held: 1 })
    await world.resume()
    t.match(await waiting, { status: 200, release: 'r43' })
  },
)

t.test('where a migration overtakes an exclusive switch, the new code never answers anybody', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 42 })
  await world.stage('r43')
  const flip = await pauseNextFlip(t)
  const promoted = world.cutOver()
  await flip.reached
  const waiting = world.get()
  await held(world, 1)
  await world.migrate(43)
  flip.resume()
  t.match(await promoted, { status: 422, body: { code: 'schema_changed_during_switch', flipped_back: true } })
  t.match(await waiting, { status: 200, release: 'r42' })
  t.match(await world.status(), { generation: 3, paused: null, live: { release: 'r42' } })
})

t.test('the end of slotgate ends the wait of an exclusive switch', async (t) => {
  const world = await World.create(t)
  world.service = ['drain: { within: 20s, tunnels_within: 20s }']
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const stop = await world.start(t)
  await world.deploy('r42')
  await world.stage('r43')
  const open = await openRequest(world)
  const { promoted } = await drainingFor(world)
  const waiting = world.get()
  await held(world, 1)
  const stopped = stop()
  t.match(await promoted, { status: 503, body: { code: 'shutting_down' } })
  t.match((await waiting).status, /200|503/)
  t.equal(await open.end(), 'begun ended')
  await stopped
  await world.start(t)
  t.match(await eventsOf(world, 'paused', 'resumed'), [
    { exclusive: true },
    { exclusive: true, actor: 'ops' },
  ])
  t.match(await world.status(), { generation: 1, paused: null })
})

interface Span {
  release: string
  began: number
  ended: number
}

/** How many pairs of answers of different releases were being made at the same time. */
const overlaps = (spans: readonly Span[]): number =>
  spans.reduce(
    (sum, one) =>
      sum +
      spans.filter(
        (other) => other.release > one.release && other.began <= one.ended && one.began <= other.ended,
      ).length,
    0,
  )

t.test(
  'under load over several threads, old and new code never answer at once, and nobody is refused',
  async (t) => {
    const world = await World.create(t)
    world.settings = ['threads: 2']
    for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
    await world.start(t)
    await world.deploy('r42')
    await world.deploy('r43')
    const spansOf = async (exclusive: boolean): Promise<Span[]> => {
      const spans: Span[] = []
      const asking = { on: true }
      const ask = async (nth: number) => {
        while (asking.on) {
          const { statusCode, body } = await request(`${world.url}/span?ms=${5 + 10 * nth}`, {
            reset: nth % 2 === 0,
          })
          const text = await body.text()
          if (statusCode !== 200) t.fail(`${statusCode} ${text}`)
          spans.push(JSON.parse(text))
        }
      }
      const load = Array.from({ length: 10 }, (_, nth) => ask(nth))
      for (let flip = 0; flip < 6; flip++) {
        const action = flip % 2 === 0 ? 'rollback' : 'promote'
        const { status } = await world.call('POST', `/v1/services/invoices/${action}`, { exclusive })
        t.equal(status, 200)
      }
      asking.on = false
      await Promise.all(load)
      return spans
    }
    // So that this test can see them: on a busy machine it may take more than one round.
    let seen = 0
    for (let round = 0; seen === 0 && round < 8; round++) seen = overlaps(await spansOf(false))
    t.ok(seen > 0, `${seen} overlaps in plain switches`)
    const alone = await spansOf(true)
    t.equal(overlaps(alone), 0, `none in ${alone.length} answers around exclusive ones`)
    t.same([...new Set(alone.map(({ release }) => release))].toSorted(), ['r42', 'r43'])
  },
)
