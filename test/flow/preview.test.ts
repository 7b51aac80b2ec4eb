// Previews: who may sees what is in the idle slot, and nobody else does, with real processes.
import { once } from 'node:events'
import t from 'tap'
import { request } from 'undici'
import { WebSocket } from 'ws'
import { cookieFrom, end, HOST, open, PREVIEW, see, withStaged } from '../support/previews.ts'
import { openRequest, World } from '../support/world.ts'

t.test(
  'the host of a preview, and a pass, lead to the idle slot, and all else to the live one',
  async (t) => {
    const world = await withStaged(t)
    const ways = [{ host: HOST }, { host: `${HOST.toUpperCase()}:8080` }, await cookieFrom(world)]
    for (const how of ways) {
      const seen = await see(world, how)
      t.match(seen, { status: 200, release: 'r43' })
      t.match(seen.headers, { 'slotgate-preview': 'r43', 'cache-control': 'no-store' })
    }
    const { status, release, headers } = await see(world)
    t.match({ status, release }, { status: 200, release: 'r42' })
    t.notOk('slotgate-preview' in headers)
    t.match((await see(world, { host: 'other.localhost' })).release, 'r42')
    t.match((await see(world, { cookie: 'slotgate-preview-invoices=1.2' })).release, 'r42')
    t.equal((await world.status()).idle.previews.requests, 0)
  },
)

t.test('where nothing is staged a preview says so, and never shows what is live', async (t) => {
  const world = await World.create(t)
  world.service = PREVIEW
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  await world.start(t)
  const nothing = { status: 503, release: undefined, text: /"code":"nothing_to_preview"/ }
  t.match(await see(world, { host: HOST }), nothing)
  await world.stage('r42')
  t.match(await see(world, { host: HOST }), { status: 200, release: 'r42' }, 'before anything is live, too')
  t.match(await see(world), { status: 503, text: /nothing_live/ })
  await world.promote()
  for (const how of [{ host: HOST }, await cookieFrom(world)]) t.match(await see(world, how), nothing)
  t.match((await see(world, { host: HOST })).headers, { 'retry-after': /\d/ })
  await world.stage('r43')
  t.match(await see(world, { host: HOST }), { status: 200, release: 'r43' })
  await see(world, { host: HOST }, '/die').catch(() => {})
  await world.until(async () => (await world.status()).idle.state === 'exited', 'r43 has ended')
  t.match(await see(world, { host: HOST }), nothing)
  t.match(await see(world), { status: 200, release: 'r42' })
})

t.test('a preview follows the idle slot over every change of it', async (t) => {
  const world = await withStaged(t)
  const pair = async () => [(await see(world)).release, (await see(world, { host: HOST })).release]
  t.same(await pair(), ['r42', 'r43'])
  await world.promote()
  t.same(await pair(), ['r43', 'r42'])
  await world.rollback()
  t.same(await pair(), ['r42', 'r43'])
  await world.stage('r44')
  t.same(await pair(), ['r42', 'r44'])
  await world.promote()
  t.same(await pair(), ['r44', 'r42'])
  t.match(await world.rollback('r43'), { status: 200 }, 'by a rehearsal, which nobody saw')
  t.same(await pair(), ['r43', 'r44'])
})

t.test('while switches follow one another, each request is of the side that it asked for', async (t) => {
  const world = await withStaged(t)
  let over = false
  const seen: string[] = []
  const watch = async (how: object, isPreview: boolean) => {
    while (!over) {
      const { status, release, headers } = await see(world, how)
      if (status !== 200 || 'slotgate-preview' in headers !== isPreview) seen.push(`${status} ${release}`)
      if (isPreview && headers['slotgate-preview'] !== release) seen.push(`${release} is said to be another`)
    }
  }
  const clients = [watch({}, false), watch({ host: HOST }, true), watch(await cookieFrom(world), true)]
  for (let round = 0; round < 4; round++) {
    t.match(await world.promote(), { status: 200 })
    t.match(await world.stage(round % 2 === 0 ? 'r44' : 'r43'), { status: 200 })
  }
  over = true
  await Promise.all(clients)
  t.same(seen, [])
})

t.test('a release that loses its slot ends only after those who preview it have their answers', async (t) => {
  const world = await withStaged(t)
  const slow = await openRequest(world, { host: HOST })
  t.match((await world.status()).idle, {
    release: 'r43',
    claims: { requests: 0 },
    previews: { requests: 1, tunnels: 0 },
  })
  await world.stage('r44')
  t.match((await world.status()).draining, [{ release: 'r43', claims: { requests: 1 } }])
  t.match((await see(world, { host: HOST })).release, 'r44')
  const stopped = async () =>
    (await world.history()).some(({ event, release }) => event === 'stopped' && release === 'r43')
  t.notOk(await stopped())
  t.equal(await slow.end(), 'begun ended')
  await world.until(stopped, 'r43 is stopped')
  const events = (await world.history()).map(({ event, release }) => `${event} ${release}`)
  t.ok(events.indexOf('drained r43') > events.indexOf('stopped r43'), 'newest first: it was drained before')
})

