// What the client commands share: paths, numbers, times and bodies from flags.
import { parseDuration } from '../../config/durations.ts'
import { wholeNumber } from '../../contract.ts'
import { type Call, EXIT, Failure, setting } from '../call.ts'
import type { FlagName } from '../flags.ts'

export const pathTo = (service: string, action: string): string =>
  `/v1/services/${encodeURIComponent(service)}/${action}`

export function numberOf(call: Call, flag: FlagName): number | undefined {
  const given = setting(call, flag)
  if (given === undefined) return undefined
  const number = wholeNumber(given)
  if (number !== null) return number
  throw new Failure(EXIT.usage, `--${flag} takes a whole number, not ${given}.`)
}

/** The condition on which a call is to act. */
export function conditionOf(call: Call): { ifGeneration?: number } {
  const ifGeneration = numberOf(call, 'if-generation')
  return ifGeneration === undefined ? {} : { ifGeneration }
}

/** The body's part that names the release to go back to. */
export function toOf(call: Call): { to?: string } {
  const to = setting(call, 'to')
  return to === undefined ? {} : { to }
}

/** The body's part that says when it ends by itself. */
export function forOf(call: Call, atLeastMs = 1): { for_ms?: number } {
  const given = setting(call, 'for')
  if (given === undefined) return {}
  const parsed = parseDuration(given, atLeastMs)
  if (typeof parsed === 'number') return { for_ms: parsed }
  throw new Failure(EXIT.usage, `--for ${parsed.sentence}; got ${given}.`, parsed.hint ? [parsed.hint] : [])
}
