// What a load counts, and what a proxy used while it counted.
import { setTimeout as pause } from 'node:timers/promises'
import { type CpuTime, cpuTimeOf, difference } from '../usage.ts'

/** Goes on counting for as long as the load runs. */
export interface Tally {
  answered: number
  failed: number
  stopped: boolean
}

export interface Window {
  /** Whose time is measured. */
  pids: readonly number[]
  /** How long the load runs before. */
  warmMs: number
  measureMs: number
}

export interface Measured {
  answered: number
  failed: number
  tookMs: number
  cpu: CpuTime
}

export const startTally = (): Tally => ({ answered: 0, failed: 0, stopped: false })

export async function watch(tally: Tally, { pids, warmMs, measureMs }: Window): Promise<Measured> {
  await pause(warmMs)
  const { answered, failed } = tally
  const cpu = cpuTimeOf(pids)
  const startedMs = performance.now()
  await pause(measureMs)
  return {
    answered: tally.answered - answered,
    failed: tally.failed - failed,
    cpu: difference(cpuTimeOf(pids), cpu),
    tookMs: performance.now() - startedMs,
  }
}
