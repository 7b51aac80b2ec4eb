// Take-over: slotgate is killed and started again; what it had booted goes on as it was, and what belongs to nobody ends.
// Only what is killed has to be a process of its own; the last slotgate of a test runs in the test's.
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { eventsOf, kill, placesOf } from '../support/places.ts'
import { isRunning, type Served, World } from '../support/world.ts'

const BIN = fileURLToPath(new URL('../../src/bin.ts', import.meta.url))

interface Started {
  world: World
  served: Served
}

async function started(t: Test, ...releases: string[]): Promise<Started> {
  const world = await World.create(t)
  world.service = ['drain: { within: 2s }']
  for (const release of releases) await world.addRelease(release, { min: 41, max: 43 })
  return { world, served: await world.spawn(t) }
}

async function killed({ world, served }: Started, t: Test): Promise<Started> {
  await kill(served)
  return { world, served: await world.spawn(t) }
}

t.test('what is staged stays staged, before and after the first promotion', async (t) => {
  let one = await started(t, 'r42', 'r43')
  const { world } = one
  await world.stage('r42')
  const before = await world.status()
  one = await killed(one, t)
  t.same(placesOf(await world.status()), placesOf(before))
  t.equal((await world.promote()).status, 200)
  t.equal((await world.status()).live?.pid, before.idle.pid)
  await world.stage('r43')
  const staged = await world.status()
  one = await killed(one, t)
  await kill(one.served)
  await world.start(t)
  t.same(placesOf(await world.status()), placesOf(staged), 'also over two kills')
  t.equal((await world.promote()).status, 200)
  t.match(await world.get(), { status: 200, release: 'r43' })
})

t.test('what dies while the start still looks after another service is started again once', async (t) => {
  const world = await World.create(t)
  const service = (name: string) => [
    `  ${name}:`,
    `    hosts: [${name}.example]`,
    '    releases:',
    '      driver: process',
    `      command: ${JSON.stringify(world.command)}`,
    '      cwd: releases/{release}',
    `      env: ${JSON.stringify({ WORLD: world.folder })}`,
    `    health: ${world.health}`,
  ]
  world.services = [...service('invoices'), ...service('other')]
  for (const release of ['r42', 'sick']) await world.addRelease(release, { min: 41, max: 43 })
  const served = await world.spawn(t)
  t.equal((await world.deploy('r42')).status, 200)
  t.equal((await world.call('POST', '/v1/services/other/deploy', { release: 'sick' })).status, 200)
  const pid = (await world.status()).live?.pid ?? 0
  await kill(served)
  // Not to be taken over; the start gives it 3 s to become well.
  await writeFile(join(world.folder, 'sick.sick'), '')
  const up = world.start(t)
  const log = () => readFile(join(world.stateDir, 'journal.jsonl'), 'utf8')
  await world.until(
    async () => /"event":"taken_over".*r42|r42.*"event":"taken_over"/.test(await log()),
    'the take-over',
  )
  process.kill(pid, 'SIGKILL')
  await up
  await world.until(async () => (await world.status()).live?.healthy, 'the restart')
  await rm(join(world.folder, 'sick.sick'))
  await world.until(
    async () => (await world.call('GET', '/v1/services/other')).body.live.healthy,
    'the other service',
  )
  const of = async (name: string) => (await eventsOf(world, name)).filter(({ release }) => release === 'r42')
  t.equal((await of('booting')).length, 2, 'once for the deploy, and once for the death')
  t.match(await of('exited'), [{ detail: /nobody saw/ }])
  t.same(await of('leftover_stopped'), [])
  const { pid: last } = (await world.status()).live ?? {}
  t.equal(await isRunning(last ?? 0), true)
})

t.test(
  'what is sick is not taken over but booted anew, and so is what another process answers for',
  async (t) => {
    const one = await started(t, 'r42', 'r43')
    const { world } = one
    await world.deploy('r42')
    await world.deploy('r43')
    const before = await world.status()
    await kill(one.served)
    await writeFile(join(world.folder, 'r42.sick'), '')
    await world.migrate(42, { boot_id: 'of-somebody-else' })
    await world.start(t)
    await world.migrate(42)
    await world.until(async () => (await world.status()).live?.healthy, 'the live release')
    const after = await world.status()
    t.not(after.live?.pid, before.live?.pid)
    t.match(after, { live: { release: 'r43', taken_over: false }, idle: { release: 'r42', pid: null } })
    t.same(await Promise.all([before.live?.pid, before.idle.pid].map((pid) => isRunning(pid ?? 0))), [
      false,
      false,
    ])
    t.equal((await eventsOf(world, 'leftover_stopped')).length, 2)
    t.same(await eventsOf(world, 'taken_over'), [])
  },
)

t.test(
  'with `previous: stop` the release that was left ends, since nothing is drained any more',
  async (t) => {
    const world = await World.create(t)
    world.service = ['drain: { within: 20s }', 'previous: stop']
    for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
    const served = await world.spawn(t)
    await world.deploy('r42')
    const held = await request(`${world.url}/held`)
    held.body.text().catch(() => {})
    await world.deploy('r43')
    const pid = (await world.status()).idle.pid ?? 0
    t.equal(await isRunning(pid), true)
    await kill(served)
    await world.start(t)
    t.equal(await isRunning(pid), false)
    t.match(await world.status(), { live: { taken_over: true }, idle: { release: 'r42', pid: null } })
  },
)

t.test(
  'where slotgate cannot start, what it would have taken over runs on for the next attempt',
  async (t) => {
    const one = await started(t, 'r42')
    const { world } = one
    await world.deploy('r42')
    const pid = (await world.status()).live?.pid ?? 0
    const holder = createServer().listen(0, '127.0.0.1')
    t.teardown(() => holder.close())
    await once(holder, 'listening')
    const { port } = holder.address() as AddressInfo
    await kill(one.served)
    const config = await readFile(await world.writeConfig(), 'utf8')
    const file = join(world.folder, 'wrong.yaml')
    // The admin door opens last; a port of somebody else's is what it cannot have.
    await writeFile(file, config.replace('  listen: 127.0.0.1:0', `  listen: 127.0.0.1:${port}`))
    const failed = await promisify(execFile)(process.execPath, [BIN, 'serve', '--config', file]).catch(
      (e) => e,
    )
    t.match(failed, { code: 1, stderr: /port_in_use|in use/ })
    t.equal(await isRunning(pid), true)
    // A disk that takes no more: a file may have as much as the journal has already.
    const limited = ['-c', 'ulimit -f 2; exec "$0" "$@"', process.execPath, BIN, 'serve', '--config', file]
    const full = await promisify(execFile)('sh', limited).catch((e) => e)
    t.match(full, { code: 1, stderr: /journal_write_failed|could not be written/ })
    t.equal(await isRunning(pid), true)
    await world.start(t)
    t.match((await world.status()).live, { pid, taken_over: true, healthy: true })
  },
)
