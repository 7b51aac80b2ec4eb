// How long something takes, as people write it: a whole number with its unit. Pure.
import { Complaint } from './complaint.ts'

const UNITS_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/** Longer ones are never meant, and beyond 24.8 days a timer of Node fires at once. */
const MOST_HOURS = 24
export const LONGEST_DURATION_MS = MOST_HOURS * UNITS_MS.h

/** @returns milliseconds, or what is wrong with it */
export function parseDuration(text: string, atLeastMs = 1): number | Complaint {
  const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? []
  if (/^\d+$/.test(text))
    return new Complaint('needs a unit', `write ${text}ms, ${text}s, ${text}m or ${text}h`)
  if (unit === undefined) return new Complaint('must be a duration such as 250ms, 2s, 5m or 1h')
  const ms = Number(digits) * UNITS_MS[unit as keyof typeof UNITS_MS]
  if (ms < atLeastMs) return new Complaint(`must be at least ${atLeastMs}ms`)
  return ms <= LONGEST_DURATION_MS ? ms : new Complaint(`must be at most ${MOST_HOURS}h`)
}
