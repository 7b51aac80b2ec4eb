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
  /** Releases that were live, newest first, without the live one and without repeats. */
  previous: string[]
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

export const emptyState = (): JournalState => ({ services: {}, open: {} })

export const emptyService = (): ServiceState => ({
  generation: 0,
  live: null,
  slots: {},
  previous: [],
  ranges: {},
  setUp: [],
})
