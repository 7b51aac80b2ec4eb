// What is counted before anybody asks for it: counts and durations, by their labels.
import { BUCKETS, bucketOf } from '../../relay/latency.ts'
import type { Histogram } from '../../relay/meter.ts'

export type Labels = Readonly<Record<string, string>>

/** One value for each set of labels. */
class ByLabels<Value> {
  readonly #create: () => Value
  readonly #all = new Map<string, { labels: Labels; value: Value }>()

  constructor(create: () => Value) {
    this.#create = create
  }

  of(labels: Labels): { labels: Labels; value: Value } {
    const key = JSON.stringify(labels)
    const known = this.#all.get(key)
    if (known) return known
    const series = { labels, value: this.#create() }
    this.#all.set(key, series)
    return series
  }

  all(): { labels: Labels; value: Value }[] {
    return [...this.#all.values()]
  }
}

export class Counts {
  readonly #counts = new ByLabels(() => 0)

  add(labels: Labels, count = 1): void {
    this.#counts.of(labels).value += count
  }

  all(): readonly { labels: Labels; value: number }[] {
    return this.#counts.all()
  }
}

export class Durations {
  readonly #histograms = new ByLabels(() => ({ buckets: new Float64Array(BUCKETS), sumMs: 0 }))

  add(labels: Labels, ms: number): void {
    const { value } = this.#histograms.of(labels)
    const bucket = bucketOf(ms)
    value.buckets[bucket] = (value.buckets[bucket] ?? 0) + 1
    value.sumMs += ms
  }

  all(): readonly { labels: Labels; histogram: Histogram }[] {
    return this.#histograms.all().map(({ labels, value: histogram }) => ({ labels, histogram }))
  }
}
