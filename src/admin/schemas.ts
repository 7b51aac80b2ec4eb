// JSON schemas of what the admin API takes and answers. Those of the input are enforced; those of the answers describe
// the types of switch/types.ts for the OpenAPI document, and a test holds the two together.
import { LONGEST_DURATION_MS } from '../config/durations.ts'
import { RELEASE_NAME } from '../config/names.ts'
import { ACTIONS } from '../config/types.ts'
import { SLOTS } from '../contract.ts'
import { EVENTS } from '../journal/record.ts'
import { FOLLOWED } from '../switch/types.ts'

type Schema = Record<string, unknown>
type Properties = Record<string, Schema>

const text: Schema = { type: 'string' }
const textOrNull: Schema = { type: ['string', 'null'] }
const flag: Schema = { type: 'boolean' }
const count: Schema = { type: 'integer', minimum: 0 }
const countOrNull: Schema = { type: ['integer', 'null'], minimum: 0 }
const time: Schema = { type: 'string', format: 'date-time' }
const timeOrNull: Schema = { type: ['string', 'null'], format: 'date-time' }
const slot: Schema = { type: 'string', enum: SLOTS }
const listOf = (items: Schema): Schema => ({ type: 'array', items })
const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] })

/** All properties are required but those named in `optional`; others are refused unless `open`. */
function object(properties: Properties, { optional = [] as string[], open = false } = {}): Schema {
  const required = Object.keys(properties).filter((name) => !optional.includes(name))
  return { type: 'object', properties, required, additionalProperties: open }
}

const release: Schema = { type: 'string', pattern: RELEASE_NAME.source, examples: ['r42'] }

// What callers send.
export const serviceParams = object({ service: { type: 'string', minLength: 1, maxLength: 255 } })
export const noBody = object({})
export const releaseBody = object({ release })
const exclusive: Schema = {
  ...flag,
  description: 'Old and new code never answer at the same time: requests wait until what is open has ended.',
}
export const promoteBody = object({ exclusive }, { optional: ['exclusive'] })
export const rollbackBody = object({ to: release, exclusive }, { optional: ['to', 'exclusive'] })
export const deployBody = object({ release, exclusive }, { optional: ['exclusive'] })
export const pauseBody = object(
  {
    for_ms: {
      type: 'integer',
      minimum: 1,
      maximum: LONGEST_DURATION_MS,
      description: 'When it ends by itself; never, if absent.',
    },
  },
  { optional: ['for_ms'] },
)
export const previewBody = object(
  {
    for_ms: {
      type: 'integer',
      minimum: 1_000,
      maximum: LONGEST_DURATION_MS,
      default: 3_600_000,
      description: 'For how long the link is good.',
    },
  },
  { optional: ['for_ms'] },
)
export const lendBody = object({
  public_key: { ...text, maxLength: 200, description: 'Ed25519, its 32 bytes in base64.' },
})
export const checkBody = object(
  { operation: { type: 'string', enum: ['promote', 'rollback'] }, to: release },
  { optional: ['to'] },
)
export const historyQuery = object(
  {
    service: text,
    limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
    before: { type: 'integer', minimum: 1 },
  },
  { optional: ['service', 'limit', 'before'] },
)
export const eventsQuery = object(
  {
    service: text,
    kinds: {
      ...listOf({ type: 'string', enum: FOLLOWED }),
      minItems: 1,
      default: FOLLOWED,
      description: 'Repeated, or with commas between them; all of them if absent.',
    },
    since: {
      ...count,
      description: 'The records after this `seq` first; so does Last-Event-ID, which is heeded before it.',
    },
  },
  { optional: ['service', 'kinds', 'since'] },
)
export const adviceQuery = object({
  to: { ...count, maximum: Number.MAX_SAFE_INTEGER, description: 'The schema version to migrate to.' },
})
export const ifMatchHeader: Schema = {
  type: 'object',
  properties: { 'if-match': { ...text, description: 'The generation the caller has seen, such as "17".' } },
}

