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
/** Connections, code and records of the journal that stay by design are there by then. */
const WARM_SHARE = 0.3
/**
 * What memory may grow by in a minute, after collection: 40 bytes for each request at 234 a second. The journal keeps its
 * last 10,000 records in memory, about 20 KiB for each deploy, which is half of it.
 */
const HEAP_KIB_A_MINUTE = 512
/** Of sockets that come and go, a few more or less are open at the moment of a look. */
const DESCRIPTORS_A_MINUTE = 2
const SHOWN = 20

interface Look {
  seconds: number
  heapMiB: number
  externalMiB: number
  rssMiB: number
  descriptors: number
  claims: number
  draining: number
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

/** @returns whether all held */
async function soak(): Promise<boolean> {
  const world = await World.create(scope)
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const memoryFile = join(world.folder, 'memory.json')
  writeFileSync(memoryFile, '')
  world.preload = join(import.meta.dirname, 'soak', 'memory.ts')
  world.serveEnv = { SOAK_MEMORY: memoryFile }
  const { pid } = await world.spawn(scope)
  await world.deploy('r42')
  await world.deploy('r43')
  const before = await restOf(world, pid, memoryFile)

  console.log(`${MINUTES} minutes, a deploy every ${DEPLOY_EVERY_MS / 1000} s\n`)
  const load = new Load(world.url, SCALE)
  load.start()
  const tunnels = holdTunnels(world.url, TUNNELS, TUNNEL_MS)
  const flips: Flip[] = []
  const looks: Look[] = []
  const startedMs = performance.now()
  const endMs = startedMs + MINUTES * 60_000
  const looking = every(LOOK_EVERY_MS, endMs, async () => {
    const look = {
      ...(await lookAt(world, pid, memoryFile)),
      seconds: Math.round((performance.now() - startedMs) / 1000),
      deploys: flips.length,
      requests: load.samples.length,
    }
    looks.push(look)
    console.log(lineOf(look))
  })
  const deploying = every(DEPLOY_EVERY_MS, endMs, async () => {
    flips.push(await deploy(world, flips.length % 2 ? 'r43' : 'r42'))
  })
  await Promise.all([looking, deploying])
  const samples = await load.stop()
  await tunnels.stop()

  const after = await restOf(world, pid, memoryFile)
  const wrong = [...violations(samples, flips), ...tunnels.problems]
  for (const line of wrong.slice(0, SHOWN)) console.error(line)
  const steady = looks.slice(Math.floor(looks.length * WARM_SHARE))
  const heapSlope = slopeOf(steady, ({ heapMiB }) => heapMiB * 1024)
  const descriptorSlope = slopeOf(steady, ({ descriptors }) => descriptors)
  const held = {
    memory: heapSlope <= HEAP_KIB_A_MINUTE,
    descriptors: descriptorSlope <= DESCRIPTORS_A_MINUTE && after.descriptors <= before.descriptors,
    counters: after.claims === 0 && after.draining === 0,
    requests: wrong.length === 0,
  }
  const said = (isSo: boolean) => (isSo ? 'held' : '**not held**')
  const rows = [
    ['deploys', whole(flips.length), ''],
    ['requests', whole(samples.length), ''],
    [`WebSockets of ${TUNNEL_MS / 1000} s`, whole(tunnels.sessions), ''],
    ['failed, or answered by a release that had left', whole(wrong.length), said(held.requests)],
    [
      'heap after collection, all threads',
      `${short(steady[0]?.heapMiB ?? Number.NaN)} to ${short(steady.at(-1)?.heapMiB ?? Number.NaN)} MiB, ${short(heapSlope)} KiB a minute (at most ${HEAP_KIB_A_MINUTE})`,
      said(held.memory),
    ],
    [
      'descriptors',
      `${before.descriptors} before, at most ${Math.max(...looks.map(({ descriptors }) => descriptors))}, ${after.descriptors} after; ${short(descriptorSlope)} a minute (at most ${DESCRIPTORS_A_MINUTE})`,
      said(held.descriptors),
    ],
    ['claims and drains at the end', `${after.claims} and ${after.draining}`, said(held.counters)],
    ['resident memory', `${short(before.rssMiB)} MiB before, ${short(after.rssMiB)} MiB after`, ''],
  ]
  console.log(`\n${tableOf({ columns: ['', '', ''], rows, isText: true })}`)
  return Object.values(held).every(Boolean)
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

async function lookAt(world: World, pid: number, file: string) {
  const { heapUsed, external } = await collect(world, pid, file)
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
async function restOf(world: World, pid: number, file: string) {
  let least = await lookAt(world, pid, file)
  for (let quiet = 0; quiet < 6; ) {
    await pause(1000)
    const look = await lookAt(world, pid, file)
    const isLess = look.descriptors < least.descriptors || look.claims < least.claims || look.draining > 0
    quiet = isLess ? 0 : quiet + 1
    least = look
  }
  return least
}

async function collect(world: World, pid: number, file: string): Promise<Collected> {
  const read = (): Collected => JSON.parse(readFileSync(file, 'utf8') || '{"count":0}')
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
