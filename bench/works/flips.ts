// Switches while requests come at a high rate: how long one takes until the new slot has traffic, and that none of a
// million requests notices.
import { setTimeout as pause } from 'node:timers/promises'
import { browserRequest, SLOT_BYTES } from '../canned.ts'
import { clockMs } from '../clock.ts'
import type { Lane } from '../load/lane.ts'
import { runOpen, type Watcher } from '../load/open.ts'
import { TWO_CORES } from '../machine.ts'
import { type AppNotes, notesOf } from '../notes.ts'
import { AdminCaller, startSlotgate } from '../slotgate.ts'
import { type Ground, newPlace } from '../start.ts'
import { quantile, short, whole } from '../stats.ts'
import { membersOf } from '../usage.ts'
import type { Task, Work } from './work.ts'

const THREADS = 2
const WARM_MS = 2000
/** Half of what the two cores can do: beyond, everybody waits for a core, and a switch with them. */
const SHAPE = { perSecond: 5000, flips: 210, everyMs: 960 }
const QUICK_SHAPE = { perSecond: 5000, flips: 20, everyMs: 250 }

export const FLIPS: Work = { name: 'flips', run }

/** One switch by its caller's clock, which is the app's, too. */
interface Flip {
  calledMs: number
  answeredMs: number
  /** The slot that took the traffic, as the first byte of what it answers. */
  to: number
}

interface Shape {
  perSecond: number
  flips: number
  everyMs: number
}

async function run({ ground, proxies, isQuick, figures }: Task) {
  if (!proxies.some(({ name }) => name === 'slotgate')) return null
  const shape = isQuick ? QUICK_SHAPE : SHAPE
  const { flips, refusalsMs, sent, failed, latenciesMs, notes } = await measure(ground, shape)
  const timings = flips.map((flip) => timingOf(flip, notes))
  const spread = (values: readonly number[]) =>
    [0.5, 0.99, 1].map((rank) => `${short(quantile(values, rank))} ms`)
  const without = timings.map(({ firstMs, readMs }) => firstMs - readMs)
  figures.set('flips p99', 'slotgate', quantile(without, 0.99))
  figures.set('flips failed', 'slotgate', failed)
  figures.set('flips count', 'slotgate', flips.length)
  figures.set('flips requests', 'slotgate', sent)
  return {
    title: 'Switching under load',
    about: `${whole(flips.length)} promotions, one every ${shape.everyMs} ms, with ${THREADS} threads and ${whole(shape.perSecond)} small GETs a second: **${whole(failed)} of ${whole(sent)} requests
failed**, or were answered by the slot that had left. The call counts from the moment it is sent, signed, on a connection that is open; the
first request is the first that the app in the new slot reads. Between them the gate asks the new slot for its health; *its own reads* is that
time as the app sees it, from the connection to the answer. What any signed call costs here is shown by one that is refused at once: from
sleeping processes that have to be woken, mostly.`,
    columns: ['', 'p50', 'p99', 'highest'],
    rows: [
      ['call to first request on the new slot', ...spread(timings.map(({ firstMs }) => firstMs))],
      ["of that, the gate's own reads", ...spread(timings.map(({ readMs }) => readMs))],
      ["call to first request, without the gate's own reads", ...spread(without)],
      ['call to its answer', ...spread(flips.map(({ calledMs, answeredMs }) => answeredMs - calledMs))],
      ['a call that is refused at once, meanwhile', ...spread(refusalsMs)],
      ['latency of the requests meanwhile', ...spread(latenciesMs)],
    ],
  }
}

interface Outcome {
  flips: Flip[]
  refusalsMs: number[]
  sent: number
  failed: number
  latenciesMs: number[]
  notes: AppNotes
}

async function measure(ground: Ground, { perSecond, flips: count, everyMs }: Shape): Promise<Outcome> {
  const place = await newPlace(ground, 'flips', { cores: TWO_CORES, threads: THREADS })
  const slotgate = await startSlotgate(place, { accessLog: false })
  const caller = new AdminCaller(slotgate)
  const expectation = new Expectation()
  const load = {
    request: browserRequest('GET', '/slot'),
    bodyBytes: SLOT_BYTES,
    connectsEach: false,
    perSecond,
  }
  try {
    const window = { pids: membersOf(slotgate.pid), warmMs: WARM_MS, measureMs: count * everyMs }
    const [measured, { flips, refusalsMs }] = await Promise.all([
      runOpen({ ...load, port: place.port }, window, expectation),
      flipOften(caller, expectation, { count, everyMs }),
    ])
    const { failed, misrouted, unanswered, sent, latenciesMs } = measured
    const all = failed + misrouted + unanswered
    if (all > 0) console.error(`${failed} failed, ${misrouted} misrouted, ${unanswered} not answered`)
    return {
      flips,
      refusalsMs,
      sent,
      failed: all,
      latenciesMs,
      notes: await notesOf(ground.backend.internalPort),
    }
  } finally {
    caller.close()
    await slotgate.end()
  }
}

/**
 * Which slot has to answer a request that is sent after one switch was answered and has its answer before the next is
 * called for. Those that are on their way during a switch may be answered by either.
 */
class Expectation implements Watcher {
  #slot = 0
  #times = 0

  /** @param slot as the first byte of what it answers; 0 while a switch is under way */
  expect(slot: number): void {
    this.#slot = slot
    this.#times += 1
  }

  asks(lane: Lane): void {
    lane.asOf = this.#times
  }

  accepts({ asOf, firstByte }: Lane): boolean {
    return this.#slot === 0 || asOf !== this.#times || firstByte === this.#slot
  }
}

async function flipOften(
  caller: AdminCaller,
  expectation: Expectation,
  { count, everyMs }: { count: number; everyMs: number },
): Promise<Pick<Outcome, 'flips' | 'refusalsMs'>> {
  const flips: Flip[] = []
  const refusalsMs: number[] = []
  const startMs = clockMs() + WARM_MS
  for (let turn = 0; turn < count; turn++) {
    await pause(Math.max(0, startMs + turn * everyMs - clockMs()))
    expectation.expect(0)
    const { status, body, sentMs, answeredMs } = await caller.call('/v1/services/app/promote')
    if (status !== 200) throw new Error(`a promotion was answered ${status}: ${body}`)
    const { live } = JSON.parse(body)
    const to = live.slot.charCodeAt(0)
    flips.push({ calledMs: sentMs, answeredMs, to })
    expectation.expect(to)
    await pause(everyMs / 2)
    const refused = await caller.call('/v1/services/nobody/promote')
    if (refused.status !== 404) throw new Error(`a call for nobody was answered ${refused.status}`)
    refusalsMs.push(refused.answeredMs - refused.sentMs)
  }
  return { flips, refusalsMs }
}

/** What the app saw of a switch: when it had the first request, and how long the gate's reads took until then. */
function timingOf({ calledMs, to }: Flip, { turns, reads }: AppNotes): { firstMs: number; readMs: number } {
  const first = turns.find(({ atMs, slot }) => atMs > calledMs && slot === to)
  if (!first) throw new Error('the new slot had no request after a switch')
  const own = reads.filter(({ connectedMs, answeredMs }) => connectedMs > calledMs && answeredMs < first.atMs)
  const readMs = own.reduce((sum, { connectedMs, answeredMs }) => sum + answeredMs - connectedMs, 0)
  return { firstMs: first.atMs - calledMs, readMs }
}
