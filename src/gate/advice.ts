// Advice before a migration: what a migration to a version would close. Pure arithmetic over the ranges that releases
// declared; slotgate never runs a migration, and whoever runs one decides.
import type { Range } from '../contract.ts'
import { type Reason, reason } from '../errors.ts'
import { contains, noCommonVersion } from './ranges.ts'

/** A release that a migration may matter to. */
export interface Concerned {
  release: string
  /** What it declared when it was last asked; null: it never was. */
  range: Range | null
}

export interface AdviceFacts {
  /** The schema version that somebody means to migrate to. */
  to: number
  /** What the live release reads now; null when it could not be asked. */
  current: number | null
  /** null while nothing is live. */
  live: Concerned | null
  /** What a rollback could go to, newest first. */
  previous: readonly Concerned[]
  /** In the idle slot and never live; null if there is none. */
  staged: Concerned | null
  schemaOff: boolean
}

export type AdviceVerdict = 'two_way_door' | 'one_way_door' | 'breaks_live' | 'no_rollback_target'

/** How a release fits before and after; null where that is not known. */
export interface ReleaseAdvice extends Concerned {
  role: 'live' | 'staged' | 'previous'
  fits_now: boolean | null
  fits_then: boolean | null
}

export interface Advice {
  from: number | null
  to: number
  /** null: what is known does not decide it; the sentence says what is missing. Never guessed. */
  verdict: AdviceVerdict | null
  sentence: string
  hint?: string
  live: string | null
  /** The releases that fit now and would stop fitting. */
  breaks: string[]
  /** The releases that do not fit now and would begin to. */
  opens: string[]
  /** The highest version, from the current one up, that live knows together with one to go back to; null if none. */
  highest_two_way: number | null
  per_release: ReleaseAdvice[]
  /** `no_common_schema_version`: no order of promoting what is staged and migrating avoids an outage. */
  warnings: Reason[]
}

/**
 * Which verdict comes first, from what outweighs all else down (SCHEMA §4.3):
 *
 * 1. `breaks_live`: the serving release does not know the version. What could be gone back to no longer matters then.
 * 2. `two_way_door`: live knows it, and so does at least one release that a rollback could go to.
 * 3. `one_way_door`: live knows it and no earlier release does, but one fits now: that way back would be closed.
 * 4. `no_rollback_target`: live knows it, and there is nothing to close: no earlier release fits now either. Also while
 *    nothing is live.
 *
 * A verdict that would rest on a range or a version that nobody knows is null, unless it holds whatever that is.
 * `no_common_schema_version` is no verdict about the migration but about what is staged, so it stands beside as a warning.
 */
export function adviceOn(facts: AdviceFacts): Advice {
  const { to, current, live, previous, staged, schemaOff } = facts
  const all = [
    ...(live ? [view(live, 'live', facts)] : []),
    ...(staged ? [view(staged, 'staged', facts)] : []),
    ...previous.map((one) => view(one, 'previous', facts)),
  ]
  const verdict = schemaOff ? null : verdictOf(facts)
  const warnings = schemaOff ? [reason('schema_check_disabled')] : warningsOf(facts)
  const highest = highestTwoWay(facts)
  const hint = verdict && hintOf(verdict, facts, highest, warnings)
  return {
    from: current,
    to,
    verdict,
    sentence: verdict ? SENTENCES[verdict](facts) : unknownText(facts),
    ...(hint && { hint }),
    live: live?.release ?? null,
    breaks: all.filter((one) => one.fits_now === true && one.fits_then === false).map(nameOf),
    opens: all.filter((one) => one.fits_now === false && one.fits_then === true).map(nameOf),
    highest_two_way: highest,
    per_release: all,
    warnings,
  }
}

const nameOf = ({ release }: Concerned): string => release

const fits = ({ range }: Concerned, version: number | null): boolean | null =>
  range === null || version === null ? null : contains(range, version)

const view = (one: Concerned, role: ReleaseAdvice['role'], { current, to }: AdviceFacts): ReleaseAdvice => ({
  ...one,
  role,
  fits_now: fits(one, current),
  fits_then: fits(one, to),
})