t.test('a drain waits for those who previewed the release before it went live', async (t) => {
  const world = await withStaged(t)
  const slow = await openRequest(world, { host: HOST })
  await world.promote()
  t.match((await world.status()).live, { release: 'r43', previews: { requests: 1 } })
  await world.rollback()
  t.match((await world.status()).draining, [{ release: 'r43', claims: { requests: 1 } }])
  t.equal(await slow.end(), 'begun ended')
  await world.until(async () => (await world.status()).draining.length === 0, 'r43 is drained')
  t.match(await see(world, { host: HOST }), { release: 'r43' }, 'which is seen meanwhile, and after that')
})

t.test('who previews too long is cut at the end of the drain', async (t) => {
  const world = await withStaged(t, [...PREVIEW, 'drain: { within: 200ms, tunnels_within: 300ms }'])
  const slow = await openRequest(world, { host: HOST })
  const socket = new WebSocket(`${world.url.replace('http', 'ws')}/`, { headers: { host: HOST } })
  await once(socket, 'open')
  const closed = once(socket, 'close')
  await world.stage('r44')
  const [code] = await closed
  t.equal(code, 1001)
  await t.rejects(slow.end())
  const drained = await world.until(
    async () =>
      (await world.history()).find(({ event, release }) => event === 'drained' && release === 'r43'),
    'r43 is drained',
  )
  t.match(drained, { cut: { requests: 1, tunnels: 1 } })
})

t.test('with `previous: stop` the former release is not shown while it ends', async (t) => {
  const world = await withStaged(t, [...PREVIEW, 'previous: stop'])
  const slow = await openRequest(world)
  await world.promote()
  t.match((await world.status()).draining, [{ release: 'r42' }])
  await world.until(async () => (await see(world, { host: HOST })).status === 503, 'nobody sees r42')
  t.equal(await slow.end(), 'begun ended')
  await world.until(async () => (await world.status()).idle.state === 'stopped', 'r42 is stopped')
  t.match(await see(world, { host: HOST }), { status: 503, text: /nothing_to_preview/ })
})

t.test('a WebSocket and an event stream can be previewed', async (t) => {
  const world = await withStaged(t)
  for (const headers of [{ host: HOST }, await cookieFrom(world)]) {
    const socket = new WebSocket(`${world.url.replace('http', 'ws')}/`, { headers })
    const upgraded = once(socket, 'upgrade')
    const greeted = once(socket, 'open')
    const [answer] = await upgraded
    t.equal(answer.headers['slotgate-preview'], 'r43')
    await greeted
    socket.send('hello')
    const [said] = await once(socket, 'message')
    t.equal(String(said), 'r43: hello')
    t.match((await world.status()).idle, { previews: { tunnels: 1 }, claims: { tunnels: 0 } })
    const closed = once(socket, 'close')
    socket.close()
    await closed
    await world.until(async () => (await world.status()).idle.previews.tunnels === 0, 'the tunnel is over')
  }
  const stream = await request(`${world.url}/sse`, { headers: { host: HOST } })
  const [first] = await once(stream.body, 'data')
  t.match(String(first), /^data: r43 0/)
  t.match((await world.status()).idle.previews, { requests: 0, tunnels: 1 })
  stream.body.on('error', () => {}).destroy()
})

t.test(
  'without `preview` nobody sees the idle slot, and the paths below /.slotgate are the app’s',
  async (t) => {
    const world = await withStaged(t, [])
    t.match(await open(world), { status: 409, body: { code: 'preview_off' } })
    t.match(await end(world), { status: 409, body: { code: 'preview_off' } })
    t.match(await see(world, {}, '/.slotgate/preview?pass=x'), { status: 200, release: 'r42' })
  },
)

t.test('while the service is paused the idle slot can be seen', async (t) => {
  const world = await withStaged(t, [...PREVIEW, 'hold: { requests: 0 }'])
  await world.pause()
  t.match(await see(world), { status: 503, text: /"code":"paused"/ })
  t.match(await see(world, { host: HOST }), { status: 200, release: 'r43' })
  await world.promote()
  t.match(await see(world, { host: HOST }), { status: 200, release: 'r42' })
})

t.test('several threads preview as one, over hundreds of changes', async (t) => {
  const world = await World.create(t)
  world.settings = ['threads: 2']
  world.service = PREVIEW
  for (const id of ['r42', 'r43']) await world.addRelease(id, { min: 41, max: 43 })
  await world.start(t)
  await world.deploy('r42')
  await world.stage('r43')
  const ended = await cookieFrom(world)
  // More than there are counters, so that each is used again.
  for (let round = 0; round < 70; round++) {
    const { status } = await (round % 2 === 0 ? world.promote() : world.rollback())
    if (status !== 200) t.fail(`round ${round}: ${status}`)
  }
  const seen = await Promise.all(Array.from({ length: 20 }, () => see(world, { host: HOST })))
  t.ok(seen.every(({ release }) => release === 'r43'))
  await end(world)
  const live = await Promise.all(Array.from({ length: 20 }, () => see(world, ended)))
  t.ok(live.every(({ release }) => release === 'r42'))
})
