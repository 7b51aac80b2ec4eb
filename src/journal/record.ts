// What the journal holds: the record, its hash chain, the events and their fold into a state. No I/O.
import { hash } from 'node:crypto'
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
  'paused',
  'resumed',
  'preview_opened',
  'previews_ended',
  'schema_version_changed',
  'schema_version_regressed',
  'schema_live_incompatible',
  'schema_live_compatible',
  'rollback_door_closed',
  'rollback_door_opened',
  'bake_passed',
  'bake_failed',
  'alarm',
  'taken_over',
  'rotated',
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

/** What the watch has said of a service's schema: each thing is said once for each change, over restarts too. */
export interface Watched {
  /** null: no release ever said. */
  version: number | null
  liveFits: boolean
  doorOpen: boolean
}

/** The trial of the release that was promoted last. */
export interface Bake {
  /** ISO time. */
  until: string
  /** The release it took over from, and what that one had done as the live one, since its own flip. */
  former: { release: string; answered: number; failed: number }
}

/** A pause that somebody asked for. */
export interface Paused {
  /** ISO time. */
  since: string
  actor: string
  /** ISO time at which it ends by itself; null: it does not. */
  until: string | null
}

/** What the journal says of one service; the pointer comes from here after a restart. */
export interface ServiceState {
  generation: number
  live: { slot: SlotName; release: string } | null
  /** ISO time of the flip that made it so; null: there was none. */
  flippedAt: string | null
  /** What was last put into each slot. */
  slots: Partial<Record<SlotName, string>>
  /** The boot that runs, or last ran, in each slot, and whether it was ever live. */
  boots: Partial<Record<SlotName, { bootId: string; wasLive: boolean }>>
  /** The releases that a plain rollback goes through, newest first; never the live one. */
  previous: string[]
  /** Every release that was ever live, newest first. */
  wasLive: string[]
  /** The range each release declared when it was last asked. */
  ranges: Record<string, Range>
  /** Releases whose setup has ended well. */
  setUp: string[]
  watched: Watched
  /** null: nothing is on trial. */
  bake: Bake | null
  /** null: nobody asked for a pause, or it is over. */
  paused: Paused | null
  /** The release of an exclusive switch that holds requests; null: there is none. */
  exclusive: string | null
  /** The number of the record that ended all previews before it; 0: none did. */
  previewsEnded: number
}

export interface JournalState {
  services: Record<string, ServiceState>
  /** Boots that no `stopped`, `exited` or `boot_failed` has ended: what a crash of slotgate may have left over. */
  open: Record<string, OpenBoot>
}

export interface OpenBoot {
  pid: number | null
  startTime: string | null
  release: string
  service: string
  /** The container's id, where it was booted into one; its start time is the container's then. */
  container: string | null
  port: number | null
  internalPort: number | null
  /** The names of the variables that came from its `env_file`: its output is masked with what it was given then. */
  secrets: string[]
  /** ISO time of the boot. */
  since: string
  /** Whether it became healthy; what did not, is nobody's. */
  booted: boolean
}

/** How many releases of a service are known by their ids, or the state would grow with each one for ever. */
const KNOWN_RELEASES = 1_000
const SWEEP_EVERY = 1_024

export const hashLine = (line: string): string => hash('sha256', line)
export const FIRST_PREV = hashLine('')

/** The range a release once declared; an id such as `constructor` finds nothing. */
export const recordedRange = (ranges: Readonly<Record<string, Range>>, release: string): Range | undefined =>
  Object.hasOwn(ranges, release) ? ranges[release] : undefined

export const emptyState = (): JournalState => ({ services: {}, open: {} })

export const emptyService = (): ServiceState => ({
  generation: 0,
  live: null,
  flippedAt: null,
  slots: {},
  boots: {},
  previous: [],
  wasLive: [],
  ranges: {},
  setUp: [],
  watched: { version: null, liveFits: true, doorOpen: false },
  bake: null,
  paused: null,
  exclusive: null,
  previewsEnded: 0,
})

/** What the journal says of a service; of one that it does not know, that nothing has happened. */
export const stateOf = ({ services }: JournalState, service: string): ServiceState =>
  services[service] ?? emptyService()

/**
 * Folds one record into the state, in place: a start folds every record there is, and copies would make it quadratic.
 */
export function fold(state: JournalState, record: JournalRecord): void {
  foldOpen(state.open, record)
  if (record.seq % SWEEP_EVERY === 0) Object.values(state.services).forEach(sweepRanges)
  if (record.service === undefined) return
  state.services[record.service] ??= emptyService()
  const service = state.services[record.service]
  if (service) foldService(service, record, state.open)
}

const ENDS_A_BOOT = new Set<EventName>(['boot_failed', 'exited', 'stopped', 'leftover_stopped'])

function foldOpen(open: JournalState['open'], record: JournalRecord): void {
  const bootId = record.boot_id
  if (typeof bootId !== 'string') return
  if (ENDS_A_BOOT.has(record.event)) delete open[bootId]
  const boot = open[bootId]
  if (record.event === 'booted' && boot) boot.booted = true
  if (record.event !== 'booting') return
  open[bootId] = {
    pid: numberOrNull(record.pid),
    startTime: stringOrNull(record.start_time),
    container: stringOrNull(record.container),
    release: record.release ?? '',
    service: record.service ?? '',
    port: numberOrNull(record.port),
    internalPort: numberOrNull(record.internal_port),
    secrets: Array.isArray(record.secrets) ? record.secrets.filter((name) => typeof name === 'string') : [],
    since: record.time,
    booted: false,
  }
}

