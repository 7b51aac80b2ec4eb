// The metrics as Prometheus reads them: what the front door has counted, what the status says, what has happened, and how
// slotgate itself is. Their names are in families.ts.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { type Code, ERRORS } from '../../errors.ts'
import type { Counted, Meter } from '../../relay/meter.ts'
import type { SpanExporter } from '../../relay/spans.ts'
import type { Feed } from '../../switch/feed.ts'
import type { Control, ServiceStatus, SlotView } from '../../switch/types.ts'
import { FAMILIES, type NameOf, REQUEST_BOUNDS, SWITCH_BOUNDS } from './families.ts'
import { CountedHistogram, type Labels } from './histogram.ts'
import { createHistory } from './history.ts'

export interface Metrics {
  /** What the text is, as `Content-Type`. */
  readonly contentType: string
  /** All of them, as they are now. */
  text(): Promise<string>
}

export interface MetricsOptions {
  control: Control
  feed: Feed
  meter: Meter
  /** null: there is no collector. */
  spans: Pick<SpanExporter, 'exported' | 'dropped'> | null
  /** In the order in which the table counts them. */
  services: readonly string[]
  /** For each of them the place of its preview; null: it has none. */
  previews: readonly (number | null)[]
  /** By service, the ISO time at which its pointer moved last; null: never. */
  lastFlips: ReadonlyMap<string, string | null>
  /** Ends following the feed. */
  signal: AbortSignal
}

export function createMetrics(options: MetricsOptions): Metrics {
  const { control, feed, meter, spans, services, previews, lastFlips, signal } = options
  const registry = new Registry()
  const families = createFamilies(registry)
  void follow(feed, createHistory(families, lastFlips), signal)
  let wasAsked = false
  return {
    contentType: registry.contentType,
    async text() {
      // What watches the main thread costs a little, and begins when somebody wants to know.
      if (!wasAsked) collectDefaultMetrics({ register: registry })
      wasAsked = true
      const statuses = Object.values(await control.statuses())
      tellCounted(families, meter, services)
      tellPreviews(families, meter, services, previews)
      tellSpans(families, spans)
      tellStatuses(families, statuses)
      return registry.metrics()
    },
  }
}

async function follow(
  feed: Feed,
  onEvent: ReturnType<typeof createHistory>,
  signal: AbortSignal,
): Promise<void> {
  const ending = new AbortController()
  signal.addEventListener('abort', () => ending.abort(), { once: true })
  for await (const events of feed.read({ kinds: ['record', 'step'], ending }, () => []))
    events.forEach(onEvent)
}

type Families = ReturnType<typeof createFamilies>

export function createFamilies(registry: Registry) {
  const registers = [registry]
  const all = <Metric>(type: string, create: (options: Options) => Metric): Record<string, Metric> =>
    Object.fromEntries(
      Object.entries(FAMILIES)
        .filter(([, family]) => family.type === type)
        .map(([name, { help, labels }]) => [
          name,
          create({ name, help, labelNames: [...labels], registers }),
        ]),
    )
  return {
    ...(all('counter', (options) => new Counter(options)) as Record<NameOf<'counter'>, Counter>),
    ...(all('gauge', (options) => new Gauge(options)) as Record<NameOf<'gauge'>, Gauge>),
    ...(all('histogram', (options) => new Histogram({ ...options, buckets: [...SWITCH_BOUNDS] })) as Record<
      NameOf<'histogram'>,
      Histogram
    >),
    ...(all('counted', (options) => new CountedHistogram({ ...options, buckets: REQUEST_BOUNDS })) as Record<
      NameOf<'counted'>,
      CountedHistogram
    >),
  }
}

interface Options {
  name: string
  help: string
  labelNames: string[]
  registers: Registry[]
}

/** What is null or unknown has no label: Prometheus takes that for an empty one. */
const labelsOf = (facts: Record<string, string | null | undefined>): Labels =>
  Object.fromEntries(
    Object.entries(facts).filter((fact): fact is [string, string] => typeof fact[1] === 'string'),
  )

