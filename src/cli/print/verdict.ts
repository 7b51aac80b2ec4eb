// A verdict and a problem in words: the sentences, the numbers, the hint, and the command that would help.
import { rangeOf, type SchemaStatus } from '../../contract.ts'
import type { Code, Problem, Reason } from '../../errors.ts'
import type { Verdict } from '../../gate/judge.ts'
import type { CheckResult, StageResult, SwitchResult } from '../../switch/types.ts'
import { quoted } from '../shell.ts'
import { type Style, tame } from '../style.ts'
import { type Fit, fit } from './status.ts'

type Party = NonNullable<Verdict['live']>

/** The call that runs the migrations of a release: on the release itself, slotgate never does. */
function runMigrations(internalUrl: string): string {
  const socket = /^unix:(.+)$/.exec(internalUrl)?.[1]
  return socket
    ? `curl -X POST --unix-socket ${quoted(socket)} http://localhost/migrations/run`
    : `curl -X POST ${quoted(`${internalUrl}/migrations/run`)}`
}

type Facts = Reason | Problem

/** Only a candidate of a promotion stays up after a refusal; what was rehearsed for a rollback is gone. */
const migrateCandidate = ({ internal_url: url }: Facts, verdict?: Verdict): string[] =>
  typeof url === 'string' && url !== '' && verdict?.operation === 'promote' ? [runMigrations(tame(url))] : []

/** Commands that would help, by code. */
const COMMANDS: Partial<Record<Code, (facts: Facts, verdict?: Verdict) => string[]>> = {
  schema_behind_code: (facts, verdict) => {
    const migrate = migrateCandidate(facts, verdict)
    return migrate.length === 0 ? [] : [...migrate, 'slotgate promote']
  },
  schema_ahead_of_code: () => ['slotgate deploy RELEASE'],
  no_previous_release: () => ['slotgate deploy RELEASE'],
  nothing_staged: () => ['slotgate stage RELEASE'],
  operation_in_progress: () => ['slotgate status'],
  generation_mismatch: () => ['slotgate status'],
  candidate_unhealthy: () => ['slotgate status'],
  unknown_service: () => ['slotgate status'],
}

const commandsFor = (all: readonly Facts[], verdict?: Verdict): string[] =>
  all.flatMap((facts) => COMMANDS[facts.code]?.(facts, verdict) ?? [])

/**
 * `schema 43   r43 [42–44] ✓   live r42 [41–43] ✓`; nothing where nobody could be asked.
 *
 * @param other what the release is called that was live when the gate was asked
 */
function numbers(verdict: Verdict, style: Style, other: 'live' | 'before' = 'live'): string[] {
  const { target, live, evidence } = verdict
  const current = target.status?.current_schema_version ?? live?.status?.current_schema_version
  if (current === undefined) return []
  const cells = [
    evidence === 'recorded' ? `${target.release} was not asked` : partyText(target, style),
    ...(live ? [`${other} ${partyText(live, style)}`] : []),
  ]
  return [`  schema ${current}   ${cells.join('   ')}`]
}

const partyText = ({ release, status }: Party, style: Style): string =>
  status === null ? `${release} gave no status` : `${release} ${fit(viewOf(status), style)}`

const viewOf = (status: SchemaStatus): Fit => ({
  ...rangeOf(status),
  current: status.current_schema_version,
  compatible: status.compatible,
  dirty: status.dirty ?? false,
  migration_running: status.migration_running ?? false,
})

const withHint = ({ sentence, hint }: Reason): string[] => [
  `  ${tame(sentence)}`,
  ...(hint ? [`    ${tame(hint)}`] : []),
]

const tryThis = (commands: readonly string[], style: Style): string[] =>
  commands.length === 0
    ? []
    : ['  try:', ...[...new Set(commands)].map((command) => `    ${style.bold(command)}`)]

/**
 * The warnings that add something here: the hint of `schema_behind_code` names the pending migrations already, and
 * what could be cleaned up one day is for the status.
 */
function warningsOf({ reasons, warnings }: Verdict): Reason[] {
  const isBehind = reasons.some(({ code }) => code === 'schema_behind_code')
  return warnings.filter(
    ({ code }) => code !== 'orphaned_migrations' && !(isBehind && code === 'pending_migrations'),
  )
}

/** Pending migrations need no haste, so their command is an offer and stands here, not among those to try. */
function warningText(warning: Reason, verdict: Verdict): string[] {
  const [migrate] = warning.code === 'pending_migrations' ? migrateCandidate(warning, verdict) : []
  return withHint(migrate === undefined ? warning : { ...warning, hint: `When it suits: ${migrate}` })
}

