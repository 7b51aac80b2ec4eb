// A histogram for prom-client whose durations were counted elsewhere, in buckets of which each bound here is one.
import { Histogram as PromHistogram, type Registry } from 'prom-client'
import { BOUNDS_MS } from '../../relay/latency.ts'
import type { Histogram } from '../../relay/meter.ts'
import type { Labels } from './series.ts'

interface Options {
  name: string
  help: string
  labelNames: readonly string[]
  /** Seconds. */
  buckets: readonly number[]
  registers: Registry[]
}

interface Value {
  metricName: string
  labels: Labels
  value: number
}

const MS_PER_S = 1_000

export class CountedHistogram extends PromHistogram {
  readonly #options: Options
  /** Where the bounds are among those that were counted in. */
  readonly #places: readonly number[]
  #values: readonly Value[] = []

  constructor(options: Options) {
    super({ ...options, buckets: [...options.buckets] })
    this.#options = options
    this.#places = options.buckets.map(placeOf)
  }

  /** Takes the place of all that was told before. */
  tell(series: readonly { labels: Labels; histogram: Histogram }[]): void {
    this.#values = series.flatMap(({ labels, histogram }) => this.#valuesOf(labels, histogram))
  }

  #valuesOf(labels: Labels, { buckets, sumMs }: Histogram): Value[] {
    const { name, buckets: bounds } = this.#options
    const count = sumUpTo(buckets, buckets.length)
    return [
      ...bounds.map((bound, at) => ({
        metricName: `${name}_bucket`,
        labels: { ...labels, le: String(bound) },
        value: sumUpTo(buckets, this.#places[at] ?? 0),
      })),
      { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: count },
      { metricName: `${name}_sum`, labels, value: sumMs / MS_PER_S },
      { metricName: `${name}_count`, labels, value: count },
    ]
  }

  /** Where a metric has this, the registry takes it instead of `get`. */
  async getForPromString() {
    const { name, help } = this.#options
    return { name, help, type: 'histogram', values: this.#values }
  }
}

/** @throws Error for a bound that nothing was counted in */
function placeOf(seconds: number): number {
  const place = BOUNDS_MS.indexOf(seconds * MS_PER_S)
  if (place < 0) throw new Error(`no bucket ends at ${seconds} s`)
  return place
}

function sumUpTo(counts: Float64Array, last: number): number {
  let sum = 0
  for (let at = 0; at <= last; at++) sum += counts[at] ?? 0
  return sum
}