export const lastEventIdHeader: Schema = {
  type: 'object',
  properties: { 'last-event-id': { ...text, description: 'The `id` of the last event that was read.' } },
}

// What they get.
const claims = object({ requests: count, tunnels: count })
const range = object({ min: count, max: count })
const reasonSchema = object({ code: text, sentence: text, hint: text }, { optional: ['hint'], open: true })

const schemaStatus = object(
  {
    current_schema_version: count,
    code_min_schema_version: count,
    code_max_schema_version: count,
    compatible: flag,
  },
  { open: true },
)
const party = object({ release: text, status: orNull(schemaStatus) })

export const verdict = object({
  operation: { type: 'string', enum: ['promote', 'rollback'] },
  allowed: flag,
  code: text,
  reasons: listOf(reasonSchema),
  warnings: listOf(reasonSchema),
  target: party,
  live: orNull(party),
  evidence: { type: 'string', enum: ['probed', 'recorded', 'none'] },
  attempts: count,
})

const schemaView = object({
  current: count,
  min: count,
  max: count,
  compatible: flag,
  in_range: flag,
  pending_migrations: listOf(text),
  dirty: flag,
  migration_running: flag,
})

const slotView = object({
  slot,
  release: textOrNull,
  state: { type: 'string', enum: ['empty', 'starting', 'running', 'restarting', 'exited', 'stopped'] },
  healthy: flag,
  detail: textOrNull,
  pid: countOrNull,
  boot_id: textOrNull,
  public_urls: listOf(text),
  internal_url: textOrNull,
  since: timeOrNull,
  restarts: count,
  taken_over: flag,
  schema: orNull(schemaView),
  schema_problem: orNull(reasonSchema),
  recorded_range: orNull(range),
  claims,
  previews: claims,
})

const door = object({
  open: { type: ['boolean', 'null'] },
  to: textOrNull,
  code: textOrNull,
  sentence: text,
  evidence: { type: 'string', enum: ['recorded', 'probed'] },
})

const operationView = object({
  operation: { type: 'string', enum: ['stage', 'check', 'promote', 'rollback', 'deploy', 'first'] },
  release: textOrNull,
  actor: text,
  since: time,
  step: text,
})

const drainView = object({
  release: text,
  slot,
  generation: count,
  claims,
  requests_until: time,
  tunnels_until: time,
})

const bakeCounts = { requests: count, failed: count }

const bakeView = object({
  release: text,
  until: time,
  ...bakeCounts,
  former: object({ release: text, ...bakeCounts }),
  max_error_ratio: { type: 'number', minimum: 0, exclusiveMaximum: 1 },
  min_requests: count,
})

const pauseView = object({ since: time, actor: text, until: timeOrNull, held: count })

export const serviceStatus = object({
  service: text,
  generation: count,
  live: orNull(slotView),
  idle: slotView,
  door,
  operation: orNull(operationView),
  draining: listOf(drainView),
  paused: orNull(pauseView),
  bake: orNull(bakeView),
  schema: object({
    check: { type: 'string', enum: ['on', 'off'] },
    current: countOrNull,
    warnings: listOf(reasonSchema),
  }),
  hosts: listOf(text),
  path_prefix: text,
})

export const services = object({ services: { type: 'object', additionalProperties: serviceStatus } })

export const stageResult = object({
  service: text,
  operation: { type: 'string', const: 'stage' },
  slot,
  release: text,
  boot_id: textOrNull,
  pid: countOrNull,
  public_urls: listOf(text),
  internal_url: text,
  generation: count,
  took_ms: { type: 'number', minimum: 0 },
})

export const checkResult = object({
  service: text,
  operation: { type: 'string', enum: ['promote', 'rollback'] },
  release: text,
  allowed: flag,
  generation: count,
  verdict,
})

const truthOrNull: Schema = { type: ['boolean', 'null'] }

