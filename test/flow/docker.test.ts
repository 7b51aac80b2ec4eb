// Releases that are images, on a real engine.
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { engineAt } from '../../src/slots/drivers/engine.ts'
import { startRawApp } from '../relay/support.ts'
import { COMPILED } from '../support/compiled.ts'
import { testDriver } from '../support/driver-tests.ts'
import { openEngine } from '../support/engine.ts'
import { serveRegistry } from '../support/registry.ts'
import { APP, type Manners, World } from '../support/world.ts'

const run = promisify(execFile)
const FITS = { min: 41, max: 43 }
const ROOT = join(import.meta.dirname, '..', '..')

const engine = await openEngine(t)
const skip = typeof engine === 'string' ? `no engine can run here: ${engine}` : false

async function createWorld(t: Test, network?: string): Promise<World> {
  if (typeof engine === 'string') throw new Error(engine)
  const world = await World.create(t)
  world.command = [APP]
  // What is compiled already lies in the folder that is mounted.
  world.env = { ...COMPILED }
  world.driver = [
    'driver: docker',
    `engine: ${engine.host}`,
    `image: ${engine.image}`,
    `network: ${network ?? engine.network}`,
    `volumes: ["${engine.node}", "${ROOT}:${ROOT}:ro", "${world.folder}:${world.folder}", "${world.folder}/releases/{release}:/app"]`,
  ]
  return world
}

testDriver(t, {
  name: 'docker',
  bootsWithinS: 8,
  ...(skip && { skip }),
  async create(t) {
    const world = await createWorld(t)
    const addRelease = async (id: string, manners: Manners) => {
      await world.addRelease(id, manners)
      return id
    }
    return { world, node: [], addRelease }
  },
})

/** The lines of a service in the config, of its own path. */
const serviceLines = (world: World, name: string): string[] => [
  `  ${name}:`,
  `    path_prefix: /${name}`,
  '    releases:',
  ...world.driver.map((line) => `      ${line}`),
  `      command: ${JSON.stringify(world.command)}`,
  `      env: ${JSON.stringify({ WORLD: world.folder })}`,
]

type Inspected = {
  Name: string
  HostConfig: { Memory: number; MemorySwap: number; NanoCpus: number; NetworkMode: string }
  Config: { Labels: Record<string, string> }
}

/** What the engine knows of the containers of one world. */
async function containersOf(world: World): Promise<Inspected[]> {
  const id = await readFile(join(world.stateDir, 'id'), 'utf8')
  const filters = encodeURIComponent(JSON.stringify({ label: [`slotgate.state=${id}`] }))
  const all = (await ask('GET', `/containers/json?all=1&filters=${filters}`)) as { Id: string }[]
  return Promise.all(all.map(async ({ Id }) => (await ask('GET', `/containers/${Id}/json`)) as Inspected))
}

async function ask(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
  if (typeof engine === 'string') throw new Error(engine)
  return engine.ask({ method, path, ...(body !== undefined && { body }) })
}

t.test(
  'a container says whose it is, gets what it may, and is removed with the rest',
  { skip },
  async (t) => {
    const world = await createWorld(t)
    world.driver.push('memory: 256MiB', 'cpus: 0.5')
    await world.addRelease('r42', FITS)
    const close = await world.start(t)
    t.match(await world.deploy('r42'), { status: 200 })
    const [container, ...others] = await containersOf(world)
    t.same(others, [])
    t.match(container, {
      Name: /^\/slotgate-invoices-r42-[0-9a-f]{8}$/,
      Config: {
        Labels: {
          'slotgate.service': 'invoices',
          'slotgate.release': 'r42',
          'slotgate.slot': 'blue',
          'slotgate.boot': (await world.status()).live?.boot_id,
        },
      },
      HostConfig: { Memory: 268_435_456, MemorySwap: 268_435_456, NanoCpus: 500_000_000 },
    })
    await close()
    t.same(await containersOf(world), [])
  },
)

t.test(
  'an image that nobody has is refused with what the engine says, and live goes on',
  { skip },
  async (t) => {
    const world = await createWorld(t)
    if (typeof engine === 'string') return
    const [name = ''] = engine.image.split(':')
    await ask('POST', `/images/${engine.image}/tag?repo=${name}&tag=r42`)
    t.teardown(() => ask('DELETE', `/images/${name}:r42`))
    world.driver = world.driver.map((line) => line.replace(engine.image, `localhost:1/${name}:{release}`))
    await ask('POST', `/images/${engine.image}/tag?repo=localhost:1/${name}&tag=r42`)
    t.teardown(() => ask('DELETE', `/images/localhost:1/${name}:r42`))
    for (const release of ['r42', 'r43']) await world.addRelease(release, FITS)
    await world.start(t)
    t.match(await world.deploy('r42'), { status: 200 })
    const { status, body } = await world.deploy('r43')
    t.match(
      { status, body },
      { status: 424, body: { code: 'image_unavailable', image: `localhost:1/${name}:r43` } },
    )
    t.match(body.detail, /localhost:1.*refused/)
    t.match(await world.get(), { status: 200, release: 'r42' })
  },
)

