// Zero failed requests across flips: switches back and forth under an open-loop load of every kind. `npm run bench`
// does the same for longer and prints figures.
import t from 'tap'
import { switchOften, violations } from '../support/flips.ts'
import { KINDS, Load } from '../support/load.ts'
import { World } from '../support/world.ts'

const FLIPS = 12
/** Of the bench's rate; the rest of the machine runs other tests. */
const SCALE = 0.5

t.test('across switches under load no request fails, and none reaches a release that had left', async (t) => {
  const world = await World.create(t)
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  world.settings = ['threads: 2']
  await world.spawn(t)
  await world.deploy('r42')
  await world.deploy('r43')
  const load = new Load(world.url, SCALE)
  load.start()
  const flips = await switchOften(world, FLIPS)
  const samples = await load.stop()
  t.equal(flips.length, FLIPS)
  t.same(violations(samples, flips), [])
  for (const kind of KINDS) {
    t.ok(
      samples.some((sample) => sample.kind === kind),
      `${kind} was part of the load`,
    )
  }
  for (const release of ['r42', 'r43']) {
    t.ok(
      samples.some((sample) => sample.release === release),
      `${release} answered`,
    )
  }
  t.ok(
    flips.some(({ drainedAt }) => drainedAt !== null),
    'releases were drained while the load went on',
  )
  const { generation, live } = await world.status()
  t.match({ generation, release: live?.release }, { generation: 2 + FLIPS, release: flips.at(-1)?.release })
})
