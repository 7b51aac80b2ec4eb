// The meter: every exchange is counted once, for its release and by what it came to, over threads, switches and deaths.
import t from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import { Counter } from '../../src/relay/counter.ts'
import type { Known } from '../../src/relay/known.ts'
import { BOUNDS_MS, BUCKETS, bucketOf, quantile } from '../../src/relay/latency.ts'
import { type Counted, Meter } from '../../src/relay/meter.ts'
import { measure } from '../../src/relay/traffic.ts'
import { GENERATION_CELLS } from '../../src/slots/table.ts'
import { dial, GET, hasAnswer, OK, startObserved } from './support.ts'

const LAYOUT = { services: 2, workers: 2 }
const HOUR_MS = 3_600_000

/** An exchange of generation 1 that went well, but for what the test says. */
const ended = (part: Partial<Known> = {}): Known => ({
  requestId: 'r',
  trace: null,
  method: 'GET',
  target: '/',
  client: '127.0.0.1',
  ageMs: 3,
  service: 'invoices',
  serviceIndex: 0,
  claim: { service: 0, generation: 1, slot: 'blue', kind: 'requests' },
  isPreview: false,
  release: 'r1',
  status: 200,
  bytes: 2,
  upstreamMs: 2,
  heldMs: 0,
  error: undefined,
  ...part,
})

const inGeneration = (generation: number, part: Partial<Known> = {}): Known =>
  ended({ claim: { service: 0, generation, slot: 'blue', kind: 'requests' }, ...part })

const reign = (generation: number, release: string) =>
  ({ service: 0, generation, slot: generation % 2 ? 'blue' : 'green', release }) as const

/** A meter in which r1 is live in generation 1, and one counter for each worker. */
function started() {
  const meter = new Meter(LAYOUT)
  meter.begin(reign(1, 'r1'), 0)
  const [first, second] = [0, 1].map((worker) => new Counter(meter.buffer, LAYOUT, worker))
  if (!first || !second) throw new Error('there are two workers')
  return { meter, first, second }
}

function countedOf(meter: Meter, release: string | null, nowMs = 0): Counted | undefined {
  return meter
    .counted(nowMs)
    .find((one) => one.release === release && (release !== null || one.service === 0))
}

t.test('what threads count adds up, by status, and an app’s own is told from slotgate’s', async (t) => {
  const { meter, first, second } = started()
  first.count(ended())
  second.count(ended())
  second.count(ended({ status: 503 }))
  first.count(ended({ status: 413, upstreamMs: -1, error: new SlotgateError('request_too_large') }))
  t.same(Object.fromEntries(countedOf(meter, 'r1')?.statuses ?? []), { 200: 2, 413: 1, 503: 1 })
  t.same(meter.exchanges(0, 1), { answered: 2, failed: 1 })
  t.same(meter.exchanges(1, 1), { answered: 0, failed: 0 })
})

t.test('what ended an exchange is counted beside its status, which may be a good one', async (t) => {
  const { meter, first } = started()
  first.count(ended({ error: new SlotgateError('upstream_failed') }))
  first.count(ended({ error: new SlotgateError('client_closed') }))
  const counted = countedOf(meter, 'r1')
  t.same(Object.fromEntries(counted?.causes ?? []), { upstream_failed: 1, client_closed: 1 })
  t.same(Object.fromEntries(counted?.statuses ?? []), { 200: 1, 499: 1 })
  t.same(meter.exchanges(0, 1), { answered: 1, failed: 1 })
})

t.test('a status that nobody registered is counted by its first digit', async (t) => {
  const { meter, first } = started()
  for (const status of [299, 418, 456, 599, 799]) first.count(ended({ status }))
  const { statuses } = countedOf(meter, 'r1') ?? {}
  t.same(Object.fromEntries(statuses ?? []), { 418: 1, '2xx': 1, '4xx': 1, '5xx': 1, other: 1 })
})

t.test('what reaches no slot is counted for its service, or for none', async (t) => {
  const { meter, first } = started()
  const none = { claim: null, release: undefined, upstreamMs: -1, status: 0 }
  first.count(ended({ ...none, error: new SlotgateError('nothing_live') }))
  first.count(ended({ ...none, serviceIndex: -1, error: new SlotgateError('no_such_site') }))
  t.same(Object.fromEntries(countedOf(meter, null)?.statuses ?? []), { 503: 1 })
  const nowhere = meter.counted(0).find(({ service }) => service === null)
  t.same(Object.fromEntries(nowhere?.causes ?? []), { no_such_site: 1 })
})

