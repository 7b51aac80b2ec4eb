// What is counted of what happens: verdicts, alarms, operations, flips and drains, from the feed. Since slotgate runs.
import type { Counter, Gauge, Histogram } from 'prom-client'
import type { Code } from '../../errors.ts'
import type { JournalRecord } from '../../journal/record.ts'
import type { FeedEvent, StepEvent } from '../../switch/types.ts'

export interface HistoryMetrics {
  slotgate_gate_verdicts_total: Counter
  slotgate_alarms_total: Counter
  slotgate_operation_duration_seconds: Histogram
  slotgate_flip_duration_seconds: Histogram
  slotgate_last_flip_timestamp_seconds: Gauge
  slotgate_drain_duration_seconds: Histogram
  slotgate_drain_cut_total: Counter
}

const MS_PER_S = 1_000
const CLAIM_KINDS = ['requests', 'tunnels']

/** What somebody should look at: the codes of an `alarm`, and events of their own. */
export const ALARMS: readonly Code[] = [
  'bake_failed',
  'bake_not_undone',
  'former_release_gone',
  'no_release_fits',
  'schema_changed_by_rehearsal',
  'schema_changed_during_switch',
  'schema_live_incompatible',
  'schema_version_regressed',
]

const secondsBetween = (from: string, to: string): number =>
  Math.max(0, Date.parse(to) - Date.parse(from)) / MS_PER_S

/**
 * @param lastFlips by service, the ISO time of the last one, or null. Each service begins with no alarm and nothing cut: a
 *   counter that was not there has not grown
 * @returns takes each event of the feed
 */
export function createHistory(
  metrics: HistoryMetrics,
  lastFlips: ReadonlyMap<string, string | null>,
): (event: FeedEvent) => void {
  /** By service, when its pointer was about to move. */
  const flips = new Map<string, string>()
  const onFlip = (service: string, time: string) =>
    metrics.slotgate_last_flip_timestamp_seconds.set({ service }, Date.parse(time) / MS_PER_S)
  for (const [service, time] of lastFlips) {
    if (time) onFlip(service, time)
    for (const code of ALARMS) metrics.slotgate_alarms_total.inc({ service, code }, 0)
    for (const kind of CLAIM_KINDS) metrics.slotgate_drain_cut_total.inc({ service, kind }, 0)
  }

  function onRecord(record: JournalRecord): void {
    const { event, service = '', operation } = record
    if (event === 'flipped' || event === 'refused' || event === 'asked') {
      metrics.slotgate_gate_verdicts_total.inc({
        service,
        operation: String(operation),
        code: codeOf(record),
      })
    }
    if (event === 'flipped') onFlip(service, record.time)
    if (event === 'alarm') metrics.slotgate_alarms_total.inc({ service, code: String(record.code) })
    else if (isAlarm(event)) metrics.slotgate_alarms_total.inc({ service, code: event })
    if (event === 'drained') onDrained(service, record)
  }

  function onDrained(service: string, { took_ms, cut }: JournalRecord): void {
    metrics.slotgate_drain_duration_seconds.observe({ service }, Number(took_ms) / MS_PER_S)
    for (const [kind, count] of Object.entries((cut ?? {}) as Record<string, number>))
      metrics.slotgate_drain_cut_total.inc({ service, kind }, count)
  }

  function onStep({ time, service, operation, state }: StepEvent): void {
    if (state === 'under way') {
      if (operation.step === 'writing the journal') flips.set(service, time)
      const since = flips.get(service)
      if (operation.step !== 'confirming' || since === undefined) return
      metrics.slotgate_flip_duration_seconds.observe({ service }, secondsBetween(since, time))
    } else {
      flips.delete(service)
      const labels = { service, operation: operation.operation, state }
      metrics.slotgate_operation_duration_seconds.observe(labels, secondsBetween(operation.since, time))
    }
  }

  return (event) => {
    if (event.kind === 'record') onRecord(event.record)
    if (event.kind === 'step') onStep(event)
  }
}

const isAlarm = (event: string): boolean => ALARMS.some((code) => code === event)

/** What the gate said: an operation that was not refused was allowed. */
function codeOf({ event, allowed, code }: JournalRecord): string {
  if (event === 'flipped' || allowed === true) return 'allowed'
  return typeof code === 'string' ? code : 'unknown'
}
