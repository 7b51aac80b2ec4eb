// The soak: slotgate as a process of its own, a mixed load, and a deploy every few seconds, for as long as is asked for.
//
//   node bench/soak.ts [--minutes 10] [--every 5] [--scale 1]
//
// Every ten seconds slotgate collects its garbage and says what is left. Prints one row each, then what it comes to: the
// memory after collection stays flat, so do the descriptors, the counters go back to zero, and no request failed. Exit
// code 1 if one of these is not so.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type Flip, violations } from '../test/support/flips.ts'
import { Load } from '../test/support/load.ts'
import { descriptorsOf, memoryOf } from '../test/support/proc.ts'
import { World } from '../test/support/world.ts'
import { tableOf } from './results.ts'
import { lengthenHistory } from './soak/history.ts'
import type { Collected } from './soak/memory.ts'
import { holdTunnels } from './soak/tunnels.ts'
import { short, whole } from './stats.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    every: { type: 'string', default: '5' },
    scale: { type: 'string', default: '1' },
  },
})
const MINUTES = Number(values.minutes)
const DEPLOY_EVERY_MS = Number(values.every) * 1000
const SCALE = Number(values.scale)

const LOOK_EVERY_MS = 10_000
const TUNNELS = 5
/** Longer than three deploys: several releases drain at the same time. */
const TUNNEL_MS = 18_000
/** Connections and code that stay by design are there by then; a leak goes on. */
const WARM_SHARE = 0.5
/** What memory may grow by in a minute, after collection: 9 bytes for each request at 234 a second. */
const HEAP_KIB_A_MINUTE = 128
const SHOWN = 20
/** Nothing goes on any more when nothing has changed for so many looks. */
const QUIET_LOOKS = 6
const QUIET_LOOK_MS = 1_000

interface Place {
  world: World
  /** slotgate's. */
  pid: number
  memoryFile: string
}

/** slotgate right after a collection. */
interface State {
  heapMiB: number
  externalMiB: number
  rssMiB: number
  descriptors: number
  claims: number
  draining: number
}

interface Look extends State {
  /** Since the load began. */
  seconds: number
  deploys: number
  requests: number
}

const undo: (() => unknown)[] = []
const scope = { teardown: (step?: () => unknown) => void (step && undo.push(step)) }
try {
  process.exitCode = (await soak()) ? 0 : 1
} finally {
  for (const step of undo.reverse()) await step()
}

/** What the soak saw. */
interface Seen {
  before: State
  looks: readonly Look[]
  after: State
  flips: readonly Flip[]
  requests: number
  sessions: number
  /** One line for each request that failed, or was answered by a release that had left. */
  wrong: readonly string[]
}

/** @returns whether all held */
async function soak(): Promise<boolean> {
  const place = await begin()
  const before = await restOf(place)
  console.log(`${MINUTES} minutes, a deploy every ${DEPLOY_EVERY_MS / 1000} s\n`)
  const used = await use(place)
  const seen = { ...used, before, after: await restOf(place) }
  for (const line of seen.wrong.slice(0, SHOWN)) console.error(line)
  const findings = findingsOf(seen)
  const rows = findings.map(({ what, found, isHeld }) => [
    what,
    found,
    isHeld === undefined ? '' : isHeld ? 'held' : '**not held**',
  ])
  console.log(`\n${tableOf({ columns: ['', '', ''], rows, isText: true })}`)
  return findings.every(({ isHeld }) => isHeld !== false)
}

/** slotgate, with two releases that were live, and a journal that remembers no more than it has already. */
async function begin(): Promise<Place> {
  const world = await World.create(scope)
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const memoryFile = join(world.folder, 'memory.json')
  writeFileSync(memoryFile, '')
  world.preload = join(import.meta.dirname, 'soak', 'memory.ts')
  world.serveEnv = { SOAK_MEMORY: memoryFile }
  const first = await world.spawn(scope)
  await world.deploy('r42')
  await world.deploy('r43')
  first.kill('SIGTERM')
  await first.exited
  await lengthenHistory(join(world.stateDir, 'journal.jsonl'))
  const { pid } = await world.spawn(scope)
  await world.until(async () => (await world.get()).release === 'r43', 'the live release is up')
  await world.stage('r42')
  return { world, pid, memoryFile }
}

/** The load and the deploys, for as long as they are asked for. */
async function use(place: Place): Promise<Omit<Seen, 'before' | 'after'>> {
  const { world } = place
  const load = new Load(world.url, SCALE)
  load.start()
  const tunnels = holdTunnels(world.url, TUNNELS, TUNNEL_MS)
  const flips: Flip[] = []
  const looks: Look[] = []
  const startedMs = performance.now()
  const endMs = startedMs + MINUTES * 60_000
  const looking = every(LOOK_EVERY_MS, endMs, async () => {
    const state = await lookAt(place)
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    const look = { ...state, seconds, deploys: flips.length, requests: load.samples.length }
    looks.push(look)
    console.log(lineOf(look))
  })
  const deploying = every(DEPLOY_EVERY_MS, endMs, async () => {
    flips.push(await deploy(world, flips.length % 2 ? 'r43' : 'r42'))
  })
  await Promise.all([looking, deploying])
  const samples = await load.stop()
  await tunnels.stop()
  const wrong = [...violations(samples, flips), ...tunnels.problems]
  return { looks, flips, requests: samples.length, sessions: tunnels.sessions, wrong }
}

