// Kills slotgate with SIGKILL at random moments of switches, under traffic, and starts it again: the pointer is the one before
// or after, after if the caller had been told so; the journal is whole; what is in the slots was taken over, and nothing
// else that was booted is left over; no request is lost but on connections of the slotgate that was killed.
import { randomInt } from 'node:crypto'
import { watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { JournalRecord, JournalState } from '../../src/journal/record.ts'
import { recover } from '../../src/journal/recover.ts'
import { startTimeOf } from '../../src/slots/proc.ts'
import { type Answer, type Served, World } from '../support/world.ts'

/** How many worlds are killed at once, and how often each: every lane takes a start or two before its first kill. */
const LANES = { slots: 1, process: 1 } as const
/** The long run: KILLS=1000 TAP_TIMEOUT=7200 in the environment. */
const KILLS_PER_LANE = Math.ceil(Number(process.env.KILLS ?? 10) / (LANES.slots + LANES.process))

const QUICK_APP = fileURLToPath(new URL('../support/quick-app.ts', import.meta.url))
const seed = Number(process.env.KILLS_SEED ?? randomInt(2 ** 31))
// A run is repeated, as far as its machine allows, by KILLS_SEED=… in the environment.
t.comment(`KILLS_SEED=${seed}`)

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function createRandom(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How the kills of one lane ended. */
interface Tally {
  /** The pointer did not move. */
  before: number
  /** It moved, but slotgate died before it could say so. */
  untold: number
  /** It moved, and the caller knew. */
  told: number
  /** Requests that were answered, and those that ended with the slotgate they had been sent to. */
  answered: number
  lost: number
  problems: string[]
}

interface Lane {
  world: World
  random: () => number
  tally: Tally
  traffic: Traffic
  /** How many records are written during a switch at most. */
  records: number
  /** Whether its first kill comes at once and its last after the answer, so that both sides of a flip are seen in each run. */
  hasBothSides: boolean
  /** Calls a switch that can succeed. */
  act(state: Pointed): () => Promise<Answer>
  /** What else must hold once slotgate is up again. */
  look(): Promise<string[]>
}

/** The part of the state that a switch moves. */
type Pointed = JournalState['services'][string]

interface Journaled {
  records: JournalRecord[]
  state: Pointed
  open: JournalState['open']
}

async function readJournal(world: World): Promise<Journaled> {
  const file = join(world.stateDir, 'journal.jsonl')
  const { records, state } = recover(await readFile(file), file)
  const { invoices } = state.services
  if (!invoices) throw new Error('the journal does not know the service')
  return { records, state: invoices, open: state.open }
}

const pointerOf = ({ generation, live }: Pointed) => `${generation} ${live?.slot} ${live?.release}`

/** One switch, killed on the way, and everything that must hold then. @returns the slotgate that was started again */
async function killOnce(t: Test, lane: Lane, served: Served, when: Moment): Promise<Served> {
  const { world, tally } = lane
  const before = await readJournal(world)
  const answer = await killDuring(lane.act(before.state), served, lane.traffic, when)
  const after = await readJournal(world)
  const moved = after.state.generation - before.state.generation
  const problem = (text: string) => tally.problems.push(`${text} (after ${pointerOf(before.state)})`)
  if (moved !== 0 && moved !== 1) problem(`the pointer is at ${pointerOf(after.state)}`)
  if (moved === 0 && pointerOf(after.state) !== pointerOf(before.state))
    problem('the pointer changed its slot')
  if (answer) {
    const { status, body } = answer
    if (status !== 200) problem(`the switch was answered ${status} ${JSON.stringify(body)}`)
    else if (`${body.generation} ${body.live.slot} ${body.live.release}` !== pointerOf(after.state))
      problem(`the caller was told ${JSON.stringify(body.live)}, the journal says ${pointerOf(after.state)}`)
  }
  tally[moved === 0 ? 'before' : answer ? 'told' : 'untold']++

  const next = await world.spawn(t)
  lane.traffic.begin()
  const { generation, live, idle } = await world.status()
  const pointed = `${generation} ${live?.slot} ${live?.release}`
  if (pointed !== pointerOf(after.state)) problem(`it came up at ${pointed}, not ${pointerOf(after.state)}`)
  const inSlots = [live, idle].map((slot) => slot?.pid ?? null)
  for (const text of [
    ...(await leftOver(world, after.records, { owner: next.pid, inSlots })),
    ...notTakenOver(after, inSlots),
    ...(await lane.look()),
  ])
    problem(text)
  return next
}

/** Resolves when the kill is to come, during or after a switch. */
type Moment = (answered: Promise<unknown>) => Promise<unknown>

const atOnce: Moment = () => Promise.resolve()
const afterTheAnswer: Moment = (answered) => answered

/** Kills at the moment. @returns the answer, if the caller got one */
async function killDuring(
  call: () => Promise<Answer>,
  served: Served,
  traffic: Traffic,
  when: Moment,
): Promise<Answer | null> {
  const called = call().catch(() => null)
  await when(called)
  traffic.kill()
  served.kill('SIGKILL')
  await served.exited
  return called
}

/**
 * One half of the kills falls anywhere in a switch and the moments after it; the other right after the journal grew,
 * by one of the switch's records, where the interesting moments are.
 */
function anyMoment({ world, random, records }: Lane, typicalMs: number): Moment {
  const anywhereMs = random() * 1.2 * typicalMs
  const growth = 1 + Math.floor(random() * records)
  const laterMs = random() < 0.5 ? 0 : random() * 4
  if (random() < 0.5) return () => pause(anywhereMs)
  return async (answered) => {
    await growthOf(join(world.stateDir, 'journal.jsonl'), growth, answered)
    if (laterMs > 0) await pause(laterMs)
  }
}

/** Resolves when a file was written to so many times, or when there is no more reason to wait. */
async function growthOf(file: string, times: number, enough: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = times
  const watcher = watch(file, () => --left === 0 && resolve())
  await Promise.race([promise, enough])
  watcher.close()
}

/** What a slotgate that was killed had booted is in a slot or gone, whether or not its journal knew of it. */
async function leftOver(
  world: World,
  former: readonly JournalRecord[],
  { owner, inSlots }: { owner: number; inSlots: readonly (number | null)[] },
): Promise<string[]> {
  const known = former.filter(({ event, pid }) => event === 'booting' && !inSlots.includes(Number(pid)))
  const alive = await Promise.all(
    known.map(async ({ pid, start_time }) => ((await startTimeOf(Number(pid))) === start_time ? [pid] : [])),
  )
  const orphans = (await bootedFor(world)).filter(
    ({ pid, parent }) => parent !== owner && !inSlots.includes(pid),
  )
  return [
    ...alive.flat().map((pid) => `process ${pid}, which the journal knows, is still there`),
    ...orphans.map(({ pid, parent }) => `process ${pid} is left over; its parent is ${parent}`),
  ]
}

/** Whoever the journal says was in a slot is there again; nobody killed it. */
function notTakenOver({ state, open }: Journaled, inSlots: readonly (number | null)[]): string[] {
  return Object.entries(state.boots).flatMap(([slot, { bootId }]) => {
    const pid = open[bootId]?.pid ?? null
    return pid === null || inSlots.includes(pid) ? [] : [`process ${pid} of ${slot} was not taken over`]
  })
}

const newSlotgate = () => ({ killed: false, replaced: Promise.withResolvers<void>() })
const BETWEEN_REQUESTS_MS = 10

/** Asks the front door all the time, and knows which slotgate each request was sent to. */
class Traffic {
  readonly #world: World
  readonly #tally: Tally
  #sentTo = newSlotgate()
  #on = true
  readonly #ended: Promise<unknown>

  constructor(world: World, tally: Tally) {
    this.#world = world
    this.#tally = tally
    this.#ended = Promise.all([this.#send(), this.#send()])
  }

  /** A slotgate is up. */
  begin(): void {
    const former = this.#sentTo
    this.#sentTo = newSlotgate()
    former.replaced.resolve()
  }

  /** It is about to be killed. */
  kill(): void {
    this.#sentTo.killed = true
  }

  async end(): Promise<void> {
    this.#on = false
    this.#sentTo.replaced.resolve()
    await this.#ended
  }

  async #send(): Promise<void> {
    while (this.#on) {
      const sentTo = this.#sentTo
      await this.#world.get().then(
        ({ status }) => {
          this.#tally.answered++
          if (status !== 200) this.#tally.problems.push(`a request was answered ${status}`)
        },
        (error) => {
          this.#tally.lost++
          if (!sentTo.killed) this.#tally.problems.push(`a request was lost: ${error}`)
          return sentTo.killed ? sentTo.replaced.promise : undefined
        },
      )
      await pause(BETWEEN_REQUESTS_MS)
    }
  }
}