export const adviceResult = object(
  {
    service: text,
    generation: count,
    from: countOrNull,
    to: count,
    verdict: {
      enum: ['two_way_door', 'one_way_door', 'breaks_live', 'no_rollback_target', null],
      description: 'null: what is known does not decide it.',
    },
    sentence: text,
    hint: text,
    live: textOrNull,
    breaks: listOf(text),
    opens: listOf(text),
    highest_two_way: countOrNull,
    per_release: listOf(
      object({
        release: text,
        role: { type: 'string', enum: ['live', 'staged', 'previous'] },
        range: orNull(range),
        fits_now: truthOrNull,
        fits_then: truthOrNull,
      }),
    ),
    warnings: listOf(reasonSchema),
    operation: orNull(operationView),
  },
  { optional: ['hint'] },
)

const placed = object({ slot, release: text })

export const switchResult = object({
  service: text,
  operation: { type: 'string', enum: ['promote', 'rollback', 'deploy'] },
  generation: count,
  live: placed,
  previous: orNull(placed),
  verdict: orNull(verdict),
  attempts: count,
  schema_before: countOrNull,
  schema_after: countOrNull,
  took_ms: { type: 'number', minimum: 0 },
})

export const pauseResult = object({
  service: text,
  operation: { type: 'string', enum: ['pause', 'resume'] },
  generation: count,
  paused: orNull(pauseView),
  claims,
})

export const previewResult = object({
  service: text,
  operation: { type: 'string', enum: ['preview'] },
  generation: count,
  release: textOrNull,
  link: text,
  until: time,
})

export const previewsEndResult = object({
  service: text,
  operation: { type: 'string', enum: ['end_previews'] },
  generation: count,
})

const record = object(
  {
    seq: { type: 'integer', minimum: 1 },
    time,
    event: { type: 'string', enum: EVENTS },
    actor: text,
    service: text,
    generation: count,
    slot,
    release: text,
    prev: text,
  },
  { optional: ['service', 'generation', 'slot', 'release'], open: true },
)

export const history = object({ records: listOf(record) })

const kind = (name: string): Schema => ({ type: 'string', const: name })

const rate: Schema = { type: 'number', minimum: 0 }
const msOrNull: Schema = { type: ['number', 'null'], minimum: 0 }

const slotTraffic = object({
  slot,
  release: textOrNull,
  claims,
  requests_per_s: rate,
  errors_per_s: rate,
  p50_ms: msOrNull,
  p99_ms: msOrNull,
})

/** What a `data:` line of the events is. */
export const feedEvent: Schema = {
  oneOf: [
    object({ kind: kind('record'), record }),
    object({
      kind: kind('step'),
      time,
      service: text,
      operation: operationView,
      state: { type: 'string', enum: ['under way', 'done', 'failed'] },
      code: textOrNull,
    }),
    object({
      kind: kind('output'),
      time,
      service: text,
      slot,
      release: text,
      from: { type: 'string', enum: ['setup', 'boot'] },
      line: text,
    }),
    object({ kind: kind('traffic'), time, service: text, slots: listOf(slotTraffic) }),
    object({ kind: kind('live'), seq: count }),
    object({ kind: kind('gap'), after: count, next: count }),
  ],
}

export const keyResult = object({
  key: object({
    id: text,
    algorithm: { type: 'string', enum: ['ed25519', 'hmac-sha256'] },
    allow: listOf({ type: 'string', enum: ACTIONS }),
    until: { ...timeOrNull, description: 'null: as long as it is in the config.' },
  }),
})

export const health = object({ status: { type: 'string', const: 'ok' } })

/** RFC 9457, with the members of errors.ts; the facts of the error stand beside them. */
export const problem = object(
  {
    type: text,
    title: text,
    status: { type: 'integer' },
    detail: text,
    code: text,
    stage: text,
    retryable: flag,
    request_id: text,
    hint: text,
    verdict,
  },
  { optional: ['hint', 'verdict'], open: true },
)
