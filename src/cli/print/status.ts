// The status of a service, for somebody who was woken up by it.
import type { Range } from '../../contract.ts'
import type {
  BakeView,
  DrainView,
  OperationView,
  PauseResult,
  PauseView,
  SchemaView,
  ServiceStatus,
  SlotView,
} from '../../switch/types.ts'
import { columns, counted, type Style, span, tame } from '../style.ts'

const rangeText = ({ min, max }: Range): string => `[${min}–${max}]`

/** What it takes to say whether a release fits. */
export type Fit = Pick<SchemaView, 'current' | 'min' | 'max' | 'compatible' | 'dirty' | 'migration_running'>

/** Why a release does not fit the schema as it is, in a few words; undefined if it fits. */
function misfit({
  current,
  min,
  max,
  compatible,
  dirty,
  migration_running: running,
}: Fit): string | undefined {
  if (dirty) return 'a migration was applied in part'
  if (running) return 'a migration is running'
  if (current < min) return `needs ${min} or newer`
  if (current > max) return `does not know ${current}`
  return compatible ? undefined : 'says it is not compatible'
}

/** A range against the current version: `[42–44] ✓`, or a cross with the reason. */
export function fit(view: Fit, style: Style): string {
  const why = misfit(view)
  return `${rangeText(view)} ${why === undefined ? style.green('✓') : style.red(`✗ ${why}`)}`
}

function schemaCell(
  { schema, schema_problem: problem, recorded_range: recorded }: SlotView,
  style: Style,
): string {
  if (schema) return fit(schema, style)
  const range = recorded ? `${rangeText(recorded)} ` : ''
  if (problem) return `${range}${style.red('✗ no usable status')}`
  return recorded ? `${range}${style.dim('as declared earlier')}` : ''
}

function healthCell({ state, healthy }: SlotView, style: Style): string {
  if (state === 'empty') return style.dim('empty')
  if (state === 'running') return healthy ? style.green('healthy') : style.red('not healthy')
  return state === 'starting' ? style.yellow(state) : style.red(state)
}

const claimsText = ({ requests, tunnels }: SlotView['claims']): string =>
  tunnels === 0
    ? counted(requests, 'request')
    : `${counted(requests, 'request')}, ${counted(tunnels, 'tunnel')}`

/** Of those who see it in the idle slot, or saw it there. */
const previewsText = ({ previews: { requests, tunnels } }: SlotView): string =>
  requests + tunnels === 0 ? '' : counted(requests + tunnels, 'preview')

function slotRow(role: 'live' | 'idle', view: SlotView, style: Style, now: number): string[] {
  const mark = role === 'live' ? style.green('●') : '○'
  if (view.release === null) return [`  ${mark} ${role}`, view.slot, '–', healthCell(view, style)]
  const up = view.since === null ? '' : `up ${span(now - Date.parse(view.since))}`
  const restarts = view.restarts === 0 ? '' : style.yellow(counted(view.restarts, 'restart'))
  return [
    `  ${mark} ${role}`,
    view.slot,
    style.bold(view.release),
    healthCell(view, style),
    schemaCell(view, style),
    claimsText(view.claims),
    [up, restarts, view.taken_over ? 'taken over' : '', previewsText(view)].filter(Boolean).join(', '),
    view.internal_url ? style.dim(`internal ${view.internal_url}`) : '',
  ]
}

/** What does not fit into a row: why it is not healthy, what its status lacks. */
function slotNotes(view: SlotView, style: Style): string[] {
  const { release, detail, healthy, schema_problem: problem } = view
  return [
    ...(detail !== null && !healthy ? [style.red(`${release ?? view.slot}: ${tame(detail)}`)] : []),
    ...(problem ? [style.red(tame(problem.sentence))] : []),
  ]
}

/** The migrations that have not run, once for all the releases that ship the same ones. */
function pendingNotes(views: readonly SlotView[]): string[] {
  const releases = Map.groupBy(views, ({ schema }) => schema?.pending_migrations.join(', ') ?? '')
  releases.delete('')
  return [...releases].map(
    ([files, by]) => `not run yet: ${tame(files)} (in ${by.map(({ release }) => release).join(' and ')})`,
  )
}

