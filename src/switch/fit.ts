// Whether a release fits the schema as it is, by its own status alone, in the words of the gate.
import { ERRORS, type Reason } from '../errors.ts'
import { judge, type Party } from '../gate/judge.ts'

export interface Fit {
  /** Where the release reads that the schema is. */
  current: number
  /** Why it does not fit; null: it does. */
  reason: Reason | null
}

/** @returns null while nobody can say: there is no usable status, or a migration is running and nothing else is wrong */
export function fitOf(party: Party): Fit | null {
  const { reading } = party
  if (!reading.ok) return null
  const { allowed, reasons } = judge('promote', party, null)
  const lasting = reasons.find(({ code }) => !ERRORS[code].retryable)
  if (!allowed && lasting === undefined) return null
  return { current: reading.status.current_schema_version, reason: lasting ?? null }
}
