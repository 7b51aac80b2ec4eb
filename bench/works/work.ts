// What every work of the bench is given, and what it gives back.
import type { ProxySetup } from '../proxies.ts'
import type { Figures, Section } from '../results.ts'
import type { Entry, Ground } from '../start.ts'

export interface Pace {
  rounds: number
  /** Before the first round of a proxy, so that what is compiled while it runs is compiled. */
  firstWarmMs: number
  warmMs: number
  measureMs: number
}

export interface Task {
  ground: Ground
  /** Those that are to be measured and are installed. */
  proxies: readonly ProxySetup[]
  pace: Pace
  isQuick: boolean
  figures: Figures
}

export interface Work {
  name: string
  /** @returns null where none of the chosen proxies is measured here */
  run(task: Task): Promise<Section | null>
}

export const entriesOf = (proxies: readonly ProxySetup[]): Entry[] =>
  proxies.map((proxy) => ({ name: proxy.name, proxy }))

/** Rounds of all by turns: what disturbs the machine for a while disturbs them all. */
export async function byTurns<Each extends { name: string }, Result>(
  all: readonly Each[],
  pace: Pace,
  measure: (each: Each, window: { warmMs: number; measureMs: number }) => Promise<Result>,
): Promise<Map<string, Result[]>> {
  const results = new Map(all.map(({ name }) => [name, [] as Result[]]))
  for (let round = 0; round < pace.rounds; round++) {
    const warmMs = round === 0 ? pace.firstWarmMs : pace.warmMs
    for (const each of all)
      results.get(each.name)?.push(await measure(each, { warmMs, measureMs: pace.measureMs }))
  }
  return results
}