t.test('the time of a tunnel is no latency, but the time to its head is', async (t) => {
  const { meter, first } = started()
  first.count(ended({ claim: { service: 0, generation: 1, slot: 'blue', kind: 'tunnels' }, ageMs: 60_000 }))
  first.count(ended())
  const counted = countedOf(meter, 'r1')
  t.equal(counted?.whole.sumMs, 3)
  t.equal(counted?.head.sumMs, 4)
})

t.test('a release that is live again goes on where it was, in any number of switches', async (t) => {
  const { meter, first } = started()
  first.count(ended())
  for (let generation = 2; generation <= 3 * GENERATION_CELLS; generation++) {
    meter.begin(reign(generation, generation % 2 ? 'r1' : 'r2'), 0)
    first.count(inGeneration(generation))
    const total = countedOf(meter, 'r1')?.statuses.get('200')
    t.equal(total, Math.ceil(generation / 2), `it never falls: generation ${generation}`)
  }
  t.same(meter.exchanges(0, 3 * GENERATION_CELLS), { answered: 1, failed: 0 })
  t.same(
    meter.exchanges(0, GENERATION_CELLS),
    { answered: 0, failed: 0 },
    'its counters have gone to another',
  )
})

t.test('what it had is kept as long as it is told, however long ago it was', async (t) => {
  const { meter, first } = started()
  for (let generation = 2; generation <= 3 * GENERATION_CELLS; generation++) {
    const nowMs = generation * 2 * HOUR_MS
    meter.begin(reign(generation, generation % 2 ? 'r1' : `r${generation}`), nowMs)
    first.count(inGeneration(generation))
    if (generation % 2) t.equal(countedOf(meter, 'r1', nowMs)?.statuses.get('200'), (generation - 1) / 2)
    t.equal(countedOf(meter, 'r2', nowMs) === undefined, generation > 3, 'the others are gone')
  }
})

t.test('a release that left an hour ago is told no more, and what is live always is', async (t) => {
  const { meter, first } = started()
  first.count(ended())
  meter.begin(reign(2, 'r2'), 1)
  t.ok(countedOf(meter, 'r1', HOUR_MS))
  t.notOk(countedOf(meter, 'r1', HOUR_MS + 1))
  t.ok(countedOf(meter, 'r2', 10 * HOUR_MS))
  meter.begin(reign(3, 'r1'), 2 * HOUR_MS)
  t.equal(countedOf(meter, 'r1', 3 * HOUR_MS)?.statuses.get('200'), 1)
})

t.test('traffic is what came since the last look, of each slot, over a switch', async (t) => {
  const { meter, first } = started()
  first.count(ended())
  const look = measure(meter, 1)
  for (let ms = 1; ms <= 100; ms++) first.count(ended({ ageMs: ms }))
  meter.begin(reign(2, 'r2'), 0)
  first.count(inGeneration(2, { status: 500, ageMs: 5 }))
  const [blue, green] = look()
  t.match(blue, { service: 0, slot: 'blue', errors_per_s: 0, p50_ms: 50, p99_ms: 99 })
  t.match(green, { slot: 'green', p50_ms: Number })
  t.ok((blue?.requests_per_s ?? 0) > 0)
  t.equal(green?.errors_per_s, green?.requests_per_s)
  t.match(look(), [
    { requests_per_s: 0, p50_ms: null },
    { requests_per_s: 0, p99_ms: null },
  ])
})

t.test('each duration is in the bucket of the first bound that is not below it', async (t) => {
  for (const [at, bound] of BOUNDS_MS.entries()) {
    t.equal(bucketOf(bound), at)
    t.equal(bucketOf(bound * 1.000001), at + 1)
  }
  t.equal(bucketOf(0), 0)
  t.equal(quantile(new Float64Array(BUCKETS), 0.5), null)
})

t.test('each exchange over the front door is counted once', async (t) => {
  const { bench } = await startObserved(t, {}, () => OK)
  await dial(t, bench.port, GET).until(hasAnswer)
  await bench.logged(() => true)
  await dial(t, bench.port, 'GET / HTTP/1.1\r\n\r\n').until(hasAnswer)
  await bench.logged(({ status }) => status === 400)
  const told = bench.relay.meter.counted()
  const statuses = told.flatMap((one) =>
    [...one.statuses].map(([status, count]) => [one.release, status, count]),
  )
  t.same(statuses, [
    ['r-blue', '200', 1],
    [null, '400', 1],
  ])
  t.equal(
    told.find(({ release }) => release === 'r-blue')?.whole.buckets.reduce((sum, count) => sum + count),
    1,
  )
})
