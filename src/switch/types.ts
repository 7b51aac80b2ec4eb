// What switching looks like from outside: the calls, their results, and the status. The admin API answers these
// shapes as they are; the CLI prints them. JSON field names are snake_case, as on the wire.
import type { Range, SlotName } from '../contract.ts'
import type { Code, Reason } from '../errors.ts'
import type { Advice } from '../gate/advice.ts'
import type { Door } from '../gate/door.ts'
import type { Verdict } from '../gate/judge.ts'
import type { JournalRecord } from '../journal/record.ts'
import type { OccupantState } from '../slots/occupants.ts'
import type { ClaimCounts } from '../slots/table.ts'
import type { Traffic } from './data-plane.ts'

export type Operation = 'stage' | 'check' | 'promote' | 'rollback' | 'deploy' | 'first'

/** Who calls, and on what condition. */
export interface CallContext {
  /** The key id, or `slotgate` for what it does by itself. */
  actor: string
  /** From If-Match; absent: no condition. */
  ifGeneration?: number
  /** Of a switch: old and new code are never to answer at the same time. */
  exclusive?: boolean
  /** Why, where slotgate acts by itself. */
  code?: Code
  /** Calls off a boot that is not wanted any more; its reason is thrown where that is a SlotgateError. */
  signal?: AbortSignal
}

export type SlotState = 'empty' | OccupantState

/** What the status says of a release's schema, read at the moment of the call. */
export interface SchemaView {
  current: number
  min: number
  max: number
  compatible: boolean
  /** Whether `current` lies in the range, by slotgate's own arithmetic. */
  in_range: boolean
  pending_migrations: string[]
  dirty: boolean
  migration_running: boolean
}

export interface SlotView {
  slot: SlotName
  release: string | null
  state: SlotState
  healthy: boolean
  /** Why it is not healthy or not running, in a few words. */
  detail: string | null
  pid: number | null
  boot_id: string | null
  public_urls: string[]
  internal_url: string | null
  /** ISO time of the boot. */
  since: string | null
  restarts: number
  /** Whether an earlier slotgate booted its process, and this one took it over. */
  taken_over: boolean
  /** null: no usable status (then `schema_problem` says why), nothing running, or `schema: off`. */
  schema: SchemaView | null
  schema_problem: Reason | null
  /** The range it declared when it was last asked, kept in the journal; null if never asked. */
  recorded_range: Range | null
  /** Requests and tunnels being answered by this slot right now. */
  claims: ClaimCounts
  /** The same of those who see it in the idle slot, or saw it there. */
  previews: ClaimCounts
}

export interface OperationView {
  operation: Operation
  release: string | null
  actor: string
  /** ISO time. */
  since: string
  /** One of a few fixed words: see docs/life-of-a-promotion.md. */
  step: string
}

export interface DrainView {
  release: string
  slot: SlotName
  generation: number
  claims: ClaimCounts
  /** ISO time at which requests, and at which tunnels, are cut. */
  requests_until: string
  tunnels_until: string
}

/** New requests wait. */
export interface PauseView {
  /** ISO time. */
  since: string
  /** Who asked for it, or for its last extension. */
  actor: string
  /** ISO time at which it ends by itself; null: it does not, or with the exclusive switch that is under way. */
  until: string | null
  /** How many requests wait right now. */
  held: number
}

export interface BakeCounts {
  /** Those in which the app had a say. */
  requests: number
  /** A 5xx of the app, no connection to it, no answer in time. */
  failed: number
}

/** A release on trial. It goes back when its share of failed requests is above the limit and clearly above the former one's. */
export interface BakeView extends BakeCounts {
  release: string
  /** ISO time. */
  until: string
  /** What it is compared with: the release before it, until the switch. */
  former: { release: string } & BakeCounts
  max_error_ratio: number
  min_requests: number
}

/** `GET /v1/services/:s`. */
export interface ServiceStatus {
  service: string
  generation: number
  /** null while nothing is live. */
  live: SlotView | null
  idle: SlotView
  door: Door
  operation: OperationView | null
  draining: DrainView[]
  /** null: requests go on. */
  paused: PauseView | null
  /** null: nothing is on trial. */
  bake: BakeView | null
  schema: { check: 'on' | 'off'; current: number | null; warnings: Reason[] }
  hosts: string[]
  path_prefix: string
}

export interface StageResult {
  service: string
  operation: 'stage'
  slot: SlotName
  release: string
  boot_id: string | null
  pid: number | null
  public_urls: string[]
  internal_url: string
  generation: number
  took_ms: number
}

export interface CheckResult {
  service: string
  operation: 'promote' | 'rollback'
  release: string
  allowed: boolean
  generation: number
  verdict: Verdict
}

/** `GET /v1/services/:s/advice`: what a migration would close. */
export interface AdviceResult extends Advice {
  service: string
  generation: number
  /** What is being done to the service right now; a migration had better wait for it. */
  operation: OperationView | null
}

