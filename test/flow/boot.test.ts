// Booting processes: what a command and a setup can do wrong. What every driver has in common is in drivers.test.ts.
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { World } from '../support/world.ts'

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
