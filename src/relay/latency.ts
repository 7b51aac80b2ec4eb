// Durations in buckets: fine enough to tell a median from them, and few enough to be counted for each release.

/** Ten bounds for each power of ten, in milliseconds; one is at most a third above the one before. */
const STEPS = [1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5]
const FROM_MS = 0.1
const DECADES = 7

/** The upper bounds of the buckets but the last, which has none; each belongs to its bucket. Milliseconds. */
export const BOUNDS_MS: readonly number[] = Array.from({ length: DECADES }, (_, decade) =>
  STEPS.map((step) => Number((step * FROM_MS * 10 ** decade).toPrecision(3))),
).flat()

export const BUCKETS = BOUNDS_MS.length + 1

/** As typed numbers, since every request looks here. */
const bounds = Float64Array.from(BOUNDS_MS)

/** @returns the place of a duration among the buckets */
export function bucketOf(ms: number): number {
  let low = 0
  let high = bounds.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ms <= (bounds[middle] ?? 0)) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * @param counts how many durations each bucket has
 * @param share which of them to tell: 0.5 is the median
 * @returns milliseconds, as if a bucket's durations were spread evenly over it; null where there are none
 */
export function quantile(counts: Float64Array, share: number): number | null {
  let wanted = share * sumOf(counts)
  if (wanted === 0) return null
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = counts[bucket] ?? 0
    if (wanted <= count) {
      const below = BOUNDS_MS[bucket - 1] ?? 0
      const above = BOUNDS_MS[bucket] ?? below
      return below + (above - below) * (wanted / count)
    }
    wanted -= count
  }
  return BOUNDS_MS.at(-1) ?? null
}

export const sumOf = (counts: Float64Array): number => counts.reduce((sum, count) => sum + count, 0)
