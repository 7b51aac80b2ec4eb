// The metrics as Prometheus reads them: what the front door has counted, what the status says, what has happened, and how
// slotgate itself is. Their names are in families.ts.
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { type Code, ERRORS } from '../../errors.ts'
import type { Counted, Meter } from '../../relay/meter.ts'
import type { SpanExporter } from '../../relay/spans.ts'
import type { Control, ServiceStatus, SlotView } from '../../switch/types.ts'
import { FAMILIES, type Family, type NameOf } from './families.ts'
import { CountedHistogram } from './histogram.ts'
import type { History } from './history.ts'
import type { Counts, Labels } from './series.ts'

/** Who is asked at each scrape. */
export interface Sources {
  control: Control
  meter: Meter
  /** null: there is no collector. */
  spans: Pick<SpanExporter, 'exported' | 'dropped'> | null
  /** In the order in which the table counts them. */
  services: readonly string[]
  /** For each of them the place of its preview; null: it has none. */
  previews: readonly (number | null)[]
  /** How many requests wait for the service at a place. */
  held: (service: number) => number
}

/** @returns makes the text of all that is known when it is called */
export function createTeller(sources: Sources, history: History): () => Promise<string> {
  const { control, meter, spans, services, previews, held } = sources
  const registry = new Registry()
  const families = createFamilies(registry)
  collectDefaultMetrics({ register: registry })
  return async () => {
    const statuses = Object.values(await control.statuses())
    tellCounted(families, meter, services)
    tellPreviews(families, meter, services, previews)
    tellHistory(families, history)
    tellSpans(families, spans)
    tellStatuses(families, statuses)
    for (const [index, service] of services.entries())
      families.slotgate_held_requests.set({ service }, held(index))
    return registry.metrics()
  }
}

type Families = ReturnType<typeof createFamilies>

function createFamilies(registry: Registry) {
  const registers = [registry]
  const all = <Metric>(type: string, create: (options: Options) => Metric): Record<string, Metric> =>
    Object.fromEntries(
      Object.entries<Family>(FAMILIES)
        .filter(([, family]) => family.type === type)
        .map(([name, { help, labels, bounds = [] }]) => [
          name,
          create({ name, help, labelNames: [...labels], buckets: bounds, registers }),
        ]),
    )
  return {
    ...(all('counter', (options) => new Counter(options)) as Record<NameOf<'counter'>, Counter>),
    ...(all('gauge', (options) => new Gauge(options)) as Record<NameOf<'gauge'>, Gauge>),
    ...(all('histogram', (options) => new CountedHistogram(options)) as Record<
      NameOf<'histogram'>,
      CountedHistogram
    >),
  }
}

interface Options {
  name: string
  help: string
  labelNames: string[]
  buckets: readonly number[]
  registers: Registry[]
}

const MS_PER_S = 1_000

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

function tellHistory(families: Families, history: History): void {
  tellCounts(families.slotgate_gate_verdicts_total, history.verdicts)
  tellCounts(families.slotgate_alarms_total, history.alarms)
  tellCounts(families.slotgate_drain_cut_total, history.cut)
  families.slotgate_operation_duration_seconds.tell(history.operations.all())
  families.slotgate_flip_duration_seconds.tell(history.flips.all())
  families.slotgate_drain_duration_seconds.tell(history.drains.all())
  for (const [service, time] of history.lastFlips)
    families.slotgate_last_flip_timestamp_seconds.set({ service }, time / MS_PER_S)
}

function tellCounts(counter: Counter, counts: Counts): void {
  counter.reset()
  for (const { labels, value } of counts.all()) counter.inc(labels, value)
}

function tellSpans({ slotgate_spans_total: total }: Families, spans: Sources['spans']): void {
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
