// The wire contract between slotgate and an app: names, shapes and the one parser of a status answer.

/** The two places of a service. Their index (0, 1) is what the pointer word holds. */
export const SLOTS = ['blue', 'green'] as const
export type SlotName = (typeof SLOTS)[number]

export const otherSlot = (slot: SlotName): SlotName => (slot === 'blue' ? 'green' : 'blue')

/** Whole commit hashes, where they are no part of a path or of a longer word. */
const COMMITS = /(?<![\w./-])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![\w/-])/g
const SHORT_COMMIT = 12

/** A text as people read it: a release that is a commit is called by its first digits, which git takes as well. */
export const withShortCommits = (text: string): string =>
  text.replace(COMMITS, (commit) => commit.slice(0, SHORT_COMMIT))

/** What a booted process finds in its environment (DESIGN §8b). */
export const ENV = {
  port: 'PORT',
  internalPort: 'INTERNAL_PORT',
  host: 'HOST',
  slotgate: 'SLOTGATE',
  service: 'SLOTGATE_SERVICE',
  slot: 'SLOTGATE_SLOT',
  release: 'SLOTGATE_RELEASE',
  bootId: 'SLOTGATE_BOOT_ID',
  rehearsal: 'SLOTGATE_REHEARSAL',
  stateDir: 'SLOTGATE_STATE_DIR',
} as const

/** Sent with every health and status request: what the asked process is to slotgate right now. */
export const ROLE_HEADER = 'slotgate-role'
export type Role = 'live' | 'idle' | 'rehearsal'

/** The schema versions a release's code works with, both ends included. */
export interface Range {
  min: number
  max: number
}

/** One entry of the optional `problems` list: why the app calls itself incompatible. */
export interface StatusProblem {
  code: string
  sentence?: string
  [fact: string]: unknown
}

/** The JSON a release answers at `/schema/status` on its internal port (DESIGN §2). */
export interface SchemaStatus {
  current_schema_version: number
  code_min_schema_version: number
  code_max_schema_version: number
  compatible: boolean
  pending_migrations?: string[]
  dirty?: boolean
  migration_running?: boolean
  database_id?: string
  schema_digest?: string
  boot_id?: string
  release?: string
  problems?: StatusProblem[]
  applied_not_required?: string[]
}

export type ParsedStatus =
  | { ok: true; status: SchemaStatus }
  | { ok: false; code: 'schema_status_not_json'; detail: string }
  | { ok: false; code: 'schema_status_malformed'; field: string; expected: string; got: string }

export type FieldKind = 'version' | 'boolean' | 'string' | 'strings' | 'problems'

const KINDS: Record<keyof SchemaStatus, FieldKind> = {
  current_schema_version: 'version',
  code_min_schema_version: 'version',
  code_max_schema_version: 'version',
  compatible: 'boolean',
  pending_migrations: 'strings',
  dirty: 'boolean',
  migration_running: 'boolean',
  database_id: 'string',
  schema_digest: 'string',
  boot_id: 'string',
  release: 'string',
  problems: 'problems',
  applied_not_required: 'strings',
}

const FIELDS = Object.keys(KINDS) as (keyof SchemaStatus)[]

const REQUIRED = new Set<keyof SchemaStatus>([
  'current_schema_version',
  'code_min_schema_version',
  'code_max_schema_version',
  'compatible',
])

const EXPECTED: Record<FieldKind, string> = {
  version: 'a whole number of 0 or more',
  boolean: 'true or false',
  string: 'a string',
  strings: 'an array of strings',
  problems: 'an array of objects with a code',
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const FITS: Record<FieldKind, (value: unknown) => boolean> = {
  version: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  boolean: (value) => typeof value === 'boolean',
  string: (value) => typeof value === 'string',
  strings: (value) => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
  problems: (value) =>
    Array.isArray(value) && value.every((entry) => isObject(entry) && typeof entry.code === 'string'),
}

/** How many characters of a value a sentence has room for. */
const SHOWN = 40

/** Names a value's kind for a person, with the value itself where it is short: `"42"` is `the string "42"`. */
function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  const text = JSON.stringify(value)
  return `the ${typeof value} ${text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text}`
}

/** @returns why a value is not of a kind, `must be true or false, not the string "yes"`; null where it is */
export const misfit = (kind: FieldKind, value: unknown): string | null =>
  FITS[kind](value) ? null : `must be ${EXPECTED[kind]}, not ${describeValue(value)}`

/** What one field of a body is, and whether it may be so. */
export interface FieldReading {
  field: keyof SchemaStatus
  required: boolean
  given: boolean
  fits: boolean
  expected: string
  got: string
}

/** Reads each field of the contract in a body, in the order of the docs; unknown fields are not looked at. */
export function readFields(body: Record<string, unknown>): FieldReading[] {
  return FIELDS.map((field) => {
    const kind = KINDS[field]
    const required = REQUIRED.has(field)
    const value = Object.hasOwn(body, field) ? body[field] : undefined
    const given = value !== undefined
    const fits = given ? FITS[kind](value) : !required
    return { field, required, given, fits, expected: EXPECTED[kind], got: describeValue(value) }
  })
}

export type ParsedBody =
  | { ok: true; body: Record<string, unknown> }
  | { ok: false; code: 'schema_status_not_json'; detail: string }

/** @returns the one JSON object that the text is */
export function parseBody(text: string): ParsedBody {
  const refuse = (detail: string): ParsedBody => ({ ok: false, code: 'schema_status_not_json', detail })
  try {
    const body: unknown = JSON.parse(text)
    return isObject(body) ? { ok: true, body } : refuse(`the body is ${describeValue(body)}, not an object`)
  } catch (error) {
    return refuse((error as Error).message)
  }
}

/**
 * Parses a status answer.
 *
 * @param text the body, decoded as UTF-8
 * @returns the known fields only (unknown ones are ignored), or the code and the first field that does not fit
 * @see DESIGN.md §2: numbers are JSON numbers, safe integers, ≥ 0; `"042"`, `42.5`, `-1` and `null` are malformed
 */
export function parseStatus(text: string): ParsedStatus {
  const parsed = parseBody(text)
  return parsed.ok ? statusOf(parsed.body) : parsed
}

/** What `parseStatus` makes of a body that is an object. */
export function statusOf(body: Record<string, unknown>): ParsedStatus {
  const fields = readFields(body)
  const wrong = fields.find(({ fits }) => !fits)
  if (wrong) {
    const { field, expected, got } = wrong
    return { ok: false, code: 'schema_status_malformed', field, expected, got }
  }
  const known = fields.filter(({ given }) => given).map(({ field }) => [field, body[field]])
  return { ok: true, status: Object.fromEntries(known) as SchemaStatus }
}

export const rangeOf = (status: SchemaStatus): Range => ({
  min: status.code_min_schema_version,
  max: status.code_max_schema_version,
})

/** @returns the number that a text of a query or a command line writes in digits, as exact as in a status; else null */
export function wholeNumber(text: unknown): number | null {
  const number = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(number) ? number : null
}
