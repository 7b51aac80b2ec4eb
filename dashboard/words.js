// What the page says: numbers, times, and the records of the journal as sentences.

/** @typedef {import('../src/journal/record.ts').JournalRecord} JournalRecord */
/** @typedef {import('../src/switch/types.ts').SlotView} SlotView */
/** @typedef {import('../src/switch/types.ts').SchemaView} SchemaView */
/** @typedef {import('../src/contract.ts').Range} Range */
/** @typedef {import('../src/slots/table.ts').ClaimCounts} ClaimCounts */
/** @typedef {import('./dom.js').Icon} Icon */

const UNITS = /** @type {const} */ ([
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
])

/**
 * @param {number} ms
 * @returns {string} `3 h`, `12 s`
 */
export function span(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const [unit, size] = UNITS.find(([, unitSeconds]) => seconds >= unitSeconds) ?? ['s', 1]
  return `${Math.floor(seconds / size)} ${unit}`
}

/** @param {string} iso */
export const since = (iso) => span(Date.now() - Date.parse(iso))

/**
 * Time of day in UTC: the zone of the journal and the logs.
 *
 * @param {string} iso
 */
export const clock = (iso) => iso.slice(11, 19)

/**
 * @param {number} count
 * @param {string} noun
 */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`

/** @param {Range} range */
export const rangeText = ({ min, max }) => (min === max ? `${min}` : `${min}–${max}`)

/**
 * @param {Range | null} range that a release declared
 * @param {boolean | null} fits the schema as it is
 * @returns {string} the end of a sentence that begins with the release
 */
export function declaredText(range, fits) {
  if (!range) return 'never said which versions it works with.'
  const end = fits === null ? '' : fits ? ', which fits' : ', which does not fit'
  return `works with schema ${rangeText(range)}${end}.`
}

/**
 * A whole commit is too long to read.
 *
 * @param {string} words a release, or a sentence about some
 */
export const short = (words) => words.replace(/\b([0-9a-f]{12})[0-9a-f]{28}\b/g, '$1')

/** @param {number} rate per second */
export const rateText = (rate) => (rate === 0 || rate >= 100 ? rate.toFixed(0) : rate.toPrecision(2))

/** @param {number | null} ms */
export function msText(ms) {
  if (ms === null) return '–'
  if (ms >= 10_000) return `${(ms / 1000).toFixed(0)} s`
  return ms >= 100 ? `${ms.toFixed(0)} ms` : `${ms.toPrecision(2)} ms`
}

/**
 * @param {Pick<SchemaView, 'current' | 'min' | 'max' | 'compatible' | 'dirty' | 'migration_running'>} schema
 * @returns {string | null} why a release does not fit the schema as it is; null if it fits
 */
export function misfit({ current, min, max, compatible, dirty, migration_running: running }) {
  if (dirty) return 'a migration was applied in part'
  if (running) return 'a migration is running'
  if (current < min) return `needs ${min} or newer`
  if (current > max) return `does not know ${current}`
  return compatible ? null : 'says it is not compatible'
}

/** What was done, by operation. */
const DONE = { promote: 'promoted', rollback: 'rolled back to', deploy: 'deployed', first: 'promoted' }

/**
 * @param {unknown} operation
 * @returns {string}
 */
export const done = (operation) =>
  Object.entries(DONE).find(([name]) => name === operation)?.[1] ?? 'switched to'

/** @param {string} text */
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1)

/**
 * @typedef {object} Told
 * @property {Icon} icon
 * @property {string} sentence
 * @property {'good' | 'bad' | 'warning' | 'plain'} mood
 */

/**
 * @param {Icon} icon
 * @param {Told['mood']} mood
 * @param {string} sentence
 * @returns {Told}
 */
const told = (icon, mood, sentence) => ({ icon, mood, sentence: short(sentence) })

/** @param {unknown} fact */
const text = (fact) => (typeof fact === 'string' ? fact : '')
/** @param {unknown} fact */
const behind = (fact) => (text(fact) === '' ? '' : `: ${text(fact)}`)
/** @param {unknown} fact */
const whole = (fact) => (text(fact).endsWith('.') ? text(fact) : null)
/** @param {unknown} fact */
const number = (fact) => (typeof fact === 'number' ? fact : 0)

/** @param {unknown} from */
const fromText = (from) =>
  typeof from === 'object' && from !== null && 'release' in from
    ? ` Before it was ${String(from.release)}.`
    : ''

/** @param {JournalRecord} record */
function reasonIn({ reasons }) {
  const [primary] = Array.isArray(reasons) ? reasons : []
  return text(primary?.sentence)
}

/** @param {JournalRecord} record */
const placeOf = ({ release = 'It', slot }) => `${release}${slot ? ` in ${slot}` : ''}`

/** @type {Record<Exclude<JournalRecord['event'], keyof typeof MOODS>, (record: JournalRecord) => Told>} */
const SENTENCES = {
  slotgate_started: () => told('dot', 'plain', 'slotgate started.'),
  slotgate_stopped: () => told('dot', 'plain', 'slotgate stopped.'),
  setup_done: ({ release = '' }) => told('ok', 'plain', `The setup of ${release} is done.`),
  booting: (record) =>
    told(
      'wait',
      'plain',
      `${placeOf(record)} boots${record.rehearsal === true ? ', only to be asked' : ''}.`,
    ),
  booted: (record) => told('ok', 'plain', `${placeOf(record)} is healthy.`),
  boot_failed: (record) =>
    told('bad', 'bad', whole(record.detail) ?? `${placeOf(record)} did not come up${behind(record.detail)}.`),
  exited: (record) => told('bad', 'bad', `${placeOf(record)} ended by itself${behind(record.detail)}.`),
  restarting: (record) =>
    told('wait', 'warning', `${placeOf(record)} is started again in ${span(number(record.delay_ms))}.`),
  stopped: (record) => told('dot', 'plain', `${placeOf(record)} was stopped${behind(record.detail)}.`),
  staged: ({ release = '', slot }) => told('ok', 'plain', `${release} is staged in ${slot}.`),
  asked: ({ release = '', operation, allowed, code }) =>
    allowed === true
      ? told('ok', 'plain', `Checked: ${release} may be ${done(operation)}.`)
      : told('bad', 'warning', `Checked: ${release} must not be ${done(operation)} (${text(code)}).`),
  flipped: ({ release = '', slot, operation, from, exclusive }) =>
    told(
      'flip',
      'good',
      `${capital(done(operation))} ${release}: ${slot} is live${exclusive === true ? ', by an exclusive switch' : ''}.${fromText(from)}`,
    ),
  refused: (record) =>
    told(
      'bad',
      'bad',
      `The gate refused: ${record.release ?? ''} was not ${done(record.operation)}. ${reasonIn(record)}`,
    ),
  drained: ({ release = '', cut, took_ms: tookMs }) => {
    const { requests = 0, tunnels = 0 } = /** @type {Partial<ClaimCounts>} */ (cut ?? {})
    const took = msText(number(tookMs))
    return requests + tunnels === 0
      ? told('dot', 'plain', `${release} has finished its requests after ${took}.`)
      : told(
          'warning',
          'warning',
          `The drain of ${release} was over after ${took}: ${counted(requests, 'request')} and ${counted(tunnels, 'tunnel')} were cut.`,
        )
  },
  paused: ({ exclusive, release = '', until }) =>
    told(
      'pause',
      'warning',
      exclusive === true
        ? `New requests wait for the exclusive switch to ${release}.`
        : `Paused: new requests wait${typeof until === 'string' ? ` until ${clock(until)} UTC` : ''}.`,
    ),
  resumed: () => told('dot', 'good', 'Resumed: requests go on.'),
  preview_opened: ({ until }) =>
    told('dot', 'plain', `A link to the idle slot was made; it is good until ${clock(text(until))} UTC.`),
  previews_ended: () => told('dot', 'plain', 'No link to the idle slot is good any more.'),
  taken_over: (record) =>
    told('dot', 'plain', `${placeOf(record)} runs on; this slotgate has taken it over.`),
  bake_passed: ({ release = '' }) => told('ok', 'good', `${release} has passed its trial.`),
  rotated: () => told('dot', 'plain', 'The journal goes on in a new file.'),
  leftover_stopped: ({ release = '' }) =>
    told('dot', 'plain', `What an earlier slotgate had left of ${release} was ended.`),
}

/** Those whose records have a sentence. */
const MOODS = /** @type {const} */ ({
  schema_version_changed: 'warning',
  schema_version_regressed: 'bad',
  schema_live_incompatible: 'bad',
  schema_live_compatible: 'good',
  rollback_door_closed: 'warning',
  rollback_door_opened: 'good',
  bake_failed: 'bad',
  alarm: 'bad',
})

/** @type {Record<Told['mood'], Icon>} */
const MOOD_ICONS = { good: 'ok', bad: 'bad', warning: 'warning', plain: 'dot' }

/**
 * @param {JournalRecord} record
 * @returns {Told}
 */
export function tell(record) {
  const [, words] = Object.entries(SENTENCES).find(([event]) => event === record.event) ?? []
  if (words) return words(record)
  const [, mood = 'plain'] = Object.entries(MOODS).find(([event]) => event === record.event) ?? []
  return told(MOOD_ICONS[mood], mood, text(record.sentence) || capital(record.event.replaceAll('_', ' ')))
}

/**
 * @typedef {object} Heard what a release said of itself
 * @property {string} who
 * @property {number} current
 * @property {Range} range
 * @property {string | null} misfit
 */

/**
 * @param {JournalRecord} record
 * @returns {Heard[]} the evidence of a decision
 */
export function evidenceOf({ evidence }) {
  const parties = /** @type {{ target?: Party | null, live?: Party | null }} */ (evidence ?? {})
  return [partyOf(parties.target, ''), partyOf(parties.live, ', live')].flatMap((party) => party ?? [])
}

/** @typedef {{ release: string, status: import('../src/contract.ts').SchemaStatus | null }} Party */

/**
 * @param {Party | null | undefined} party
 * @param {string} role
 * @returns {Heard | null}
 */
export function partyOf(party, role) {
  if (!party?.status) return null
  const {
    current_schema_version: current,
    code_min_schema_version: min,
    code_max_schema_version: max,
    compatible,
    dirty = false,
    migration_running = false,
  } = party.status
  return {
    who: `${short(party.release)}${role}`,
    current,
    range: { min, max },
    misfit: misfit({ current, min, max, compatible, dirty, migration_running }),
  }
}

/** @type {Record<import('../src/gate/advice.ts').AdviceVerdict | 'unknown', { icon: Icon, mood: Told['mood'], title: string }>} */
export const ADVICE = {
  two_way_door: { icon: 'ok', mood: 'good', title: 'There is a way back' },
  one_way_door: { icon: 'warning', mood: 'warning', title: 'No way back' },
  breaks_live: { icon: 'bad', mood: 'bad', title: 'Breaks live' },
  no_rollback_target: { icon: 'info', mood: 'plain', title: 'Nothing to go back to' },
  unknown: { icon: 'info', mood: 'warning', title: 'Not known' },
}
