// What an operator may rely on while a release that lost its place still answers.
import { once } from 'node:events'
import t from 'tap'
import { request } from 'undici'
import { WebSocket } from 'ws'
import { isRunning, World, withLive } from '../support/world.ts'

t.test('with `previous: stop` the former release is stopped after its last answer, not before', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  const { live } = await world.status()
  const held = await request(`${world.url}/held`)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  t.match((await world.status()).draining, [{ release: 'r42', claims: { requests: 1 } }])
  await world.letGo()
  t.equal(await held.body.text(), 'begun\nended\n')
  await world.until(async () => !(await isRunning(live?.pid ?? 0)), 'the former release ends')
  t.match((await world.status()).draining, [])
})

t.test('a rollback during the drain works, and what was open goes on', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  const before = await world.status()
  const held = await request(`${world.url}/held`)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  t.match(await world.rollback(), { status: 200, body: { live: { release: 'r42' } } })
  await world.letGo()
  t.equal(await held.body.text(), 'begun\nended\n')
  t.match(await world.get(), { release: 'r42' })
  t.equal((await world.status()).live?.pid, before.live?.pid, 'the very process that never went away')
})

t.test('what is still open at the limits is cut, and the journal says how much', async (t) => {
  const world = await withLive(t, { service: ['drain: { within: 300ms, tunnels_within: 600ms }'] })
  const slow = await request(`${world.url}/slow?ms=60000`)
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/`)
  await once(socket, 'open')
  const closed = once(socket, 'close')
  const cut = t.rejects(slow.body.text(), 'the slow answer is broken off, not ended')
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await cut
  await closed
  const drained = await world.until(
    async () =>
      (await world.history()).find(({ event, release }) => event === 'drained' && release === 'r42'),
    'the drain ends',
  )
  t.match(drained, { cut: { requests: 1, tunnels: 1 } })
  t.match(await world.get(), { release: 'r43' })
})

t.test(
  'the drain of a release that lost its place is written down once, also when its slot is given away',
  async (t) => {
    const world = await withLive(t)
    for (const release of ['r43', 'r44']) {
      await world.addRelease(release, { min: 42, max: 44 })
      await world.deploy(release)
    }
    await world.until(async () => (await world.status()).draining.length === 0, 'nothing drains')
    const { pid } = (await world.status()).idle
    await world.addRelease('r45', { min: 42, max: 45 })
    await world.stage('r45')
    await world.until(async () => !(await isRunning(pid ?? 0)), 'the release before has ended')
    const drained = (await world.history()).filter(({ event }) => event === 'drained')
    t.strictSame(drained.map(({ release }) => release).sort(), ['r42', 'r43'])
  },
)

t.test('a request that becomes a stream after the flip has the time of a tunnel', async (t) => {
  const world = await withLive(t, {
    service: ['previous: stop', 'drain: { within: 4s, tunnels_within: 30s }'],
  })
  const late = request(`${world.url}/held-sse`)
  await world.until(async () => (await world.status()).live?.claims.requests === 1, 'it is under way')
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await world.letGo()
  const stream = await late
  let events = 0
  for await (const _ of stream.body) if (++events === 250) break
  t.equal(events, 250, 'it goes on well beyond the time of a request')
})

t.test('on SIGTERM also a release that has lost its slot finishes what it answers', async (t) => {
  const world = await World.create(t)
  for (const release of ['r42', 'r43', 'r44']) await world.addRelease(release, { min: 41, max: 44 })
  const served = await world.spawn(t)
  await world.deploy('r42')
  const held = await request(`${world.url}/held`)
  await world.deploy('r43')
  await world.stage('r44')
  served.kill('SIGTERM')
  const isClosed = () =>
    world.get().then(
      () => false,
      () => true,
    )
  await world.until(isClosed, 'it is stopping')
  await world.letGo()
  t.equal(await held.body.text(), 'begun\nended\n')
  t.equal(await served.exited, 0)
})

t.test('more switches than there are counters, with a connection open from the first one on', async (t) => {
  const world = await withLive(t, { service: ['schema: off', 'drain: { within: 60s, tunnels_within: 60s }'] })
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.stage('r43')
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/`)
  await once(socket, 'open')
  const closed = once(socket, 'close')
  for (let flip = 0; flip < 66; flip++) {
    const { status, body } = await world.promote()
    if (status !== 200) return t.fail(JSON.stringify(body))
  }
  await closed
  t.pass('it was ended when its counter was needed')
  t.match(await world.status(), { generation: 67, live: { claims: { requests: 0, tunnels: 0 } } })
})
