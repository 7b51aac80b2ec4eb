// What the journal holds: the record, its hash chain, the events and their fold into a state. Pure.
import { createHash } from 'node:crypto'
import type { Range, SlotName } from '../contract.ts'

/** The events that the state depends on, or that an operator looks for. */
export const EVENTS = [
  'slotgate_started',
  'slotgate_stopped',
  'setup_done',
  'booting',
  'booted',
  'boot_failed',
  'exited',
  'restarting',
  'stopped',
  'staged',
  'asked',
  'flipped',
  'refused',
  'drained',
  'alarm',
  'leftover_stopped',
] as const
export type EventName = (typeof EVENTS)[number]

/** What the writer gives; `seq`, `time` and `prev` are added on append. */
export interface JournalEvent {
  event: EventName
  service?: string
  generation?: number
  /** The key id, or `slotgate`. */
  actor: string
  slot?: SlotName
  release?: string
  boot_id?: string
  /** What releases declared when they were asked. */
  ranges?: Record<string, Range>
  [fact: string]: unknown
}

/** One line of the journal. */
export interface JournalRecord extends JournalEvent {
  /** Counts from 1 without gaps. */
  seq: number
  /** ISO time. */
  time: string
  /** SHA-256 of the line before, hex; of the empty string for the first. */
  prev: string
}

/** What the journal says of one service; the pointer comes from here after a restart. */
export interface ServiceState {
  generation: number
  live: { slot: SlotName; release: string } | null
  /** What was last put into each slot. */
  slots: Partial<Record<SlotName, string>>
  /** The releases that a plain rollback goes through, newest first; never the live one. */
  previous: string[]
  /** Every release that was ever live, newest first. */
  wasLive: string[]
  /** The range each release declared when it was last asked. */
  ranges: Record<string, Range>
  /** Releases whose setup has ended well. */
  setUp: string[]
}

export interface JournalState {
  services: Record<string, ServiceState>
  /** Boots that no `stopped`, `exited` or `boot_failed` has ended: what a crash of slotgate may have left over. */
  open: Record<string, { pid: number | null; startTime: string | null; release: string; service: string }>
}

export const hashLine = (line: string): string => createHash('sha256').update(line).digest('hex')
export const FIRST_PREV = hashLine('')

/** The range a release once declared; an id such as `constructor` finds nothing. */
export const recordedRange = (ranges: Readonly<Record<string, Range>>, release: string): Range | undefined =>
  Object.hasOwn(ranges, release) ? ranges[release] : undefined

export const emptyState = (): JournalState => ({ services: {}, open: {} })

export const emptyService = (): ServiceState => ({
  generation: 0,
  live: null,
  slots: {},
  previous: [],
  wasLive: [],
  ranges: {},
  setUp: [],
})

/** Folds one record into the state. Pure: returns a new state and leaves the old one alone. */
export function fold(state: JournalState, record: JournalRecord): JournalState {
  const open = foldOpen(state.open, record)
  if (record.service === undefined) return { ...state, open }
  const service = foldService(state.services[record.service] ?? emptyService(), record)
  return { open, services: { ...state.services, [record.service]: service } }
}

const ENDS_A_BOOT = new Set<EventName>(['boot_failed', 'exited', 'stopped', 'leftover_stopped'])

function foldOpen(open: JournalState['open'], record: JournalRecord): JournalState['open'] {
  const bootId = record.boot_id
  if (typeof bootId !== 'string') return open
  if (ENDS_A_BOOT.has(record.event)) {
    const { [bootId]: _, ...rest } = open
    return rest
  }
  if (record.event !== 'booting') return open
  const boot = {
    pid: typeof record.pid === 'number' ? record.pid : null,
    startTime: typeof record.start_time === 'string' ? record.start_time : null,
    release: record.release ?? '',
    service: record.service ?? '',
  }
  return { ...open, [bootId]: boot }
}

function foldService(service: ServiceState, record: JournalRecord): ServiceState {
  const known = { ...service, ranges: foldRanges(service.ranges, record) }
  const { slot, release } = record
  if (release === undefined) return known
  if (record.event === 'setup_done') return { ...known, setUp: withFirst(known.setUp, release) }
  if (slot === undefined) return known
  if (record.event === 'staged') return { ...known, slots: { ...known.slots, [slot]: release } }
  if (record.event === 'flipped') return foldFlip(known, record, slot, release)
  return known
}

function foldFlip(
  service: ServiceState,
  record: JournalRecord,
  slot: SlotName,
  release: string,
): ServiceState {
  return {
    ...service,
    generation: record.generation ?? service.generation + 1,
    live: { slot, release },
    slots: { ...service.slots, [slot]: release },
    previous: previousAfter(service, record.operation, release),
    wasLive: withFirst(service.wasLive, release),
  }
}

/**
 * The releases that a plain rollback goes through, newest first. A promotion puts the release it leaves on top; a
 * rollback leaves out everything from the top down to where it went, so that a second rollback goes further back
 * instead of forward again.
 */
function previousAfter({ previous, live }: ServiceState, operation: unknown, release: string): string[] {
  const depth = previous.indexOf(release)
  if (operation === 'rollback') return depth < 0 ? previous : previous.slice(depth + 1)
  const kept = previous.filter((name) => name !== release)
  return live && live.release !== release ? withFirst(kept, live.release) : kept
}

const withFirst = (names: string[], name: string): string[] => [
  name,
  ...names.filter((other) => other !== name),
]

/** Every verdict carries what both releases said of themselves; their ranges are remembered from there. */
function foldRanges(ranges: ServiceState['ranges'], record: JournalRecord): ServiceState['ranges'] {
  const asked = record.ranges
  return asked ? { ...ranges, ...asked } : ranges
}
