// What every driver that boots releases has to do, said once: however a release comes to be and whatever it runs in, a boot
// that fails is told with its last lines, what dies is started again, and a kill of slotgate disturbs nothing. The slotgate
// that is killed is a process of its own; the one that comes after it runs in the test's, which takes less time.
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { request } from 'undici'
import type { ServiceStatus } from '../../src/switch/types.ts'
import { eventsOf, kill, placesOf } from './places.ts'
import { isRunning, type Manners, type Served, type World } from './world.ts'

/** A driver, as a config names it. */
export interface DriverKind {
  name: string
  /** Why it cannot be tried here. */
  skip?: string
  /** In how many seconds five releases that boot at once have written their first line, also on a busy machine. */
  bootsWithinS: number
  /** @returns a world whose releases it boots; slotgate is not started yet */
  create(t: Test): Promise<DriverWorld>
}

export interface DriverWorld {
  world: World
  /** @returns the id under which the release is known from then on */
  addRelease(id: string, manners: Manners): Promise<string>
  /** How Node is called where a release runs. */
  node: string[]
}

const FITS = { min: 41, max: 43 }
const BETWEEN_REQUESTS_MS = 5

type Body = (t: Test, driver: DriverWorld) => Promise<void>

export function testDriver(t: Test, { name, skip, bootsWithinS, create }: DriverKind): void {
  const test = (title: string, body: Body) =>
    t.test(`${name}: ${title}`, { skip: skip ?? false }, async (t) => body(t, await create(t)))

  // At once, since most of each is waiting.
  t.test(`${name}: a boot that fails`, { skip: skip ?? false, jobs: BAD_BOOTS.length }, async (t) => {
    for (const [what, manners, detail, output] of BAD_BOOTS) {
      t.test(
        `a release that ${what} is refused with its last lines, and is gone`,
        { buffered: true },
        async (t) => {
          const driver = await create(t)
          const { world } = driver
          world.health = `{ interval: 250ms, timeout: 1s, within: ${bootsWithinS}s }`
          const bad = await driver.addRelease('bad', manners)
          await world.start(t)
          const { status, body } = await world.deploy(bad)
          t.equal(status, 424)
          t.match(body, { code: 'target_boot_failed', stage: 'boot' })
          t.match(body.detail, detail)
          t.match(body.output.join('\n'), output)
          t.match((await world.status()).idle, { state: 'empty' }, 'the slot is as it was')
          const [boot] = await boots(world, bad)
          t.equal(await isRunning(Number(boot?.pid)), false)
        },
      )
    }
  })

  test('a release gets what the contract names, its own variables, and nothing that is slotgate’s', async (t, driver) => {
    const { world } = driver
    process.env.SLOTGATE_KEY = 'secret.key'
    process.env.TOKEN = 'of the collector'
    t.teardown(() => {
      delete process.env.SLOTGATE_KEY
      delete process.env.TOKEN
    })
    world.settings.push(`tracing: { endpoint: "http://127.0.0.1:1", headers: { token: "\${TOKEN}" } }`)
    world.command = [...driver.node, '-e', SAYS_ITS_ENVIRONMENT]
    world.env = { COLOUR: '{release}' }
    world.service = ['schema: off']
    const release = await driver.addRelease('r42', FITS)
    await world.start(t)
    t.match(await world.deploy(release), { status: 200 })
    const { live } = await world.status()
    const environment = JSON.parse((await world.get()).text)
    t.match(environment, {
      COLOUR: release,
      SLOTGATE: '1',
      SLOTGATE_SERVICE: 'invoices',
      SLOTGATE_SLOT: 'blue',
      SLOTGATE_RELEASE: release,
      SLOTGATE_BOOT_ID: live?.boot_id,
    })
    t.match(live?.public_urls, [`http://127.0.0.1:${environment.PORT}`])
    t.match(live?.internal_url, `http://127.0.0.1:${environment.INTERNAL_PORT}`)
    for (const name of ['SLOTGATE_KEY', 'TOKEN']) t.equal(environment[name], undefined, name)
    t.equal(environment.SLOTGATE_REHEARSAL, undefined)
  })

  test('a line without end is kept in pieces, and of many lines the last 200', async (t, driver) => {
    const { world } = driver
    world.command = [...driver.node, '-e', WRITES_A_LOT]
    const release = await driver.addRelease('r42', FITS)
    await world.start(t)
    const before = await writes()
    const { body } = await world.deploy(release)
    t.match(body, { code: 'target_boot_failed', detail: /exit code 4/ })
    t.equal(body.output.length, 200)
    t.equal(body.output.at(-2), `line ${MANY_LINES - 1}`)
    t.ok((await writes()) - before < MANY_LINES / 2, 'the disk is not kept busy with each line')
    t.ok(world.logLines.every((line) => line.length < 80_000))
    const kept = world.logLines.map((line) => JSON.parse(line).msg).filter((text) => /^x+$/.test(text))
    t.equal(kept.join('').length, 100_000, 'nothing of it is lost')
  })

  test('the values of env_file reach the release, and the log has their names, whatever comes', async (t, driver) => {
    const { world } = driver
    world.driver.push('env_file: secrets.env')
    world.command = [
      ...driver.node,
      '-e',
      `console.log('it is', process.env.PASSWORD); ${SAYS_ITS_ENVIRONMENT}
      setInterval(() => console.log('still', process.env.PASSWORD), 50)`,
    ]
    world.service = ['schema: off']
    const release = await driver.addRelease('r42', FITS)
    const served = await world.spawn(t)
    const file = join(world.folder, 'secrets.env')
    t.match(await world.deploy(release), { status: 424, body: { code: 'env_file_unreadable', file } })
    await writeFile(file, 'PASSWORD=correct-horse-battery\nPORT=1\n', { mode: 0o600 })
    t.match(await world.deploy(release), { status: 200 })
    const environment = JSON.parse((await world.get()).text)
    t.equal(environment.PASSWORD, 'correct-horse-battery')
    t.not(environment.PORT, '1', 'what slotgate gives comes first')
    const isTold =
      (text: string, from = 0) =>
      async () =>
        world.logLines.slice(from).some((line) => line.includes(text))
    // biome-ignore lint/suspicious/noTemplateCurlyInString: so it is shown
    await world.until(isTold('it is ${PASSWORD}'), 'its line')
    await kill(served)
    await writeFile(file, 'PASSWORD=another-one\n')
    const before = world.logLines.length
    await world.start(t)
    // biome-ignore lint/suspicious/noTemplateCurlyInString: so it is shown
    await world.until(isTold('still ${PASSWORD}', before), 'a line of what was taken over')
    t.notMatch(world.logLines.join('\n'), /correct-horse/)
  })

  test('what ignores SIGTERM ends when the time is over, and slotgate with it', async (t, driver) => {
    const { world } = driver
    world.service = ['drain: { within: 1s }']
    const release = await driver.addRelease('r42', { ...FITS, ignoresSigterm: true })
    const close = await world.start(t)
    t.match(await world.deploy(release), { status: 200 })
    const pid = (await world.status()).live?.pid ?? 0
    await close()
    t.equal(await isRunning(pid), false)
    t.ok(
      world.logLines.some((line) => line.includes('not now')),
      'it was asked first',
    )
  })

  test('a rehearsal that is refused leaves nothing, one that is allowed takes the traffic', async (t, driver) => {
    const { world } = driver
    const { ids, served } = await deployed(t, driver, 'r42', 'r43', 'r44')
    const [oldest = ''] = ids
    await world.migrate(42, { dirty: true })
    t.match(await world.rollback(oldest), { status: 422, body: { code: 'schema_dirty' } })
    const [rehearsed] = await boots(world, oldest)
    t.equal(rehearsed?.rehearsal, true)
    t.equal(await isRunning(Number(rehearsed?.pid)), false)
    await world.migrate(42)
    t.match(await world.rollback(oldest), { status: 200, body: { live: { release: oldest } } })
    t.match(await world.get(), { status: 200, release: oldest })
    const before = await world.status()
    await kill(served)
    await world.start(t)
    t.same(placesOf(await world.status()), placesOf(before), 'and is taken over as what it became')
  })

  test('live and previous release run on where they ran, under load, and the next switch is a plain one', async (t, driver) => {
    const { world } = driver
    world.service = ['drain: { within: 2s }']
    const { ids, served } = await deployed(t, driver, 'r42', 'r43')
    const [first, second] = ids
    const third = await driver.addRelease('r44', FITS)
    const before = await world.status()
    const [live = '', idle = ''] = [before.live?.public_urls[0], before.idle.public_urls[0]]
    // Around slotgate: what the app answers while there is none.
    const asked = { answered: 0, failed: 0, on: true }
    const asking = (async () => {
      while (asked.on) {
        const { statusCode, body } = await request(live)
        await body.dump()
        asked[statusCode === 200 ? 'answered' : 'failed']++
        await pause(BETWEEN_REQUESTS_MS)
      }
    })()
    const pushing = { on: true }
    const push = async () => {
      while (pushing.on) {
        await world.get().catch(() => {})
        await pause(BETWEEN_REQUESTS_MS)
      }
    }
    const load = [push(), push(), push()]
    await kill(served)
    t.equal((await request(idle)).statusCode, 200)
    const close = await world.start(t)
    pushing.on = false
    asked.on = false
    await Promise.all([...load, asking])
    t.ok(asked.answered > 0)
    t.equal(asked.failed, 0)
    const after = await world.status()
    t.same(placesOf(after), placesOf(before))
    t.match(after, { live: { taken_over: true, restarts: 0 }, idle: { taken_over: true } })
    const taken = (await eventsOf(world, 'taken_over')).map(({ release, slot, pid }) => ({
      release,
      slot,
      pid,
    }))
    t.same(
      taken.sort((a, b) => String(a.slot).localeCompare(String(b.slot))),
      [
        { release: first, slot: 'blue', pid: before.idle.pid },
        { release: second, slot: 'green', pid: before.live?.pid },
      ],
    )
    t.same(await eventsOf(world, 'leftover_stopped'), [])

    t.equal((await world.rollback()).status, 200)
    t.match(await world.get(), { status: 200, release: first })
    t.equal((await world.status()).live?.pid, before.idle.pid, 'the kept one took the traffic')
    t.equal((await world.deploy(third)).status, 200)
    await world.until(async () => !(await isRunning(before.live?.pid ?? 0)), 'the end of what lost its slot')
    await close()
    t.same(await outputs(world), [], 'nothing of it is left')
    t.equal(await isRunning(before.idle.pid ?? 0), false, 'an ordinary stop stops what was taken over')
  })

  test('what dies after it was taken over is noticed, said, and started again; its last lines are there', async (t, driver) => {
    const { world } = driver
    const { served } = await deployed(t, driver, 'r42')
    const pid = (await world.status()).live?.pid ?? 0
    await kill(served)
    await world.start(t)
    process.kill(pid, 'SIGKILL')
    const restarted = ({ live }: ServiceStatus) => live?.restarts === 1 && live.healthy
    await world.until(async () => restarted(await world.status()), 'the restart')
    const [exited] = await eventsOf(world, 'exited')
    t.match(exited, { detail: /nobody saw|SIGKILL/, output: /ready/ })
    const { live } = await world.status()
    t.match(live, { healthy: true, taken_over: false })
    t.not(live?.pid, pid)
    t.equal((await world.get()).status, 200)
    await world.until(async () => (await outputs(world)).length <= 2, 'the end of its file')
  })

  test('what a release writes while there is no slotgate is in the log of the next one, once', async (t, driver) => {
    const { world } = driver
    world.command = [...driver.node, '-e', SAYS_ITS_REQUESTS]
    const { served } = await deployed(t, driver, 'r42')
    await world.get('/before')
    const said = (what: string) => world.logLines.filter((line) => line.includes(`says /${what}`)).length
    await world.until(async () => said('before') === 1, 'the first line')
    const url = (await world.status()).live?.public_urls[0] ?? ''
    await kill(served)
    await (await request(`${url}/between`)).body.dump()
    await world.start(t)
    await world.get('/after')
    await world.until(async () => said('after') === 1, 'the last line')
    t.same([said('before'), said('between'), said('after')], [1, 1, 1])
    for (const file of await outputs(world))
      t.equal((await stat(join(world.stateDir, 'output', file))).mode & 0o077, 0, 'for its owner alone')
  })

  test('a boot that was under way is nobody’s: it is stopped, and the slot is as before', async (t, driver) => {
    const { world } = driver
    const { served } = await deployed(t, driver, 'r42')
    const slow = await driver.addRelease('slow', { ...FITS, unhealthy: true })
    const { pid: live } = (await world.status()).live ?? {}
    const staging = world.stage(slow).catch(() => null)
    const pid = await world.until(async () => Number((await boots(world, slow))[0]?.pid), 'the boot')
    await kill(served)
    await staging
    await world.start(t)
    t.equal(await isRunning(pid), false)
    t.match(await world.status(), { live: { pid: live, taken_over: true }, idle: { state: 'empty' } })
  })
}