/** The processes that carry the world's state folder in their environment (proc(5)). */
async function bootedFor({ stateDir }: World): Promise<{ pid: number; parent: number }[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
      if (!environment.split('\0').includes(`SLOTGATE_STATE_DIR=${stateDir}`)) return []
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      return [{ pid: Number(pid), parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) }]
    }),
  )
  return found.flat()
}

/** Kills a lane as often as asked; the time of a switch left alone says where the kills may fall. */
async function killOften(t: Test, lane: Lane, first: Served, kills: number): Promise<void> {
  const { state } = await readJournal(lane.world)
  const startedMs = performance.now()
  const { status, body } = await lane.act(state)()
  const typicalMs = performance.now() - startedMs
  if (status !== 200) throw new Error(JSON.stringify(body))
  let served = first
  const momentOf = (kill: number): Moment => {
    if (lane.hasBothSides && kill === 0) return atOnce
    return lane.hasBothSides && kill === kills - 1 ? afterTheAnswer : anyMoment(lane, typicalMs)
  }
  for (let kill = 0; kill < kills; kill++) served = await killOnce(t, lane, served, momentOf(kill))
  await lane.traffic.end()
  served.kill('SIGTERM')
  await served.exited
  for (const { pid } of await bootedFor(lane.world))
    lane.tally.problems.push(`process ${pid} outlives slotgate`)
}