export interface SwitchResult {
  service: string
  operation: 'promote' | 'rollback' | 'deploy'
  generation: number
  live: { slot: SlotName; release: string }
  previous: { slot: SlotName; release: string } | null
  /** null where the release was live already, and nothing had to be asked. */
  verdict: Verdict | null
  /** How often the statuses were read and judged before the flip. */
  attempts: number
  /** Where the schema was when the switch was decided, and right after it; null where nobody said. */
  schema_before: number | null
  schema_after: number | null
  took_ms: number
}

export interface PauseResult {
  service: string
  operation: 'pause' | 'resume'
  generation: number
  /** As it is now. After a resume it is there only while an exclusive switch is under way. */
  paused: PauseView | null
  /** What is open, whichever release answers it; it goes on. */
  claims: ClaimCounts
}

export interface PreviewResult {
  service: string
  operation: 'preview'
  generation: number
  /** What is in the idle slot just now; null: nothing. */
  release: string | null
  /** Whoever opens it sees what is in the idle slot: it is a secret. */
  link: string
  /** ISO time from which it is void. */
  until: string
}

export interface PreviewsEndResult {
  service: string
  operation: 'end_previews'
  generation: number
}

export interface HistoryQuery {
  service?: string
  /** 1 to 1000. */
  limit: number
  /** Only records with a lower `seq`. */
  before?: number
}

/** What can be followed while it happens. */
export const FOLLOWED = ['record', 'step', 'output', 'traffic'] as const
export type Followed = (typeof FOLLOWED)[number]

/** Something is in the journal, and on the disk. */
export interface RecordEvent {
  kind: 'record'
  record: JournalRecord
}

/** An operation has begun, goes on to another step, or has ended; not journaled. */
export interface StepEvent {
  kind: 'step'
  /** ISO time. */
  time: string
  service: string
  /** As in the status; when it has ended, with its last step. */
  operation: OperationView
  state: 'under way' | 'done' | 'failed'
  /** Why it failed; else null. */
  code: Code | null
}

/** A line that a release writes while it is set up or boots, with its secrets masked as in the log; not journaled. */
export interface OutputEvent {
  kind: 'output'
  /** ISO time. */
  time: string
  service: string
  slot: SlotName
  release: string
  from: 'setup' | 'boot'
  line: string
}

export interface SlotTraffic extends Omit<Traffic, 'service'> {
  release: string | null
  /** Requests and tunnels being answered by this slot right now. */
  claims: ClaimCounts
}

/** What comes over the slots of a service, once a second while somebody reads it; not journaled. */
export interface TrafficEvent {
  kind: 'traffic'
  /** ISO time. */
  time: string
  service: string
  slots: SlotTraffic[]
}

/** The records that were asked for have been told; from here on it is told as it happens. */
export interface LiveEvent {
  kind: 'live'
  /** The last record there is; 0 while there is none. */
  seq: number
}

/** Records that were asked for are not there: those after `after`, and before the one that comes next. */
export interface GapEvent {
  kind: 'gap'
  after: number
  next: number
}

export type FeedEvent = RecordEvent | StepEvent | OutputEvent | TrafficEvent | LiveEvent | GapEvent

export interface EventsQuery {
  /** Absent: all of them, and what concerns none. */
  service?: string
  kinds: readonly Followed[]
  /** The records after this one first; absent: only what happens from now on. */
  since?: number
  /** Ends the reading, and is aborted where the reader takes the events too slowly. */
  ending: AbortController
}

/** Everything the admin API can ask for. Each call throws a SlotgateError whose code says what is wrong. */
export interface Control {
  statuses(): Promise<Record<string, ServiceStatus>>
  status(service: string): Promise<ServiceStatus>
  /** @param to the schema version that somebody means to migrate to */
  advice(service: string, to: number): Promise<AdviceResult>
  stage(service: string, release: string, context: CallContext): Promise<StageResult>
  check(
    service: string,
    operation: 'promote' | 'rollback',
    to: string | undefined,
    context: CallContext,
  ): Promise<CheckResult>
  promote(service: string, context: CallContext): Promise<SwitchResult>
  rollback(service: string, to: string | undefined, context: CallContext): Promise<SwitchResult>
  deploy(service: string, release: string, context: CallContext): Promise<SwitchResult>
  /** @param forMs when it ends by itself, in milliseconds from now; null: never */
  pause(service: string, forMs: number | null, context: CallContext): Promise<PauseResult>
  resume(service: string, context: CallContext): Promise<PauseResult>
  /** @param forMs for how long the link is good */
  preview(service: string, forMs: number, context: CallContext): Promise<PreviewResult>
  /** Makes every link void that there is. */
  endPreviews(service: string, context: CallContext): Promise<PreviewsEndResult>
  /** Newest first. */
  history(query: HistoryQuery): Promise<JournalRecord[]>
  /**
   * What was, from a record on, and what happens, in its order and as many events at a time as have come. Whoever is too
   * slow may read again after the last record it has, and has missed nothing but steps and output.
   */
  events(query: EventsQuery): Promise<AsyncIterable<readonly FeedEvent[]>>
}
