// Booting releases: what can go wrong with a boot, told with the last lines of the process, and gone again.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { isRunning, World, withLive } from '../support/world.ts'

const BAD_BOOTS: [string, Parameters<World['addRelease']>[1], RegExp, RegExp | null][] = [
  [
    'exits at once',
    { min: 41, max: 43, exitOnBoot: 7 },
    /ended with exit code 7/,
    /cannot find the configuration/,
  ],
  ['is never healthy', { min: 41, max: 43, unhealthy: true }, /\/healthz answers 503/, /ready/],
  ['never answers', { min: 41, max: 43, hangs: true }, /no complete answer within/, /ready/],
  [
    'takes a wrong port',
    { min: 41, max: 43, internalOn: 0 },
    /listens on port \d+ instead of the given \d+ and \d+/,
    /ready/,
  ],
  [
    'takes a wrong public port',
    { min: 41, max: 43, listensOn: 0 },
    /public port accepts no connections.*instead/,
    /ready/,
  ],
]
for (const [what, manners, detail, output] of BAD_BOOTS) {
  t.test(`a release that ${what} is refused with its last lines, and is gone`, async (t) => {
    const world = await withLive(t, { health: '{ interval: 20ms, timeout: 300ms, within: 1s }' })
    await world.addRelease('bad', manners)
    const { status, body } = await world.deploy('bad')
    t.equal(status, 424)
    t.match(body, { code: 'target_boot_failed', stage: 'boot' })
    t.match(body.detail, detail)
    if (output) t.match(body.output.join('\n'), output)
    t.match(await world.get(), { release: 'r42' })
    t.match((await world.status()).idle, { state: 'empty' }, 'the slot is as it was')
    const boots = (await world.history()).filter(
      ({ event, release }) => event === 'booting' && release === 'bad',
    )
    t.equal(await isRunning(Number(boots[0]?.pid)), false)
  })
}

t.test('a command that does not exist is said so', async (t) => {
  const world = await World.create(t)
  world.command = ['/nowhere/to/be/found', 'x']
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  const { status, body } = await world.deploy('r42')
  t.match(
    { status, body },
    { status: 424, body: { code: 'target_boot_failed', detail: /\/nowhere\/to\/be\/found cannot be run/ } },
  )
})

t.test('setup runs before the first boot of a release, once, and a failed one again', async (t) => {
  const world = await World.create(t)
  const marker = join(world.folder, 'setups')
  const script = `require('fs').appendFileSync(${JSON.stringify(marker)}, process.cwd() + '\\n'); if (require('fs').existsSync('broken')) { console.error('no network'); process.exit(3) }`
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 41, max: 43 })
  await writeFile(join(world.folder, 'releases/r43/broken'), '')
  const config = await world.writeConfig()
  t.ok(config)
  world.setup = [process.execPath, '-e', script]
  await world.start(t)
  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await world.deploy('r42'), { status: 200 })
  const runs = async () => readFile(marker, 'utf8')
  t.equal((await runs()).trim().split('\n').length, 1, 'once for two boots')
  t.match(await world.deploy('r43'), {
    status: 424,
    body: { code: 'setup_failed', output: [/no network/], detail: /exit code 3/ },
  })
  t.match(await world.get(), { release: 'r42' })
})