t.test('a missing image is pulled, and a pull that breaks in the middle is refused', { skip }, async (t) => {
  const world = await createWorld(t)
  if (typeof engine === 'string') return
  const { stdout: layer } = await run('tar', ['-cP', world.folder], { encoding: 'buffer' })
  const registry = await serveRegistry(t, layer)
  world.driver = world.driver.map((line) => line.replace(engine.image, `${registry.image}:{release}`))
  for (const release of ['r42', 'r43']) await world.addRelease(release, FITS)
  await world.start(t)
  const pulled = await world.deploy('r42')
  t.match(pulled.body, { code: 'target_boot_failed', detail: /exit code 12[67]/ }, 'it holds nothing to run')
  t.match(await ask('GET', `/images/${registry.image}:r42/json`), { RepoTags: [`${registry.image}:r42`] })
  await ask('DELETE', `/images/${registry.image}:r42`)
  registry.break()
  const { status, body } = await world.deploy('r43')
  t.match({ status, body }, { status: 424, body: { code: 'image_unavailable' } })
  t.match(body.detail, /verification failed|did not match/)
})

t.test('what cannot be run in a container is told as the engine tells it', { skip }, async (t) => {
  const world = await createWorld(t)
  world.driver.push('volumes: ["/:/"]')
  world.driver = world.driver.filter((line) => !line.includes(ROOT))
  await world.addRelease('r42', FITS)
  await world.start(t)
  t.match(await world.deploy('r42'), {
    status: 424,
    body: {
      code: 'target_boot_failed',
      detail: /its container cannot be started \(.*destination can't be '\/'/,
    },
  })
  t.same(await containersOf(world), [])
})

t.test('in the network of the machine nothing is in between', { skip }, async (t) => {
  const world = await createWorld(t, 'host')
  await world.addRelease('r42', FITS)
  await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await world.get(), { status: 200, release: 'r42' })
  t.equal((await containersOf(world))[0]?.HostConfig.NetworkMode, 'host')
})

t.test('a container that somebody removes is noticed, and the release started again', { skip }, async (t) => {
  const world = await createWorld(t)
  await world.addRelease('r42', FITS)
  await world.start(t)
  await world.deploy('r42')
  const [container] = await containersOf(world)
  await ask('DELETE', `/containers${container?.Name}?force=1`)
  await world.until(async () => (await world.status()).live?.restarts === 1, 'the restart')
  await world.until(async () => (await world.get()).status === 200, 'it answers')
  const exited = (await world.history()).find(({ event }) => event === 'exited')
  t.match(exited?.detail, /exit code/)
})

const TOO_MUCH = /exit code 137 \(SIGKILL: it used more memory than it may\)/

t.test('one that uses more memory than it may says so', { skip }, async (t) => {
  const world = await createWorld(t)
  world.driver.push('memory: 64MiB')
  world.command = ['-e', 'const kept = []; for (;;) kept.push(Buffer.alloc(1_000_000, 1))']
  await world.addRelease('r42', FITS)
  await world.start(t)
  // An engine that hears of the end before it hears of the memory does not tell of it.
  const details: string[] = []
  while (details.length < 5 && !details.some((detail) => TOO_MUCH.test(detail))) {
    const { body } = await world.deploy('r42')
    t.equal(body.code, 'target_boot_failed')
    details.push(String(body.detail))
  }
  t.match(details.at(-1), TOO_MUCH)
})

t.test('at a start, leftovers are ended and other people’s containers are not', { skip }, async (t) => {
  const world = await createWorld(t)
  if (typeof engine === 'string') return
  for (const release of ['r42', 'r43']) await world.addRelease(release, FITS)
  const served = await world.spawn(t)
  await world.deploy('r42')
  await world.deploy('r43')
  const stay = ['-e', 'setInterval(() => {}, 1000)']
  const foreign = {
    Image: engine.image,
    Cmd: stay,
    Labels: { 'slotgate.state': 'of another', 'slotgate.boot': 'x' },
  }
  const { Id } = (await ask('POST', '/containers/create', foreign)) as { Id: string }
  t.teardown(() => ask('DELETE', `/containers/${Id}?force=1`))
  // As of an image that was made of r42, to look into it.
  const former = (await containersOf(world)).find(({ Name }) => Name.includes('-r42-'))
  const alike = { Image: engine.image, Cmd: stay, Labels: former?.Config.Labels }
  const copy = (await ask('POST', '/containers/create', alike)) as { Id: string }
  t.teardown(() => ask('DELETE', `/containers/${copy.Id}?force=1`))
  served.kill('SIGKILL')
  await served.exited
  // Who was previous is sick, so it is not taken over.
  await writeFile(join(world.folder, 'r42.sick'), '')
  // Another service of the same engine looks for leftovers at the same time.
  world.services = [...serviceLines(world, 'invoices'), ...serviceLines(world, 'shop')]
  await world.spawn(t)
  t.notOk(world.logLines.find((line) => line.includes('is ended later')))
  t.match(await world.status(), { live: { release: 'r43', taken_over: true }, idle: { pid: null } })
  const left = await containersOf(world)
  t.match(
    left.map(({ Name }) => Name).filter((name) => name.startsWith('/slotgate')),
    [/-r43-/],
  )
  for (const id of [Id, copy.Id]) t.match(await ask('GET', `/containers/${id}/json`), { Id: id })
})

t.test('an engine that falls silent in the middle is not waited for', async (t) => {
  const { address } = await startRawApp(t, (socket) => {
    socket.once('data', () =>
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n'),
    )
  })
  const pull = { method: 'POST', path: '/images/create?fromImage=shop:r42', silentMs: 100 } as const
  await t.rejects(engineAt(address).ask(pull), {
    code: 'engine_unusable',
    message: /nothing more came/,
  })
})

t.test('an engine that is away is told as such', async (t) => {
  const world = await World.create(t)
  const socket = join(world.folder, 'engine.sock')
  world.driver = ['driver: docker', `engine: unix:${socket}`, 'image: shop']
  await world.start(t)
  t.match(await world.deploy('r42'), {
    status: 503,
    body: { code: 'engine_unusable', engine: `unix://${socket}`, detail: /there is no such socket/ },
  })
})