function verdictOf({ to, current, live, previous }: AdviceFacts): AdviceVerdict | null {
  const liveThen = live ? fits(live, to) : true
  if (liveThen === null) return null
  if (!liveThen) return 'breaks_live'
  const then = previous.map((one) => fits(one, to))
  if (then.includes(true)) return 'two_way_door'
  if (then.includes(null)) return null
  const now = previous.map((one) => fits(one, current))
  if (now.includes(true)) return 'one_way_door'
  return now.includes(null) ? null : 'no_rollback_target'
}

function highestTwoWay({ current, live, previous }: AdviceFacts): number | null {
  if (current === null || !live?.range) return null
  const { min, max } = live.range
  const highest = previous.flatMap(({ range }) => {
    const top = range ? Math.min(max, range.max) : -1
    return range && top >= Math.max(min, range.min, current) ? [top] : []
  })
  return highest.length === 0 ? null : Math.max(...highest)
}

/** Where live does not work as it is, a migration of any order can only help: the switch is the cure. */
function warningsOf({ live, staged, current }: AdviceFacts): Reason[] {
  if (!live?.range || !staged?.range || fits(live, current) === false) return []
  const warning = noCommonVersion(staged.release, staged.range, live.release, live.range)
  return warning ? [warning] : []
}

const rangeText = ({ min, max }: Range): string => (min === max ? `${min}` : `${min} to ${max}`)

const worksWith = ({ release, range }: Concerned): string =>
  range
    ? `${release} works with schema ${rangeText(range)}`
    : `${release} never said which schema versions it works with`

/** How many releases a sentence names; the list has them all. */
const NAMED = 3

function namesOf(releases: readonly Concerned[]): string {
  const named = releases.slice(0, NAMED).map(worksWith).join(', ')
  return releases.length > NAMED ? `${named}, and ${releases.length - NAMED} more` : named
}

const keepsWorking = ({ live, to }: AdviceFacts): string =>
  live ? `${live.release} goes on working at ${to}` : 'Nothing is live that could stop working'

const SENTENCES: Record<AdviceVerdict, (facts: AdviceFacts) => string> = {
  breaks_live: ({ live, to, current }) => {
    const serves = `${live ? worksWith(live) : ''} and serves`
    if (live === null || fits(live, current) !== false)
      return `${serves}: at ${to} it would not work any more.`
    return `${serves}: it does not work at ${current} as it is${to === current ? '' : `, nor would it at ${to}`}.`
  },
  two_way_door: (facts) => {
    const target = facts.previous.find((one) => fits(one, facts.to))
    return `${keepsWorking(facts)}, and a rollback stays possible: ${target ? worksWith(target) : ''}.`
  },
  one_way_door: (facts) => {
    const closing = facts.previous.filter((one) => fits(one, facts.current))
    return `${keepsWorking(facts)}, but no release would be left to go back to: ${namesOf(closing)}.`
  },
  no_rollback_target: (facts) => {
    const why = facts.previous.length === 0 ? 'there is no earlier release' : `${namesOf(facts.previous)}`
    return `${keepsWorking(facts)}. There is nothing to go back to as it is: ${why}.`
  },
}

/** What is missing for a verdict. */
function unknownText({ schemaOff, live, previous, to, current }: AdviceFacts): string {
  if (schemaOff)
    return 'The service sets `schema: off`: nobody asks its releases which schema they work with.'
  if (live && !live.range)
    return `${worksWith(live)}, and it serves: whether it would work at ${to} is not known.`
  const silent = previous.filter(({ range }) => !range)
  if (silent.length > 0)
    return `${namesOf(silent)}: whether a rollback would stay possible at ${to} is not known.`
  return current === null
    ? `The live release does not say where the schema is: whether a migration to ${to} closes the way back is not known.`
    : ''
}

function hintOf(
  verdict: AdviceVerdict,
  { to, current, live, staged }: AdviceFacts,
  highest: number | null,
  [noCommon]: readonly Reason[],
): string | undefined {
  if (verdict === 'breaks_live') {
    if (staged && fits(staged, current) && fits(staged, to)) {
      return `Promote ${staged.release} first: it works with ${current} and with ${to}.`
    }
    if (noCommon) return noCommon.hint
    return `First promote a release whose range contains ${current === null || current === to ? to : `${current} and ${to}`}.`
  }
  if (verdict !== 'one_way_door') return undefined
  if (highest !== null && highest !== current)
    return `A migration to ${highest} instead would keep a way back.`
  return `To keep one, first deploy another release that works with ${to}: then ${live?.release} is what a rollback goes to.`
}