function tellCounted(families: Families, meter: Meter, services: readonly string[]): void {
  const counted = meter.counted().map((one) => ({ ...one, labels: placeOf(one, services) }))
  const { slotgate_requests_total: requests, slotgate_errors_total: errors } = families
  requests.reset()
  errors.reset()
  for (const { labels, statuses, causes } of counted) {
    for (const [code, count] of statuses) requests.inc({ ...labels, code }, count)
    for (const [cause, count] of causes) errors.inc({ ...labels, cause, blame: blameOf(cause) }, count)
  }
  const released = counted.filter(({ release }) => release !== null)
  families.slotgate_request_duration_seconds.tell(
    released.map(({ labels, whole: histogram }) => ({ labels, histogram })),
  )
  families.slotgate_upstream_duration_seconds.tell(
    released.map(({ labels, head: histogram }) => ({ labels, histogram })),
  )
  tellWorkers(families, meter)
}

function tellPreviews(
  { slotgate_preview_requests_total: total }: Families,
  meter: Meter,
  services: readonly string[],
  previews: readonly (number | null)[],
): void {
  total.reset()
  for (const [index, service] of services.entries()) {
    const place = previews[index] ?? null
    if (place === null) continue
    for (const [code, count] of meter.previewed(place)) total.inc({ service, code }, count)
  }
}

const placeOf = ({ service, slot, release }: Counted, services: readonly string[]): Labels =>
  labelsOf({ service: service === null ? null : services[service], slot, release })

const blameOf = (cause: string): string => ERRORS[cause as Code].blame

function tellWorkers(families: Families, meter: Meter): void {
  families.slotgate_worker_delay_seconds.tell(
    meter.lateness().map((histogram, worker) => ({ labels: { worker: String(worker) }, histogram })),
  )
  families.slotgate_worker_restarts_total.reset()
  for (const [worker, deaths] of meter.deaths.entries())
    families.slotgate_worker_restarts_total.inc({ worker: String(worker) }, deaths)
}

function tellSpans({ slotgate_spans_total: total }: Families, spans: MetricsOptions['spans']): void {
  if (spans === null) return
  total.reset()
  total.inc({ outcome: 'exported' }, spans.exported)
  total.inc({ outcome: 'dropped' }, spans.dropped)
}

/** Those that a status tells: they are gone with what they told of. */
const OF_STATUS = [
  'slotgate_claims',
  'slotgate_slot_live',
  'slotgate_slot_healthy',
  'slotgate_paused',
  'slotgate_held_requests',
  'slotgate_generation',
  'slotgate_schema_version',
  'slotgate_schema_min_version',
  'slotgate_schema_max_version',
  'slotgate_door_open',
] as const

function tellStatuses(families: Families, statuses: readonly ServiceStatus[]): void {
  for (const name of OF_STATUS) families[name].reset()
  for (const status of statuses) tellStatus(families, status)
}

function tellStatus(families: Families, status: ServiceStatus): void {
  const { service, generation, live, idle, paused, door, schema } = status
  families.slotgate_paused.set({ service }, Number(paused !== null))
  families.slotgate_held_requests.set({ service }, paused?.held ?? 0)
  families.slotgate_generation.set({ service }, generation)
  if (schema.current !== null) families.slotgate_schema_version.set({ service }, schema.current)
  if (door.open !== null) families.slotgate_door_open.set({ service }, Number(door.open))
  if (live) tellSlot(families, service, live, true)
  tellSlot(families, service, idle, false)
  tellClaims(families, status)
}

function tellSlot(families: Families, service: string, view: SlotView, isLive: boolean): void {
  const labels = labelsOf({ service, slot: view.slot, release: view.release })
  families.slotgate_slot_live.set(labels, Number(isLive))
  families.slotgate_slot_healthy.set(labels, Number(view.healthy))
  const range = view.schema ?? view.recorded_range
  if (!range) return
  families.slotgate_schema_min_version.set(labels, range.min)
  families.slotgate_schema_max_version.set(labels, range.max)
}

/** A release that lost its slot to another may still have some. */
function tellClaims(
  { slotgate_claims: gauge }: Families,
  { service, live, idle, draining }: ServiceStatus,
): void {
  for (const { slot, release, claims } of [...draining, idle, ...(live ? [live] : [])]) {
    const labels = labelsOf({ service, slot, release })
    gauge.set({ ...labels, kind: 'requests' }, claims.requests)
    gauge.set({ ...labels, kind: 'tunnels' }, claims.tunnels)
  }
}
