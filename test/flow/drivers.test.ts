// Releases that slotgate boots as processes: from folders, and from the commits of a repository.
import { join } from 'node:path'
import t from 'tap'
import { testDriver } from '../support/driver-tests.ts'
import { Repository } from '../support/repository.ts'
import { type Manners, World } from '../support/world.ts'

const node = [process.execPath]

testDriver(t, {
  name: 'process',
  bootsWithinS: 6,
  async create(t) {
    const world = await World.create(t)
    const addRelease = async (id: string, manners: Manners) => {
      await world.addRelease(id, manners)
      return id
    }
    return { world, node, addRelease }
  },
})

testDriver(t, {
  name: 'git',
  bootsWithinS: 6,
  async create(t) {
    const world = await World.create(t)
    const repository = await Repository.create(join(world.folder, 'repo'))
    world.driver = ['driver: git', 'repo: repo']
    return { world, node, addRelease: (_, manners) => repository.commit(manners) }
  },
})
