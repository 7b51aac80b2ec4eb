// A live process that dies, a slotgate that is told to stop, and one that is killed: who notices, and what is left.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { isRunning, World, withLive } from '../support/world.ts'

t.test(
  'a live process that dies is 503 at once, unhealthy at once, and started again after a second',
  async (t) => {
    const world = await withLive(t)
    const { live } = await world.status()
    process.kill(live?.pid ?? 0, 'SIGKILL')
    const down = await world.until(async () => {
      const answer = await world.get()
      return answer.status === 503 && answer
    }, 'the front door answers 503')
    t.match(down.retryAfter, /^\d+$/)
    await world.until(async () => (await world.get()).status === 200, 'it is started again')
    t.match(await world.status(), {
      generation: 1,
      live: { healthy: true, state: 'running', restarts: 1, release: 'r42' },
    })
    const events = (await world.history()).map(({ event, delay_ms }) => [event, delay_ms]).reverse()
    const from = events.findIndex(([event]) => event === 'exited')
    t.same(
      events.slice(from).map(([event]) => event),
      ['exited', 'restarting', 'booting', 'booted'],
    )
    t.equal(events[from + 1]?.[1], 1_000)
  },
)

t.test('one that dies again waits twice as long each time', async (t) => {
  const world = await withLive(t)
  const { live } = await world.status()
  await world.addRelease('r42', { min: 41, max: 43, exitOnBoot: 9 })
  process.kill(live?.pid ?? 0, 'SIGKILL')
  const waiting = await world.until(async () => {
    const { live } = await world.status()
    return live?.state === 'restarting' && live
  }, 'it waits')
  t.match(waiting, { healthy: false, detail: /^it ended with (signal SIGKILL|exit code 9)/ })
  const delays = await world.until(async () => {
    const restarts = (await world.history()).filter(({ event }) => event === 'restarting').reverse()
    return restarts.length >= 3 && restarts.map(({ delay_ms }) => delay_ms)
  }, 'three restarts')
  t.same(delays.slice(0, 3), [1_000, 2_000, 4_000])
  t.match(world.logLines.join('\n'), /"msg":"r42 ended with signal SIGKILL"/)
  await world.addRelease('r43', { min: 41, max: 42 })
  t.match(await world.deploy('r43'), {
    status: 200,
    body: { verdict: { warnings: [{ code: 'live_status_unavailable' }] } },
  })
  t.match(await world.get(), { status: 200, release: 'r43' })
})

t.test('a dead live release can be rolled back from at once', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  const { live } = await world.status()
  await world.addRelease('r43', { min: 42, max: 43, exitOnBoot: 9 })
  process.kill(live?.pid ?? 0, 'SIGKILL')
  await world.until(async () => (await world.get()).status === 503, 'it is down')
  const back = await world.rollback()
  t.match(back, { status: 200, body: { live: { release: 'r42' } } })
  t.equal(back.body.verdict.attempts, 1, 'without waiting for the dead one')
  t.match(await world.get(), { status: 200, release: 'r42' })
})

t.test(
  'on SIGTERM no connection is taken any more, what is open finishes, and every process ends',
  async (t) => {
    const world = await World.create(t)
    await world.addRelease('r42', { min: 41, max: 43 })
    const served = await world.spawn(t)
    await world.deploy('r42')
    await world.addRelease('r43', { min: 41, max: 43 })
    await world.deploy('r43')
    const { live, idle } = await world.status()
    const slow = await request(`${world.url}/slow?ms=600`)
    served.kill('SIGTERM')
    await world.until(
      () =>
        world
          .get()
          .then(() => false)
          .catch(() => true),
      'new connections are refused',
    )
    t.equal(await slow.body.text(), 'begun\nended\n', 'the open one finished')
    t.equal(await served.exited, 0)
    for (const slot of [live, idle])
      t.equal(await isRunning(slot?.pid ?? 0), false, `${slot?.release} is gone`)
  },
)

t.test('a second signal ends slotgate at once, and its processes with it', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43, ignoresSigterm: true })
  const served = await world.spawn(t)
  await world.deploy('r42')
  const { live } = await world.status()
  const held = await request(`${world.url}/slow?ms=60000`)
  held.body.on('error', () => {})
  served.kill('SIGTERM')
  await world.until(
    () =>
      world
        .get()
        .then(() => false)
        .catch(() => true),
    'it is stopping',
  )
  let code: number | null | undefined
  void served.exited.then((exit) => {
    code = exit
  })
  await world.until(async () => {
    served.kill('SIGTERM')
    return code !== undefined
  }, 'a later signal ends it')
  t.equal(code, 1)
  await world.until(async () => !(await isRunning(live?.pid ?? 0)), 'the app is gone')
})

t.test('a SIGTERM that comes while slotgate starts ends it in order', async (t) => {
  const world = await World.create(t)
  const starting = world.spawn(t)
  const owner = await world.until(
    () => readFile(join(world.stateDir, 'owner'), 'utf8').catch(() => null),
    'it owns its state folder',
  )
  process.kill(Number.parseInt(owner, 10), 'SIGTERM')
  t.equal(await (await starting).exited, 0)
  await world.until(async () => /slotgate has stopped/.test(world.logLines.at(-1) ?? ''), 'it says so')
})

t.test('a setup that a kill -9 of slotgate left over is ended by the next start', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  const script = `require('fs').writeFileSync('pid', String(process.pid)); setInterval(() => {}, 1000)`
  world.setup = [process.execPath, '-e', script]
  const first = await world.spawn(t)
  const deploying = world.deploy('r42').catch(() => null)
  const pid = await world.until(
    () => readFile(join(world.folder, 'releases/r42/pid'), 'utf8').catch(() => null),
    'the setup runs',
  )
  first.kill('SIGKILL')
  t.equal(await deploying, null)
  t.equal(await isRunning(Number(pid)), true, 'it outlives the slotgate that began it')
  await world.start(t)
  t.equal(await isRunning(Number(pid)), false)
})

t.test('a second slotgate on the same state folder is refused and names the first', async (t) => {
  const world = await World.create(t)
  await world.start(t)
  const { adminUrl } = world
  const refused = await world.spawn(t).catch((error: Error) => error.message)
  t.match(refused, /ended with [12]/)
  t.match(refused, new RegExp(`process ${process.pid}`))
  t.equal((await request(`${adminUrl}/healthz`)).statusCode, 200, 'the first is not disturbed')
})
