// What comes over each slot right now: what the meter counts now, less what it had counted a moment ago. Main thread.
import { SLOTS } from '../contract.ts'
import type { Era, ExchangeCounts, Traffic } from '../switch/data-plane.ts'
import { BUCKETS, quantile } from './latency.ts'
import type { Meter } from './meter.ts'

/** What a generation has counted. */
interface Look {
  readonly era: Era
  readonly exchanges: ExchangeCounts
  readonly durations: Float64Array
}

/**
 * Begins to measure.
 *
 * @returns call it every second or so: the traffic of each slot since it was called last
 */
export function measure(meter: Meter, services: number): () => readonly Traffic[] {
  const slots = Array.from({ length: services }, (_, service) =>
    SLOTS.map((slot) => ({ service, slot })),
  ).flat()
  let before = meter.generations()
  let beforeMs = performance.now()
  return () => {
    const now = meter.generations()
    const nowMs = performance.now()
    const seconds = (nowMs - beforeMs) / 1_000
    const grown = now.map((look) => growth(look, before))
    before = now
    beforeMs = nowMs
    return slots.map(({ service, slot }) => {
      const its = grown.filter(({ era }) => era.service === service && era.slot === slot)
      return { service, slot, ...rates(its, seconds) }
    })
  }
}

function growth(now: Look, before: readonly Look[]): Look {
  const { era, exchanges, durations } = now
  const earlier = before.find((look) => look.era === era)
  if (!earlier) return now
  return {
    era,
    exchanges: {
      answered: exchanges.answered - earlier.exchanges.answered,
      failed: exchanges.failed - earlier.exchanges.failed,
    },
    durations: durations.map((count, at) => count - (earlier.durations[at] ?? 0)),
  }
}

function rates(grown: readonly Look[], seconds: number): Omit<Traffic, 'service' | 'slot'> {
  const total = (countOf: (look: Look) => number) => grown.reduce((sum, look) => sum + countOf(look), 0)
  const failed = total(({ exchanges }) => exchanges.failed)
  const durations = new Float64Array(BUCKETS).map((_, at) => total((look) => look.durations[at] ?? 0))
  return {
    requests_per_s: (total(({ exchanges }) => exchanges.answered) + failed) / seconds,
    errors_per_s: failed / seconds,
    p50_ms: quantile(durations, 0.5),
    p99_ms: quantile(durations, 0.99),
  }
}