/** The note on pending migrations says it already; what could be cleaned up one day needs no mark. */
function warningNotes({ schema }: ServiceStatus, style: Style): string[] {
  return schema.warnings
    .filter(({ code }) => code !== 'pending_migrations')
    .map(({ code, sentence }) =>
      code === 'orphaned_migrations' ? style.dim(tame(sentence)) : style.yellow(`! ${tame(sentence)}`),
    )
}

function doorText({ door }: ServiceStatus, style: Style): string {
  const words = { true: style.green('open'), false: style.red('closed'), null: style.yellow('unknown') }
  return `door ${words[`${door.open}`]}: ${tame(door.sentence)}`
}

const operationText = ({ operation, release, actor, since, step }: OperationView, now: number): string =>
  `${operation}${release === null ? '' : ` of ${release}`} by ${actor} for ${span(now - Date.parse(since))}: ${step}`

/** Time of day, in UTC: the zone of the journal and the logs. */
export const clock = (iso: string): string => `${iso.slice(11, 19)} UTC`

const drainText = ({ release, slot, claims, requests_until, tunnels_until }: DrainView): string =>
  `${release} in ${slot} drains: ${counted(claims.requests, 'request')} until ${clock(requests_until)}, ` +
  `${counted(claims.tunnels, 'tunnel')} until ${clock(tunnels_until)}`

const bakeText = ({ release, until, failed, requests, former }: BakeView): string =>
  `${release} is on trial until ${clock(until)}: ${failed} of ${counted(requests, 'request')} failed; ` +
  `${former.release} before it: ${former.failed} of ${former.requests}`

function pauseText({ since, actor, until, held }: PauseView, now: number): string {
  const end = until === null ? '' : ` until ${clock(until)}`
  return `paused by ${actor} for ${span(now - Date.parse(since))}${end}: ${counted(held, 'request')} held`
}

function headline(status: ServiceStatus, style: Style): string {
  const { schema, hosts, path_prefix: path } = status
  const version = schema.check === 'off' ? 'off' : String(schema.current ?? 'unknown')
  return [
    style.bold(status.service),
    `generation ${status.generation}`,
    `schema ${version}`,
    style.dim(`${hosts.length > 0 ? hosts.join(', ') : 'any host'} ${path}`),
  ].join('   ')
}

/**
 * @param now milliseconds since the epoch
 * @returns a few lines: a headline, a row per slot, and only then what deserves a sentence
 */
export function printStatus(status: ServiceStatus, style: Style, now = Date.now()): string {
  const { live, idle, operation, draining, paused, bake } = status
  const rows = [...(live ? [slotRow('live', live, style, now)] : []), slotRow('idle', idle, style, now)]
  const notes = [
    ...(live ? slotNotes(live, style) : [style.yellow('nothing is live yet: slotgate deploy RELEASE')]),
    ...slotNotes(idle, style),
    ...pendingNotes(live ? [live, idle] : [idle]),
    ...warningNotes(status, style),
    ...(operation ? [style.yellow(operationText(operation, now))] : []),
    ...(paused ? [style.yellow(pauseText(paused, now))] : []),
    ...draining.map(drainText),
    ...(bake ? [style.yellow(bakeText(bake))] : []),
    doorText(status, style),
  ]
  // The live release's own problem and the warning about it can be the same sentence.
  const once = [...new Set(notes)].map((note) => `    ${note}`)
  return [headline(status, style), ...columns(rows), ...once].join('\n')
}

export function printPause({ service, operation, paused, claims }: PauseResult, style: Style): string {
  const headline = (text: string) => `${style.green('✓')} ${service}: ${text}`
  if (operation === 'resume') {
    return headline(paused ? 'requests go on when the exclusive switch has ended' : 'requests go on')
  }
  const end = paused?.until ? `until ${clock(paused.until)}` : 'until slotgate resume'
  return [headline(`new requests wait ${end}`), `  still open: ${claimsText(claims)}`].join('\n')
}
