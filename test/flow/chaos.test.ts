// Networks that fail in every way they have, on both sides of the front door: an answer may be lost, but never wrong, and
// nothing stays behind. CHAOS_SEED repeats a run's exchanges and faults, CHAOS_EXCHANGES makes it longer or shorter.
import '../support/without-domains.ts'
import t, { type Test } from 'tap'
import { startChaosApp } from '../support/chaos/app.ts'
import { Crowd, countOf, isHarmless, type Result } from '../support/chaos/client.ts'
import { ALL_KINDS } from '../support/chaos/plan.ts'
import { FAULTS, type Mix, startFaultProxy } from '../support/fault-proxy.ts'
import { startFront } from '../support/front.ts'
import { descriptorsOf, memoryOf } from '../support/proc.ts'
import { randomOf } from '../support/random.ts'

const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000)
const EXCHANGES = Number(process.env.CHAOS_EXCHANGES ?? 3_500)
const AT_ONCE = 64
/** What all of it may add to the memory of a process that has served a few hundred exchanges. */
const MEMORY_MIB = 250
/** Exchanges that have to succeed when the chaos is over. */
const AFTERMATH = 200

const CALM: Mix = {
  none: 4,
  latency: 1,
  slice: 1,
  bandwidth: 1,
  reset: 0,
  truncate: 0,
  halfClose: 0,
  blackHole: 0,
  stall: 0,
}
const ROUGH: Mix = { ...CALM, none: 8, reset: 1, truncate: 1, halfClose: 1, blackHole: 0.5, stall: 0.5 }
const NO_FAULTS: Mix = { ...CALM, latency: 0, slice: 0, bandwidth: 0 }

/** Short, so that black holes end soon; long enough for a machine that runs other tests, too. */
const RELAY = [
  'relay:',
  '  head_timeout: 5s',
  '  keep_alive_timeout: 5s',
  '  stall_timeout: 5s',
  '  connect_timeout: 3s',
  '  upstream_timeout: 5s',
  '  upstream_idle: 400ms',
  '  tunnel_idle: 5s',
]

/** slotgate in a process of its own, between two proxies that fail. */
async function start(t: Test) {
  t.comment(`CHAOS_SEED=${SEED}`)
  const app = await startChaosApp(t, SEED)
  const inner = await startFaultProxy(t, () => app.port, randomOf(SEED + 1), NO_FAULTS)
  const ports = { public: inner.port, internal: app.port }
  const { world, served } = await startFront(t, ports, ['threads: 2', ...RELAY])
  const outer = await startFaultProxy(t, () => world.doors.frontDoor.port, randomOf(SEED + 2), NO_FAULTS)
  return { app, inner, outer, world, served }
}

type Scene = Awaited<ReturnType<typeof start>>

/** Runs exchanges through the mix, each with a number of its own. */
async function run({ inner, outer }: Scene, mix: Mix, from: number, count: number): Promise<Crowd> {
  inner.mix = mix
  outer.mix = mix
  return new Crowd({
    seed: SEED,
    from,
    count,
    atOnce: AT_ONCE,
    proxy: outer,
    random: randomOf(SEED + from),
  }).run()
}

t.test('through networks that fail in every way, no answer is wrong and nothing stays behind', async (t) => {
  const scene = await start(t)
  const { app, inner, outer, world, served } = scene
  const begun = performance.now()
  const told = (what: string) => t.comment(`${what} (${((performance.now() - begun) / 1_000).toFixed(1)} s)`)

  const memory = () => memoryOf(served.pid, 'VmHWM')
  const warm = await run(scene, NO_FAULTS, 0, AFTERMATH)
  t.same(explain(failuresOf(warm), world.logLines), [], 'without faults everything succeeds')
  await world.until(async () => inner.open + outer.open === 0, 'idle connections are closed')
  const descriptors = descriptorsOf(served.pid)
  const given = () =>
    world.until(async () => descriptorsOf(served.pid) <= descriptors, 'all descriptors are given back')
  const memoryBefore = memory()
  told(`${descriptors} descriptors, ${memoryBefore.toFixed(0)} MiB`)

  const calm = await run(scene, CALM, 1_000_000, Math.floor(EXCHANGES * 0.3))
  t.same(explain(failuresOf(calm), world.logLines), [], 'what is only slow or cut into pieces succeeds')
  await given()
  told(`${calm.results.length} calm exchanges`)

  app.isRude = true
  const rough = await run(scene, ROUGH, 2_000_000, Math.ceil(EXCHANGES * 0.7))
  app.isRude = false
  await given()
  t.same(explain(rough.violations, world.logLines), [], 'no answer is wrong')
  t.same(app.violations, [], 'no request is wrong')
  told(`${rough.results.length} rough exchanges: ${tallyOf(rough.results)}`)
  checkScope(t, rough.results)
  for (const kind of FAULTS)
    t.ok(inner.drawn[kind] > 0 && outer.drawn[kind] > 0, `the fault ${kind} struck on both sides`)

  const after = await run(scene, NO_FAULTS, 3_000_000, AFTERMATH)
  t.same(explain(failuresOf(after), world.logLines), [], 'when it is over everything succeeds again')
  const all = [warm, calm, rough, after].flatMap(({ results }) => results)
  t.same(deliveredTooOften(app.delivered, all), [], 'nothing is delivered more often than it may be')

  await given()
  await world.until(async () => {
    const { requests, tunnels } = (await world.status()).live?.claims ?? {}
    return requests === 0 && tunnels === 0
  }, 'all claims are given back')
  checkLog(t, world.logLines, all)
  told(`${memory().toFixed(0)} MiB at most`)
  t.ok(memory() < memoryBefore + MEMORY_MIB, 'the memory is bounded')
  served.kill('SIGTERM')
  t.equal(await served.exited, 0, 'it lives, and ends when it is told to')
})