const emptyTally = (): Tally => ({ before: 0, untold: 0, told: 0, answered: 0, lost: 0, problems: [] })

function check(t: Test, what: keyof typeof LANES, tallies: readonly Tally[]): void {
  const sum = (kind: 'before' | 'untold' | 'told') => tallies.reduce((total, tally) => total + tally[kind], 0)
  const [before, untold, told] = [sum('before'), sum('untold'), sum('told')]
  t.comment(
    `${what}: ${before} kills before the flip, ${untold} after it and before the answer, ${told} after the answer`,
  )
  const requests = tallies.reduce((total, { answered }) => total + answered, 0)
  const lost = tallies.reduce((total, tally) => total + tally.lost, 0)
  t.comment(`${what}: ${requests} requests answered, ${lost} ended with the slotgate they were sent to`)
  t.same(
    tallies.flatMap(({ problems }) => problems),
    [],
  )
  t.equal(before + untold + told, tallies.length * KILLS_PER_LANE)
}

async function listen(t: Test, answer: RequestListener): Promise<string> {
  const server: Server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address ? address.port : 0}`
}

const STATUS = {
  current_schema_version: 42,
  code_min_schema_version: 41,
  code_max_schema_version: 43,
  compatible: true,
}

const slot = async (t: Test, name: string) => ({
  public: await listen(t, (_, response) => response.setHeader('x-release', name).end()),
  internal: await listen(t, (_, response) => response.end(JSON.stringify(STATUS))),
})

async function slotsLane(t: Test, lane: number, tally: Tally): Promise<[Lane, Served]> {
  const world = await World.create(t)
  const slots = JSON.stringify({ blue: await slot(t, 'blue'), green: await slot(t, 'green') })
  world.services = ['  invoices:', `    slots: ${slots}`]
  const served = await world.spawn(t)
  await world.promote()
  const random = createRandom(seed + lane)
  const back = (state: Pointed) => state.previous.length > 0 && random() < 0.5
  return [
    {
      world,
      random,
      tally,
      traffic: new Traffic(world, tally),
      records: 1,
      hasBothSides: true,
      act: (state) => (back(state) ? () => world.rollback() : () => world.promote()),
      async look() {
        const { status, release } = await world.get()
        const { live } = (await readJournal(world)).state
        return status === 200 && release === live?.slot
          ? []
          : [`the front door answers ${status} from ${release}`]
      },
    },
    served,
  ]
}

async function processLane(t: Test, lane: number, tally: Tally): Promise<[Lane, Served]> {
  const world = await World.create(t)
  world.command = [process.execPath, QUICK_APP]
  world.service = ['drain: { within: 2s }']
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const first = await world.spawn(t)
  await world.deploy('r42')
  first.kill('SIGKILL')
  await first.exited
  // The switch that says how long one takes comes right after a start, as those that are killed do.
  const served = await world.spawn(t)
  const random = createRandom(seed + lane)
  const back = (state: Pointed) => state.previous.length > 0 && random() < 0.4
  const other = ({ live }: Pointed) => (live?.release === 'r42' ? 'r43' : 'r42')
  return [
    {
      world,
      random,
      tally,
      traffic: new Traffic(world, tally),
      // Booting and booted for the live release and for the other one, staged, and flipped.
      records: 6,
      hasBothSides: false,
      act: (state) => (back(state) ? () => world.rollback() : () => world.deploy(other(state))),
      look: async () => [],
    },
    served,
  ]
}

t.test(
  `${LANES.slots * KILLS_PER_LANE} kills during switches of slots that something else runs, and ${LANES.process * KILLS_PER_LANE} of releases that slotgate boots`,
  async (t) => {
    const tallies = {
      slots: Array.from({ length: LANES.slots }, emptyTally),
      process: Array.from({ length: LANES.process }, emptyTally),
    }
    await Promise.all([
      ...tallies.slots.map(async (tally, lane) =>
        killOften(t, ...(await slotsLane(t, lane, tally)), KILLS_PER_LANE),
      ),
      ...tallies.process.map(async (tally, lane) =>
        killOften(t, ...(await processLane(t, LANES.slots + lane, tally)), KILLS_PER_LANE),
      ),
    ])
    check(t, 'slots', tallies.slots)
    check(t, 'process', tallies.process)
    const all = [...tallies.slots, ...tallies.process]
    t.ok(
      all.some(({ before }) => before > 0),
      'some came before the flip',
    )
    t.ok(
      all.some(({ untold, told }) => untold + told > 0),
      'some came after it',
    )
  },
)
