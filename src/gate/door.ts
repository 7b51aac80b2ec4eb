// The rollback door: is there, right now, a release that a rollback would be allowed to reach? Pure arithmetic over
// recorded ranges; nothing is booted. `check rollback` boots and asks.
import type { Range } from '../contract.ts'
import type { Code, Reason } from '../errors.ts'
import { recordedRange } from '../journal/record.ts'
import { contains } from './ranges.ts'

export interface DoorFacts {
  /** What a rollback could go to, newest first. */
  previous: readonly string[]
  ranges: Readonly<Record<string, Range>>
  /** What the live release reads now; null when it could not be asked. */
  current: number | null
  schemaOff: boolean
  misfit: Misfit | null
}

/** One of the previous releases that still runs and says itself that it does not fit, and why. */
export interface Misfit {
  release: string
  reason: Reason
}

export interface Door {
  /** null: unknown, never guessed. */
  open: boolean | null
  to: string | null
  code: string | null
  sentence: string
  /** From what was recorded; `probed`: the release itself said so, while it still runs. */
  evidence: 'recorded' | 'probed'
}

/** What speaks against one release alone. Anything else, such as a database that has drifted, may be wrong for all. */
const OF_ONE_RELEASE: ReadonlySet<Code> = new Set([
  'schema_range_invalid',
  'schema_behind_code',
  'schema_ahead_of_code',
])

const door = (open: boolean | null, to: string | null, code: string | null, sentence: string): Door => ({
  open,
  to,
  code,
  sentence,
  evidence: 'recorded',
})

/**
 * @returns open with the newest release that fits; null if none is known to fit but one may; else closed, with the release
 *   that would have been gone to, or that a plain `rollback` would go to, and why it does not fit
 * @see DESIGN.md §4 "Door and advice"
 */
export function doorOf({ previous, ranges, current, schemaOff, misfit }: DoorFacts): Door {
  const [newest] = previous
  if (newest === undefined)
    return door(false, null, 'no_previous_release', 'There is no earlier release to go back to.')
  if (schemaOff)
    return door(true, newest, 'schema_check_disabled', `${newest} was live before; schemas are not checked.`)
  if (current === null) return door(null, newest, null, 'The live release does not say where the schema is.')
  const known = previous.flatMap((release) => {
    const range = recordedRange(ranges, release)
    return range ? [{ release, range }] : []
  })
  const silent = previous.find((release) => !recordedRange(ranges, release))
  const fitting = known.filter(({ range }) => contains(range, current))
  const mayConcernAll = misfit !== null && !OF_ONE_RELEASE.has(misfit.reason.code)
  const open = mayConcernAll ? undefined : fitting.find(({ release }) => release !== misfit?.release)
  if (open) return opened(open, current, newest)
  const [first, ...others] = known
  if (!first || (silent !== undefined && !mayConcernAll))
    return door(
      null,
      silent ?? newest,
      null,
      `${silent ?? newest} never said which schema versions it works with.`,
    )
  if (!misfit || fitting.length === 0) return closed(first, others, current)
  const { code, sentence } = misfit.reason
  return { ...door(false, misfit.release, code, sentence), evidence: 'probed' }
}

interface Known {
  release: string
  range: Range
}

const fitText = ({ release, range: { min, max } }: Known, current: number): string =>
  `${release} works with schema ${min} to ${max}; the database is at ${current}.`

/** A plain rollback goes to the newest, so any other has to be named. */
function opened(target: Known, current: number, newest: string): Door {
  const { release } = target
  const way = release === newest ? '' : ` To go back to it, name it: slotgate rollback --to ${release}.`
  return door(true, release, null, fitText(target, current) + way)
}

function closed(target: Known, older: readonly Known[], current: number): Door {
  const code = current > target.range.max ? 'schema_ahead_of_code' : 'schema_behind_code'
  return door(false, target.release, code, fitText(target, current) + norDo(older))
}

function norDo([next, ...others]: readonly Known[]): string {
  if (!next) return ''
  return others.length === 0 ? ` Nor does ${next.release}.` : ` Nor do the ${others.length + 1} before it.`
}
