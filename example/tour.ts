// The story of slotgate, played for real and under load: each step says what it expects, and the tour fails if any step
// went otherwise.
import { setTimeout as pause } from 'node:timers/promises'
import { type Demo, migrate, type Ran } from './demo.ts'
import { startLoad } from './load.ts'

const REFUSED = 3
const AGAIN_WITHIN_MS = 15_000

class Surprise extends Error {}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new Surprise(`expected: ${what}`)
}

/** @returns the exit code: 0 if every step went as told and no request failed apart from the deliberate kills */
export async function play(demo: Demo, interrupted: AbortSignal): Promise<number> {
  const load = startLoad(demo.frontDoor)
  const started = performance.now()
  const { say } = demo
  let went = true
  try {
    for (const [index, { title, go }] of STEPS.entries()) {
      interrupted.throwIfAborted()
      say(`\n── ${index + 1}. ${title}`)
      await go(demo, load)
    }
  } catch (error) {
    went = false
    // What an interrupted step says of itself is about the interruption.
    if (interrupted.aborted) say('\nThe tour was interrupted.')
    else
      say(`\nThe tour went otherwise: ${error instanceof Surprise ? error.message : (error as Error).stack}`)
  }
  await load.stop()
  const seconds = Math.round((performance.now() - started) / 1000)
  const answers = Object.entries(load.answers).map(([release, count]) => `${release} ${count}`)
  say(`\n${load.sent} requests sent in ${seconds} s, answered by ${answers.join(', ')}.`)
  say(`${load.failed.length} failed, apart from ${load.failedInKills} during the two deliberate kills.`)
  for (const failure of load.failed.slice(0, 10)) say(`  ${failure}`)
  return went && load.failed.length === 0 ? 0 : 1
}

interface Step {
  title: string
  go(demo: Demo, load: ReturnType<typeof startLoad>): Promise<void>
}

const contains = ({ shown }: Ran, text: string): boolean => shown.includes(text)

async function expectLive({ ask, type }: Demo, release: string): Promise<void> {
  const { live } = await ask('status')
  expect(live.release === release, `${release} is live, not ${live.release}`)
  await type('status')
}

const STEPS: Step[] = [
  {
    title:
      'r2 needs the notes column, which is not there yet: the promotion is refused, the candidate stays up',
    async go(demo) {
      const ran = await demo.type('deploy', 'r2')
      expect(ran.code === REFUSED && contains(ran, 'schema_behind_code'), 'refused with schema_behind_code')
      await expectLive(demo, 'r1')
    },
  },
  {
    title:
      'The migration runs where it ships: on the candidate, over its internal port. slotgate never does that',
    async go(demo) {
      const { idle } = await demo.ask('status')
      await migrate(idle.internal_url, 2, demo.say)
    },
  },
  {
    title: 'Now it fits',
    async go(demo) {
      expect((await demo.type('promote')).code === 0, 'promoted')
      await expectLive(demo, 'r2')
    },
  },
  {
    title: 'The way back is open: r1 had declared that it works with schema 2, too',
    async go(demo) {
      expect((await demo.type('rollback')).code === 0, 'rolled back')
      await expectLive(demo, 'r1')
    },
  },
  {
    title: 'Forward again',
    async go(demo) {
      expect((await demo.type('promote')).code === 0, 'promoted')
    },
  },
  {
    title: 'r3 renames a column and works before and after: it goes live first, the migration comes later',
    async go(demo) {
      expect((await demo.type('deploy', 'r3')).code === 0, 'deployed')
      const { live } = await demo.ask('status')
      const advice = await demo.type('advice', '--to', '3')
      expect(
        advice.code === REFUSED && contains(advice, 'one_way_door'),
        'the migration would close the way back',
      )
      await migrate(live.internal_url, 3, demo.say)
      const { door } = await demo.ask('status')
      expect(door.open === false, 'the door is closed')
      await demo.type('status')
    },
  },
  {
    title:
      'The door is closed: neither r2, which is still running, nor r1, which is not even booted, knows schema 3',
    async go(demo) {
      const asked = await demo.type('rollback')
      expect(
        asked.code === REFUSED && contains(asked, 'schema_ahead_of_code'),
        'refused with schema_ahead_of_code',
      )
      const before = await countBoots(demo)
      const recorded = await demo.type('rollback', '--to', 'r1')
      expect(
        recorded.code === REFUSED && contains(recorded, 'schema_ahead_of_code'),
        'refused from the record',
      )
      expect((await countBoots(demo)) === before, 'nothing was booted')
      await expectLive(demo, 'r3')
    },
  },
  {
    title: 'A candidate whose health check never becomes good is not promoted',
    async go(demo) {
      const ran = await demo.type('deploy', 'r4-broken')
      expect(ran.code === 1 && contains(ran, 'printing service'), 'refused, with its last lines')
      await expectLive(demo, 'r3')
    },
  },
  {
    title: 'kill -9 of the live app: 503 while it is away, and it is started again',
    async go(demo, load) {
      const { live, generation } = await demo.ask('status')
      load.killing = true
      process.kill(live.pid, 'SIGKILL')
      demo.say(`\n$ kill -9 ${live.pid}`)
      await until(async () => (await statusOf(demo.frontDoor)) === 503, 'the front door answers 503')
      demo.say('  the front door answers 503')
      await until(async () => (await statusOf(demo.frontDoor)) === 200, 'the app is back')
      demo.say('  the app is back')
      load.killing = false
      const after = await demo.ask('status')
      expect(
        after.live.release === 'r3' && after.generation === generation,
        'the same release and generation',
      )
    },
  },
  {
    title:
      'kill -9 of slotgate itself: it comes back on the same pointer, and takes over the apps as they run',
    async go(demo, load) {
      const before = await demo.ask('status')
      load.killing = true
      demo.say('\n$ kill -9 of slotgate')
      await demo.killSlotgate()
      await demo.startSlotgate()
      await until(async () => (await statusOf(demo.frontDoor)) === 200, 'the app is back')
      load.killing = false
      const after = await demo.ask('status')
      expect(after.generation === before.generation, `generation ${before.generation}`)
      expect(
        after.live.release === before.live.release && after.live.slot === before.live.slot,
        'the same pointer',
      )
      expect(after.live.pid === before.live.pid, 'the same process')
      await demo.type('status')
      await demo.type('history', '--limit', '9')
    },
  },
]

async function countBoots({ ask }: Demo): Promise<number> {
  const { records } = await ask('history', '--limit', '1000')
  return records.filter(({ event }: { event: string }) => event === 'booting').length
}

/** @returns the status of a GET on a connection of its own; 0 when there was no answer */
const statusOf = (frontDoor: string): Promise<number> =>
  fetch(`${frontDoor}/invoices`, { headers: { connection: 'close' } }).then(
    async (response) => {
      await response.arrayBuffer()
      return response.status
    },
    () => 0,
  )

async function until(look: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = performance.now() + AGAIN_WITHIN_MS; performance.now() < end; await pause(50)) {
    if (await look()) return
  }
  throw new Surprise(`${what}, within ${AGAIN_WITHIN_MS / 1000} s`)
}
