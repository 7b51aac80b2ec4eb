// Every metric there is: its kind, its labels and what it says. docs/metrics.md is held to this table.

type Type = 'counter' | 'gauge' | 'histogram'

export interface Family<T extends Type = Type> {
  readonly type: T
  readonly labels: readonly string[]
  readonly help: string
  /** The upper bounds of a histogram's buckets, in seconds. */
  readonly bounds?: readonly number[]
}

const family =
  <T extends Type>(type: T) =>
  (help: string, ...labels: string[]): Family<T> => ({ type, labels, help })
const counter = family('counter')
const gauge = family('gauge')
const histogram =
  (bounds: readonly number[]) =>
  (help: string, ...labels: string[]): Family<'histogram'> => ({ type: 'histogram', labels, help, bounds })

/** Those that OpenTelemetry advises, with more at both ends. */
const ofRequest = histogram([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60,
])
const ofSwitch = histogram([
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
])

/** Whose it is; slot and release are absent of what reached no slot, the service of what reached none. */
const PLACE = ['service', 'slot', 'release']

export const FAMILIES = {
  slotgate_requests_total: counter('Exchanges that are over, by status code.', ...PLACE, 'code'),
  slotgate_errors_total: counter(
    'Exchanges that an error ended, by its code and by who has to act.',
    ...PLACE,
    'cause',
    'blame',
  ),
  slotgate_request_duration_seconds: ofRequest(
    'From the head of a request to the end of its answer; tunnels are not in it.',
    ...PLACE,
  ),
  slotgate_upstream_duration_seconds: ofRequest(
    "From the head of a request, or from the end of its wait, to the head of the app's answer.",
    ...PLACE,
  ),
  slotgate_preview_requests_total: counter(
    'Exchanges of previews that are over, by status code; they are in no other metric.',
    'service',
    'code',
  ),
  slotgate_claims: gauge('Requests and tunnels that are under way.', ...PLACE, 'kind'),
  slotgate_slot_live: gauge('1 for the slot that new requests go to, 0 for the other.', ...PLACE),
  slotgate_slot_healthy: gauge('Whether the release in a slot runs and says that it is healthy.', ...PLACE),
  slotgate_paused: gauge('Whether new requests are held or refused.', 'service'),
  slotgate_held_requests: gauge(
    'Requests that wait: for the end of a pause, or for the first release.',
    'service',
  ),
  slotgate_generation: gauge('The generation of the pointer; it grows with each switch.', 'service'),
  slotgate_last_flip_timestamp_seconds: gauge('When the pointer moved last.', 'service'),
  slotgate_schema_version: gauge('Where the live release reads that the schema is.', 'service'),
  slotgate_schema_min_version: gauge('The lowest schema version a release works with.', ...PLACE),
  slotgate_schema_max_version: gauge('The highest schema version a release works with.', ...PLACE),
  slotgate_door_open: gauge(
    'Whether a rollback would be allowed; absent where that is not known.',
    'service',
  ),
  slotgate_gate_verdicts_total: counter(
    'Verdicts of the gate, `allowed` or the code of the refusal.',
    'service',
    'operation',
    'code',
  ),
  slotgate_alarms_total: counter(
    'What slotgate said by itself that somebody should look at.',
    'service',
    'code',
  ),
  slotgate_operation_duration_seconds: ofSwitch(
    'From the call to its end, waiting for a boot and for health included.',
    'service',
    'operation',
    'state',
  ),
  slotgate_flip_duration_seconds: ofSwitch(
    'From writing the decision into the journal to the moved pointer.',
    'service',
  ),
  slotgate_drain_duration_seconds: ofSwitch(
    'From a switch to the last claim of the former release.',
    'service',
  ),
  slotgate_drain_cut_total: counter('What a drain had to cut at its limit.', 'service', 'kind'),
  slotgate_spans_total: counter(
    'Spans that were made for the collector, `exported` or `dropped`.',
    'outcome',
  ),
  slotgate_worker_restarts_total: counter('Threads of the front door that died and were replaced.', 'worker'),
  slotgate_worker_delay_seconds: ofRequest(
    "How late a thread's clock ticked, because its event loop was busy.",
    'worker',
  ),
} as const satisfies Record<string, Family>

type FamilyName = keyof typeof FAMILIES
/** The metrics of one kind. */
export type NameOf<T extends Type> = {
  [Name in FamilyName]: (typeof FAMILIES)[Name] extends Family<T> ? Name : never
}[FamilyName]
