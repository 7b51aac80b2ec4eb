// What the client commands share: paths, numbers and bodies from flags.
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

/** The body's part that names the release to go back to. */
export function toOf(call: Call): { to?: string } {
  const to = setting(call, 'to')
  return to === undefined ? {} : { to }
}
