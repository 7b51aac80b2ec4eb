// Turns what was measured into tables.
import type { Measured } from './load/closed.ts'

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}

export const microsPerRequest = ({ cpu, answered }: Measured): number => cpu.totalNs / 1000 / answered

export function closedTable(results: ReadonlyMap<string, readonly Measured[]>): string {
  const rows = [...results].map(([name, rounds]) => {
    const micros = rounds.map(microsPerRequest)
    const share = rounds.map(({ cpu }) => cpu.userTicks / (cpu.userTicks + cpu.systemTicks))
    const perSecond = rounds.map(({ answered, tookMs }) => (answered * 1000) / tookMs)
    const busy = rounds.map(({ cpu, tookMs }) => cpu.totalNs / 1e6 / tookMs)
    return [
      name.padEnd(20),
      `${median(micros).toFixed(1)} µs`.padStart(10),
      `user ${(median(share) * median(micros)).toFixed(1)}`.padStart(12),
      `${median(perSecond).toFixed(0)}/s`.padStart(9),
      `busy ${(median(busy) * 100).toFixed(0)} %`.padStart(11),
      `failed ${rounds.reduce((sum, { failed }) => sum + failed, 0)}`.padStart(10),
      `  ${Math.min(...micros).toFixed(1)}–${Math.max(...micros).toFixed(1)}`,
    ].join('')
  })
  return rows.join('\n')
}
