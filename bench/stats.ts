// Numbers out of many numbers, and how they are written.
import { quantile } from '../test/support/flips.ts'

export { quantile }

/** @returns NaN of nothing */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

/** Three digits that count: 12.3, 123, 1234. */
export function short(value: number): string {
  if (Number.isNaN(value)) return '–'
  return value.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(value), 1)))))
}

/** 1,234,567 */
export const whole = (value: number): string => Math.round(value).toLocaleString('en-US')
