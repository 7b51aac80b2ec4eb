// A verdict and a problem in words: the sentences, the numbers, the hint, and the command that would help.
import { rangeOf, type SchemaStatus } from '../../contract.ts'
import type { Code, Problem, Reason } from '../../errors.ts'
import type { Verdict } from '../../gate/judge.ts'
import type { CheckResult, StageResult, SwitchResult } from '../../switch/types.ts'
import { type Style, tame } from '../style.ts'
import { type Fit, fit } from './status.ts'

type Party = NonNullable<Verdict['live']>

/** A word for a shell: bare where it is harmless, else in single quotes. */
const quoted = (word: string): string =>
  /^[\w./:@-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

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
  pending_migrations: migrateCandidate,
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

/** `schema 43   r43 [42–44] ✓   live r42 [41–43] ✓`; nothing where nobody could be asked. */
function numbers({ target, live }: Verdict, style: Style): string[] {
  const current = target.status?.current_schema_version ?? live?.status?.current_schema_version
  if (current === undefined) return []
  const cells = [
    partyText(target, style),
    ...(live ? [partyText(live, style)].map((cell) => `live ${cell}`) : []),
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

/** The warnings that add something: the hint of `schema_behind_code` names the pending migrations already. */
function warningsOf({ reasons, warnings }: Verdict): Reason[] {
  const isBehind = reasons.some(({ code }) => code === 'schema_behind_code')
  return warnings.filter(({ code }) => !isBehind || code !== 'pending_migrations')
}

/** Everything below the headline of a verdict: numbers, reasons, warnings, commands. */
function body(verdict: Verdict, style: Style): string[] {
  const { reasons } = verdict
  const warnings = warningsOf(verdict)
  return [
    ...numbers(verdict, style),
    ...reasons.flatMap(withHint),
    ...warnings.flatMap((warning) => withHint(warning).map((line) => style.yellow(line))),
    ...tryThis(commandsFor([...reasons, ...warnings], verdict), style),
  ]
}

const PAST = { promote: 'promoted', rollback: 'rolled back to' } as const

export function printCheck(
  { service, operation, release, allowed, verdict }: CheckResult,
  style: Style,
): string {
  const mark = allowed ? style.green('✓') : style.red('✗')
  const what = `${release} ${allowed ? 'may' : 'must not'} be ${PAST[operation]}`
  const recorded = verdict.evidence === 'recorded' ? ', by the range it declared earlier' : ''
  const code = allowed ? '' : ` (${verdict.code}${recorded})`
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

export function printSwitch(result: SwitchResult, style: Style): string {
  const { service, live, previous, generation, verdict, took_ms: tookMs } = result
  const mark = style.green('✓')
  return [
    `${mark} ${service}: ${style.bold(live.release)} is live in ${live.slot} (generation ${generation}, ${Math.round(tookMs)} ms)`,
    ...(previous ? [`  before: ${previous.release} in ${previous.slot}; back to it: slotgate rollback`] : []),
    ...body(verdict, style),
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
  const headline = `${style.red('✗')} ${tame(detail)} ${style.dim(`(${code})`)}`
  if (isVerdict(verdict)) return [headline, ...refusalBody(verdict, problem, style)].join('\n')
  const help = hint ? [`  ${tame(hint)}`] : []
  return [headline, ...help, ...outputOf(problem), ...tryThis(commandsFor([problem]), style)].join('\n')
}

/** The first reason is the headline already; its hint is not. */
function refusalBody(verdict: Verdict, problem: Problem, style: Style): string[] {
  const [primary, ...others] = verdict.reasons
  const facts = primary ? { ...problem, ...primary } : problem
  return [
    ...(primary?.hint ? [`  ${tame(primary.hint)}`] : []),
    ...numbers(verdict, style),
    ...others.flatMap(withHint),
    ...warningsOf(verdict).flatMap((warning) => withHint(warning).map((line) => style.yellow(line))),
    ...tryThis(commandsFor([facts, ...others, ...warningsOf(verdict)], verdict), style),
  ]
}
