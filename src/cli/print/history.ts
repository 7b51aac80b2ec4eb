// The journal as lines: when, what, where, who.
import type { JournalRecord } from '../../journal/record.ts'
import type { ClaimCounts } from '../../slots/table.ts'
import { columns, counted, type Style, span, tame } from '../style.ts'

/** What an event is about beyond its names, where one fact says it. */
function detailOf({
  event,
  code,
  detail,
  operation,
  sentence,
  from,
  delay_ms: delayMs,
  cut,
  until,
  exclusive,
}: JournalRecord): string {
  if (typeof until === 'string') return `until ${timeOf(until)}`
  if (exclusive === true && event !== 'flipped') return 'for an exclusive switch'
  if (event === 'restarting' && typeof delayMs === 'number') return `in ${span(delayMs)}`
  if (event === 'drained') return cutText(cut)
  const facts = event === 'flipped' ? [operation, fromText(from)] : [operation, code, detail ?? sentence]
  return facts.flatMap((fact) => (typeof fact === 'string' && fact !== '' ? [tame(fact)] : [])).join(': ')
}

const fromText = (from: unknown): string =>
  typeof from === 'object' && from !== null && 'release' in from ? `from ${String(from.release)}` : ''

/** @param cut what a drain had to cut at its limit, as the journal has it */
function cutText(cut: unknown): string {
  const { requests = 0, tunnels = 0 } = (cut ?? {}) as Partial<ClaimCounts>
  return requests + tunnels === 0 ? '' : `cut: ${counted(requests, 'request')}, ${counted(tunnels, 'tunnel')}`
}

const COLOURED: Partial<Record<JournalRecord['event'], 'green' | 'red' | 'yellow'>> = {
  flipped: 'green',
  refused: 'red',
  alarm: 'red',
  boot_failed: 'red',
  exited: 'yellow',
  restarting: 'yellow',
  schema_version_regressed: 'yellow',
  schema_live_incompatible: 'red',
  rollback_door_closed: 'yellow',
  paused: 'yellow',
  resumed: 'green',
  bake_failed: 'red',
}

/** @param time ISO */
export const timeOf = (time: string): string => `${time.slice(0, 10)} ${time.slice(11, 19)}`

function rowOf(record: JournalRecord, style: Style): string[] {
  const { seq, time, event, service = '', slot = '', release = '', generation, actor } = record
  const paint = style[COLOURED[event] ?? 'dim']
  return [
    style.dim(`#${seq}`),
    timeOf(time),
    paint(event),
    service,
    slot,
    release,
    generation === undefined ? '' : `gen ${generation}`,
    `by ${actor}`,
    detailOf(record),
  ]
}

/** @returns one line, which nothing else has to be aligned with */
export const printRecord = (record: JournalRecord, style: Style): string =>
  rowOf(record, style).filter(Boolean).join('  ')

/**
 * @param records newest first, as the API answers
 * @returns one line each, the newest last: next to where the reader's eye is. Times are UTC.
 */
export const printHistory = (records: readonly JournalRecord[], style: Style): string =>
  records.length === 0
    ? 'The journal is empty.'
    : columns(records.toReversed().map((record) => rowOf(record, style))).join('\n')