const numberOrNull = (value: unknown): number | null => (typeof value === 'number' ? value : null)
const stringOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null)

function foldService(service: ServiceState, record: JournalRecord, open: JournalState['open']): void {
  // Every verdict carries what both releases said of themselves; their ranges are remembered from there.
  Object.assign(service.ranges, record.ranges)
  foldWatched(service.watched, record)
  foldBake(service, record)
  foldPause(service, record)
  if (record.event === 'previews_ended') service.previewsEnded = record.seq
  const { slot, release } = record
  if (release === undefined) return
  if (record.event === 'setup_done') putFirst(service.setUp, release)
  if (slot === undefined) return
  if (record.event === 'staged') service.slots[slot] = release
  foldBoots(service, record, slot, open)
  if (record.event === 'flipped') foldFlip(service, record, slot, release)
}

function foldWatched(watched: Watched, { event, after, evidence }: JournalRecord): void {
  if (event === 'flipped') {
    // The gate has just said that it fits. Where the schema is, the first flip tells; from then on the watch does.
    watched.liveFits = true
    watched.version ??= versionIn(evidence)
  }
  if (event === 'schema_version_changed' || event === 'schema_version_regressed')
    watched.version = Number(after)
  if (event === 'schema_live_incompatible') watched.liveFits = false
  if (event === 'schema_live_compatible') watched.liveFits = true
  if (event === 'rollback_door_closed') watched.doorOpen = false
  if (event === 'rollback_door_opened') watched.doorOpen = true
}

/** A bake begins with a promotion, and ends with what comes of it or with any other switch. */
function foldBake(service: ServiceState, { event, bake }: JournalRecord): void {
  if (event === 'flipped') service.bake = (bake as Bake | undefined) ?? null
  if (event === 'bake_passed' || event === 'bake_failed') service.bake = null
}

function foldPause(service: ServiceState, record: JournalRecord): void {
  const { event, exclusive, release, time, actor, until } = record
  if (event !== 'paused' && event !== 'resumed') return
  const begins = event === 'paused'
  if (exclusive === true) service.exclusive = begins ? (release ?? null) : null
  else if (!begins) service.paused = null
  else {
    const since = service.paused?.since ?? time
    service.paused = { since, actor, until: typeof until === 'string' ? until : null }
  }
}

/** Where the target of a decision read that the schema is. */
function versionIn(evidence: unknown): number | null {
  const { target } = (evidence ?? {}) as { target?: { status?: { current_schema_version?: number } | null } }
  return target?.status?.current_schema_version ?? null
}

/**
 * Which process is in the slot. A boot alone puts nobody there, except where it starts the slot's own release again: a
 * release that is being staged, or rehearsed, is nobody's until it is said to be somebody's.
 */
function foldBoots(
  { boots, slots, live }: ServiceState,
  { event, boot_id: bootId, rehearsal, release }: JournalRecord,
  slot: SlotName,
  open: JournalState['open'],
): void {
  if (typeof bootId !== 'string') return
  const former = boots[slot]
  const isAgain = slots[slot] === release && rehearsal !== true && !(former && open[former.bootId])
  if (event === 'staged') boots[slot] = { bootId, wasLive: false }
  else if (event === 'flipped') boots[slot] = { bootId, wasLive: true }
  else if (event === 'booted' && isAgain) boots[slot] = { bootId, wasLive: live?.slot === slot }
}

function foldFlip(service: ServiceState, record: JournalRecord, slot: SlotName, release: string): void {
  foldPrevious(service, record.operation, release)
  service.generation = record.generation ?? service.generation + 1
  service.live = { slot, release }
  service.flippedAt = record.time
  service.slots[slot] = release
  putFirst(service.wasLive, release)
}

/**
 * The releases that a plain rollback goes through, newest first. A promotion puts the release it leaves on top; a
 * rollback leaves out everything from the top down to where it went, so that a second rollback goes further back
 * instead of forward again.
 */
function foldPrevious({ previous, live }: ServiceState, operation: unknown, release: string): void {
  const depth = previous.indexOf(release)
  if (operation === 'rollback') {
    previous.splice(0, depth + 1)
    return
  }
  if (depth >= 0) previous.splice(depth, 1)
  if (live && live.release !== release) putFirst(previous, live.release)
}

function putFirst(names: string[], name: string): void {
  const at = names.indexOf(name)
  if (at >= 0) names.splice(at, 1)
  names.unshift(name)
  if (names.length > KNOWN_RELEASES) names.pop()
}

/** Forgets the ranges of releases that nothing else knows any more; now and then, since it looks at all of them. */
function sweepRanges({ ranges, wasLive, slots }: ServiceState): void {
  const known = new Set([...wasLive, ...Object.values(slots)])
  for (const release of Object.keys(ranges)) if (!known.has(release)) delete ranges[release]
}
