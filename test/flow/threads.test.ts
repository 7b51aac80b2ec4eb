// A whole slotgate whose front door runs on threads: a switch waits for each of them, or is refused.
import t from 'tap'
import { hang, watchThreads } from '../support/threads.ts'
import { World } from '../support/world.ts'

/** Longer than slotgate waits for a thread, by what a busy machine may take to ask it. */
const HANGS_MS = 6_000

const threads = watchThreads(t)
const world = await World.create(t)
world.settings = ['threads: 2']
await world.addRelease('r42', { min: 41, max: 43 })
await world.addRelease('r43', { min: 42, max: 43 })
await world.start(t)
await world.deploy('r42')
const [first] = threads.started
if (!first) throw new Error('there are no threads')

t.test('a thread that is stuck refuses a switch; once it is not, the same call succeeds', async (t) => {
  await world.stage('r43')
  await threads.run(first, hang(HANGS_MS))
  t.match(await world.promote(), {
    status: 503,
    body: {
      code: 'data_plane_not_ready',
      retryable: true,
      detail: /thread 0 of the front door did not answer within 2000 ms\. Nothing was switched/,
    },
  })
  t.match(await world.status(), {
    generation: 1,
    live: { release: 'r42' },
    idle: { release: 'r43', state: 'running' },
  })
  await world.until(async () => (await world.promote()).status === 200, 'the promotion')
  for (let request = 0; request < 20; request++) t.match(await world.get(), { status: 200, release: 'r43' })
})

t.test(
  'a live release that dies comes back although a thread is stuck, and the thread learns of it',
  async (t) => {
    const { live } = await world.status()
    await threads.run(first, hang(HANGS_MS))
    process.kill(live?.pid ?? 0, 'SIGKILL')
    await world.until(async () => (await world.status()).live?.restarts === 1, 'the restart')
    await world.until(async () => (await world.status()).live?.healthy, 'a healthy release')
    t.match(world.logLines.join('\n'), new RegExp(`the front door was not told of ${live?.slot}: thread 0`))
    for (let request = 0; request < 20; request++)
      t.match(await world.get(), { status: 200, release: live?.release })
  },
)

t.test('slotgate says how many threads it has, and ends with all of them', async (t) => {
  const world = await World.create(t)
  world.settings = ['threads: 3']
  const served = await world.spawn(t)
  t.match(
    world.logLines.find((line) => line.includes('slotgate is up')),
    /"threads":3\b/,
  )
  served.kill('SIGTERM')
  t.equal(await served.exited, 0)
})
