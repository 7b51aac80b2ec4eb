// The rollback door: is there, right now, a release that a rollback would be allowed to reach? Pure arithmetic over
// recorded ranges; nothing is booted.
import type { Range } from '../contract.ts'
import { recordedRange } from '../journal/record.ts'

export interface DoorFacts {
  /** Releases that were live, newest first, without the live one. */
  previous: readonly string[]
  ranges: Readonly<Record<string, Range>>
  /** What the live release reads now; null when it could not be asked. */
  current: number | null
  schemaOff: boolean
}

export interface Door {
  /** null: unknown, never guessed. */
  open: boolean | null
  to: string | null
  code: string | null
  sentence: string
  evidence: 'recorded'
}

const door = (open: boolean | null, to: string | null, code: string | null, sentence: string): Door => ({
  open,
  to,
  code,
  sentence,
  evidence: 'recorded',
})

/**
 * @returns open or closed for the release that a plain `rollback` would go to, and why
 * @see DESIGN.md §4 "Door and advice"
 */
export function doorOf({ previous, ranges, current, schemaOff }: DoorFacts): Door {
  const to = previous[0]
  if (to === undefined)
    return door(false, null, 'no_previous_release', 'There is no earlier release to go back to.')
  if (schemaOff)
    return door(true, to, 'schema_check_disabled', `${to} was live before; schemas are not checked.`)
  const range = recordedRange(ranges, to)
  if (current === null) return door(null, to, null, 'The live release does not say where the schema is.')
  if (!range) return door(null, to, null, `${to} never said which schema versions it works with.`)
  const works = `${to} works with schema ${range.min} to ${range.max}; the database is at ${current}.`
  if (current > range.max) return door(false, to, 'schema_ahead_of_code', works)
  if (current < range.min) return door(false, to, 'schema_behind_code', works)
  return door(true, to, null, works)
}