const warningLines = (verdict: Verdict, style: Style): string[] =>
  warningsOf(verdict)
    .flatMap((warning) => warningText(warning, verdict))
    .map((line) => style.yellow(line))

/** Everything below the headline of a verdict: numbers, reasons, warnings, commands. */
function body(verdict: Verdict, style: Style, other?: 'live' | 'before'): string[] {
  const { reasons } = verdict
  return [
    ...numbers(verdict, style, other),
    ...reasons.flatMap(withHint),
    ...warningLines(verdict, style),
    ...tryThis(commandsFor([...reasons, ...warningsOf(verdict)], verdict), style),
  ]
}

const codeText = ({ code, evidence }: Verdict): string =>
  evidence === 'recorded' ? `${code}, by the range it declared earlier` : code

const PAST = { promote: 'promoted', rollback: 'rolled back to' } as const

export function printCheck(
  { service, operation, release, allowed, verdict }: CheckResult,
  style: Style,
): string {
  const mark = allowed ? style.green('✓') : style.red('✗')
  const what = `${release} ${allowed ? 'may' : 'must not'} be ${PAST[operation]}`
  const code = allowed ? '' : ` (${codeText(verdict)})`
  return [`${mark} ${service}: ${what} now${code}`, ...body(verdict, style)].join('\n')
}

export function printStage(result: StageResult, style: Style): string {
  const { service, release, slot, internal_url: url, took_ms: tookMs } = result
  return [
    `${style.green('✓')} ${service}: ${style.bold(release)} runs in ${slot}, the idle slot (${Math.round(tookMs)} ms)`,
    `  internal: ${url}`,
    `  next: ${style.bold('slotgate promote')}`,
  ].join('\n')
}

/** The way to the release that was live before this switch: after a rollback that is forward, to what is idle now. */
const WAY_TO_FORMER = {
  promote: 'back to it: slotgate rollback',
  deploy: 'back to it: slotgate rollback',
  rollback: 'forward to it again: slotgate promote',
} as const

function formerText({ operation, live, previous }: SwitchResult): string[] {
  if (!previous) return []
  const way = previous.release === live.release ? '' : `; ${WAY_TO_FORMER[operation]}`
  return [`  before: ${previous.release} in ${previous.slot}${way}`]
}

export function printSwitch(result: SwitchResult, style: Style): string {
  const { service, live, generation, verdict, took_ms: tookMs } = result
  const mark = style.green('✓')
  if (verdict === null) {
    return `${mark} ${service}: ${style.bold(live.release)} is live in ${live.slot} already (generation ${generation}); nothing was done`
  }
  return [
    `${mark} ${service}: ${style.bold(live.release)} is live in ${live.slot} (generation ${generation}, ${Math.round(tookMs)} ms)`,
    ...formerText(result),
    ...body(verdict, style, 'before'),
  ].join('\n')
}

const isVerdict = (value: unknown): value is Verdict =>
  typeof value === 'object' && value !== null && 'reasons' in value && 'target' in value

const outputOf = ({ output }: Problem): string[] =>
  Array.isArray(output) && output.length > 0
    ? ['  last lines of its output:', ...output.map((line) => `    │ ${tame(String(line))}`)]
    : []

export function printProblem(problem: Problem, style: Style): string {
  const { code, detail, hint, verdict } = problem
  const shownCode = isVerdict(verdict) ? codeText(verdict) : code
  const headline = `${style.red('✗')} ${tame(detail)} ${style.dim(`(${shownCode})`)}`
  if (isVerdict(verdict)) return [headline, ...refusalBody(verdict, problem, style)].join('\n')
  const help = hint ? [`  ${tame(hint)}`] : []
  return [headline, ...help, ...outputOf(problem), ...tryThis(commandsFor([problem]), style)].join('\n')
}

/** The first question of whoever reads a refusal: is the site all right? */
function stillLive({ operation, target, live }: Verdict): string[] {
  if (!live) return []
  const candidate = operation === 'promote' ? `; ${target.release} stays up beside it` : ''
  return [`  Nothing was switched: ${live.release} is live${candidate}.`]
}

/** The first reason is the headline already; its hint is not. */
function refusalBody(verdict: Verdict, problem: Problem, style: Style): string[] {
  const [primary, ...others] = verdict.reasons
  const facts = primary ? { ...problem, ...primary } : problem
  return [
    ...stillLive(verdict),
    ...(primary?.hint ? [`  ${tame(primary.hint)}`] : []),
    ...numbers(verdict, style),
    ...others.flatMap(withHint),
    ...warningLines(verdict, style),
    ...tryThis(commandsFor([facts, ...others, ...warningsOf(verdict)], verdict), style),
  ]
}