/** Starts slotgate as a process of its own and deploys these releases, one after the other. */
async function deployed(t: Test, driver: DriverWorld, ...names: string[]): Promise<Deployed> {
  const ids: string[] = []
  for (const name of names) ids.push(await driver.addRelease(name, FITS))
  const served = await driver.world.spawn(t)
  for (const id of ids) t.match(await driver.world.deploy(id), { status: 200 })
  return { ids, served }
}

interface Deployed {
  ids: string[]
  served: Served
}

/** The newest first. */
const boots = async (world: World, id: string) =>
  (await eventsOf(world, 'booting')).filter(({ release }) => release === id)

const outputs = (world: World) => readdir(join(world.stateDir, 'output')).catch(() => [])

const BAD_BOOTS: [string, Manners, RegExp, RegExp][] = [
  ['exits at once', { ...FITS, exitOnBoot: 7 }, /ended with exit code 7/, /cannot find the configuration/],
  ['is never healthy', { ...FITS, unhealthy: true }, /\/healthz answers 503/, /ready/],
  ['never answers', { ...FITS, hangs: true }, /no complete answer within/, /ready/],
  [
    'takes a wrong port',
    { ...FITS, internalOn: 0 },
    /listens on port \d+ instead of the given \d+ and \d+/,
    /ready/,
  ],
  [
    'takes a wrong public port',
    { ...FITS, listensOn: 0 },
    /public port accepts no connections.*instead/,
    /ready/,
  ],
]