/** Violations, and whatever was not answered by the app. */
const failuresOf = ({ results, violations }: Crowd): string[] => [
  ...violations,
  ...results
    .filter(({ outcome }) => outcome !== 'whole' && outcome !== 'left')
    .map(({ plan, outcome, status, end, fault: { kind, way, amount } }) => {
      const how = status ?? end
      return `${plan.id} (${plan.kind}) was ${outcome}, ${how}, with the fault ${kind} ${way} ${amount}`
    }),
]

/** With what slotgate's log has to say of each. */
const explain = (violations: readonly string[], lines: readonly string[]): string[] =>
  violations.map((violation) => {
    const id = `"${violation.split(' ', 1)[0]}"`
    return [violation, ...lines.filter((line) => line.includes(id))].join('; ')
  })

function tallyOf(results: readonly Result[]): string {
  const outcomes = ['whole', 'refused', 'cut', 'left', 'silent'] as const
  return outcomes.map((outcome) => `${countOf(results, outcome)} ${outcome}`).join(', ')
}

/** A run in which everything fails proves nothing. */
function checkScope(t: Test, results: readonly Result[]): void {
  t.ok(countOf(results, 'whole') > results.length / 2, 'most exchanges succeed all the same')
  for (const outcome of ['refused', 'cut', 'left', 'silent'] as const)
    t.ok(countOf(results, outcome) > 0, `some are ${outcome}`)
  for (const kind of ALL_KINDS) {
    const succeeded = results.some(({ plan, outcome }) => plan.kind === kind && /whole|left/.test(outcome))
    t.ok(succeeded, `${kind} is part of it`)
  }
  t.ok(
    results.filter(isHarmless).some(({ outcome }) => outcome === 'refused'),
    'the side of the app fails, too',
  )
}

/** Once; twice only what is idempotent and has no body (DESIGN §7). */
function deliveredTooOften(delivered: ReadonlyMap<number, number>, results: readonly Result[]): string[] {
  return results.flatMap(({ plan }) => {
    const times = delivered.get(plan.nth) ?? 0
    const isRepeatable = (plan.method === 'GET' || plan.method === 'HEAD') && plan.kind !== 'webSocket'
    return times > (isRepeatable ? 2 : 1) ? [`${plan.id} (${plan.kind}) was delivered ${times} times`] : []
  })
}

type Entry = Record<string, unknown>

/** Each request is in the log, once and as its client saw it; and nothing in it speaks of a fault of slotgate's own. */
function checkLog(t: Test, lines: readonly string[], results: readonly Result[]): void {
  const entries = lines.map((line) => JSON.parse(line) as Entry)
  const own = ({ level, code }: Entry) => level === 'error' || level === 'fatal' || code === 'internal_error'
  t.same(entries.filter(own), [], 'slotgate found no fault in itself')
  const logged = Map.groupBy(
    entries.filter(({ msg }) => msg === 'exchange'),
    ({ request_id }) => request_id,
  )
  const wrong = results.flatMap((result) => {
    const contradiction = contradictionOf(result, logged.get(result.plan.id) ?? [])
    return contradiction ? [`${result.plan.id} (${result.plan.kind}) was ${contradiction}`] : []
  })
  t.same(wrong, [], 'the log says what the clients saw')
}

/** What the log says of an exchange that its client saw otherwise. */
function contradictionOf(result: Result, entries: readonly Entry[]): string | undefined {
  const { plan, outcome, status, end, isPipelined } = result
  const [entry] = entries
  if (entries.length > 1) return `logged ${entries.length} times`
  // The head of a request that was cut in it has no id to be logged with.
  if (status === 400 || status === 408) return
  if (status !== undefined && outcome !== 'left' && entry?.status !== status)
    return `answered with ${status}, logged with ${entry?.status}`
  // A tunnel that its app ends is not cut by slotgate; anything else that was delivered must have arrived.
  const mayBeLost = plan.kind === 'webSocket' || isPipelined || !isHarmless(result)
  const lost = outcome === 'cut' && !mayBeLost
  if (lost && entry && entry.code === undefined)
    return `cut (${end}), logged as delivered with ${entry.status}`
}
