// The arithmetic of ranges that the verdict, the door and the advice share.
import type { Range } from '../contract.ts'
import { type Reason, reason } from '../errors.ts'

export const contains = ({ min, max }: Range, version: number): boolean => min <= version && version <= max

const isEmpty = ({ min, max }: Range): boolean => min > max

/**
 * Row 16: no version is in both ranges, so no order of promote and migrate avoids an outage.
 *
 * @returns the warning, which names the two versions that a release in between has to know; null if a version suits both
 */
export function noCommonVersion(
  release: string,
  range: Range,
  live: string,
  liveRange: Range,
): Reason | null {
  const low = Math.min(range.max, liveRange.max)
  const high = Math.max(range.min, liveRange.min)
  // An empty range has its own refusal; what would bridge the gap to it is a question without an answer.
  if (high <= low || isEmpty(range) || isEmpty(liveRange)) return null
  return reason('no_common_schema_version', {
    release,
    ...range,
    live_release: live,
    live_min: liveRange.min,
    live_max: liveRange.max,
    bridge_from: low,
    bridge_to: high,
  })
}
