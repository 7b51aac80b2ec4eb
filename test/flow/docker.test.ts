// Releases that are images, on a real engine.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { testDriver } from '../support/driver-tests.ts'
import { openEngine } from '../support/engine.ts'
import { APP, type Manners, World } from '../support/world.ts'

const FITS = { min: 41, max: 43 }
const ROOT = join(import.meta.dirname, '..', '..')

const engine = await openEngine(t)
const skip = typeof engine === 'string' ? `no engine can run here: ${engine}` : false

async function createWorld(t: Test, network?: string): Promise<World> {
  if (typeof engine === 'string') throw new Error(engine)
  const world = await World.create(t)
  world.command = [APP]
  world.driver = [
    'driver: docker',
    `engine: ${engine.host}`,
    `image: ${engine.image}`,
    `network: ${network ?? engine.network}`,
    `volumes: ["${ROOT}:${ROOT}:ro", "${world.folder}:${world.folder}", "${world.folder}/releases/{release}:/app"]`,
  ]
  return world
}

testDriver(t, {
  name: 'docker',
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

t.test('a deploy boots a container, and a rollback finds it as it runs', { skip }, async (t) => {
  const world = await createWorld(t)
  for (const release of ['r42', 'r43']) await world.addRelease(release, FITS)
  await world.start(t)
  t.match(await world.deploy('r42'), { status: 200, body: { generation: 1 } })
  const { live } = await world.status()
  t.match(await world.get(), { status: 200, release: 'r42' })
  t.match(await world.deploy('r43'), { status: 200, body: { generation: 2 } })
  t.match(await world.get(), { status: 200, release: 'r43' })
  t.match(await world.rollback(), { status: 200, body: { generation: 3 } })
  t.equal((await world.status()).live?.pid, live?.pid)
})