interface Finding {
  what: string
  found: string
  /** Undefined where nothing is asked of it. */
  isHeld?: boolean
}

function findingsOf({ before, looks, after, flips, requests, sessions, wrong }: Seen): Finding[] {
  const steady = looks.slice(Math.floor(looks.length * WARM_SHARE))
  const heapSlope = slopeOf(steady, ({ heapMiB }) => heapMiB * 1024)
  const most = Math.max(...looks.map(({ descriptors }) => descriptors))
  const [from, to] = [steady[0], steady.at(-1)].map((look) => short(look?.heapMiB ?? Number.NaN))
  return [
    { what: 'deploys', found: whole(flips.length) },
    { what: 'requests', found: whole(requests) },
    { what: `WebSockets of ${TUNNEL_MS / 1000} s`, found: whole(sessions) },
    {
      what: 'failed, or answered by a release that had left',
      found: whole(wrong.length),
      isHeld: wrong.length === 0,
    },
    {
      what: 'heap after collection, all threads',
      found: `${from} to ${to} MiB, ${short(heapSlope)} KiB a minute (at most ${HEAP_KIB_A_MINUTE})`,
      isHeld: heapSlope <= HEAP_KIB_A_MINUTE,
    },
    {
      what: 'descriptors',
      // Under load they follow the load; what leaks is still open when it is over.
      found: `${before.descriptors} at rest before, ${after.descriptors} after; at most ${most}`,
      isHeld: after.descriptors <= before.descriptors,
    },
    {
      what: 'claims and drains at the end',
      found: `${after.claims} and ${after.draining}`,
      isHeld: after.claims === 0 && after.draining === 0,
    },
    {
      what: 'resident memory',
      found: `${short(before.rssMiB)} MiB before, ${short(after.rssMiB)} MiB after`,
    },
  ]
}

/** Does it at once and then each so many milliseconds, by schedule; what takes longer delays the next. */
async function every(ms: number, endMs: number, work: () => Promise<void>): Promise<void> {
  for (let dueMs = performance.now() + ms; dueMs <= endMs; dueMs += ms) {
    await pause(Math.max(0, dueMs - performance.now()))
    await work()
  }
}

async function deploy(world: World, release: string): Promise<Flip> {
  const calledAt = Date.now()
  const startedMs = performance.now()
  const { status, body } = await world.deploy(release)
  if (status !== 200) throw new Error(`a deploy was answered ${status}: ${JSON.stringify(body)}`)
  return {
    release,
    former: body.previous.release,
    calledAt,
    answeredAt: Date.now(),
    callMs: performance.now() - startedMs,
    tookMs: body.took_ms,
    drainedAt: null,
    drainMs: null,
  }
}

async function lookAt(place: Place): Promise<State> {
  const { world, pid } = place
  const { heapUsed, external } = await collect(place)
  const { live, idle, draining } = await world.status()
  const claimsOf = (of: { requests: number; tunnels: number } | undefined) =>
    (of?.requests ?? 0) + (of?.tunnels ?? 0)
  return {
    heapMiB: heapUsed / 2 ** 20,
    externalMiB: external / 2 ** 20,
    rssMiB: memoryOf(pid, 'VmRSS'),
    descriptors: descriptorsOf(pid),
    claims: [live?.claims, idle.claims, ...draining.map(({ claims }) => claims)]
      .map(claimsOf)
      .reduce((sum, count) => sum + count, 0),
    draining: draining.length,
  }
}

/** When nothing goes on: kept connections have been closed and drains have ended. */
async function restOf(place: Place): Promise<State> {
  let least = await lookAt(place)
  for (let quiet = 0; quiet < QUIET_LOOKS; ) {
    await pause(QUIET_LOOK_MS)
    const look = await lookAt(place)
    const isLess = look.descriptors < least.descriptors || look.claims < least.claims || look.draining > 0
    quiet = isLess ? 0 : quiet + 1
    least = look
  }
  return least
}

async function collect({ world, pid, memoryFile }: Place): Promise<Collected> {
  const read = (): Collected => JSON.parse(readFileSync(memoryFile, 'utf8') || '{"count":0}')
  const { count } = read()
  process.kill(pid, 'SIGUSR2')
  await world.until(async () => read().count > count, 'slotgate has collected its garbage')
  // The answers of the workers follow within moments.
  await pause(200)
  return read()
}

function lineOf({ seconds, deploys, requests, ...look }: Look): string {
  const memory = `heap ${short(look.heapMiB)} MiB, external ${short(look.externalMiB)} MiB, resident ${short(look.rssMiB)} MiB`
  return `${seconds} s: ${deploys} deploys, ${requests} requests, ${memory}, ${look.descriptors} descriptors, ${look.claims} claims, ${look.draining} draining`
}

/** By least squares, for each minute. */
function slopeOf(looks: readonly Look[], value: (look: Look) => number): number {
  const points = looks.map((look) => ({ x: look.seconds / 60, y: value(look) }))
  const mean = (pick: (point: { x: number; y: number }) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)]
  const spread = mean((point) => (point.x - x) ** 2)
  return spread === 0 ? 0 : mean((point) => (point.x - x) * (point.y - y)) / spread
}