const SAYS_ITS_ENVIRONMENT = `
  const { createServer } = require('node:http')
  const { HOST, PORT, INTERNAL_PORT } = process.env
  createServer((_, res) => res.end(JSON.stringify(process.env))).listen(PORT, HOST)
  createServer((_, res) => res.end()).listen(INTERNAL_PORT, HOST)
`
const SAYS_ITS_REQUESTS = `
  const { createServer } = require('node:http')
  const { HOST, PORT, INTERNAL_PORT, SLOTGATE_BOOT_ID: boot_id } = process.env
  const schema = { current_schema_version: 42, code_min_schema_version: 42, code_max_schema_version: 42, compatible: true, boot_id }
  createServer((req, res) => { console.log('says', req.url); res.end() }).listen(PORT, HOST)
  createServer((req, res) => res.end(JSON.stringify(schema))).listen(INTERNAL_PORT, HOST)
`
/** @returns how often this process has written so far, to whatever; 0 where the system does not tell */
async function writes(): Promise<number> {
  const told = await readFile('/proc/self/io', 'utf8').catch(() => '')
  return Number(/^syscw: (\d+)$/m.exec(told)?.[1] ?? 0)
}

const MANY_LINES = 3_000
const WRITES_A_LOT = `
  const many = Array.from({ length: ${MANY_LINES} }, (_, n) => 'line ' + n + '\\n').join('')
  process.stdout.write('x'.repeat(100_000) + '\\n' + many + Buffer.from([0xff, 0x0a]).toString('latin1'), () => process.exit(4))
`
