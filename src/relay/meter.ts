// What all threads of the front door have counted, by service, slot and release. Main thread.
import type { SlotName } from '../contract.ts'
import type { Layout } from '../slots/table.ts'
import type { Era, ExchangeCounts } from '../switch/data-plane.ts'
import {
  BLOCK,
  blockOf,
  blockWithout,
  CAUSES,
  cellsOf,
  createCells,
  ENDS,
  EXCHANGES,
  HEAD,
  lateness,
  OUTCOMES,
  STATUSES,
  WHOLE,
} from './cells.ts'
import { BUCKETS, sumOf } from './latency.ts'

/** How long counts are still told that grow no more: longer than anybody looks back for a rate. */
const TOLD_MS = 3_600_000

/** Durations by bucket, as `BOUNDS_MS` has them, and their sum. */
export interface Histogram {
  readonly buckets: Float64Array
  readonly sumMs: number
}

/** Whose counts these are: of a release in a slot, of what reached no slot of a service, or not even a service. */
export interface Place {
  /** Its place in the config. */
  readonly service: number | null
  readonly slot: SlotName | null
  readonly release: string | null
}

/** What was counted there since slotgate runs. */
export interface Counted extends Place {
  /** Exchanges by status; those that never came are left out. */
  readonly statuses: ReadonlyMap<string, number>
  /** Those that an error ended, by its code. */
  readonly causes: ReadonlyMap<string, number>
  /** Of requests, not of tunnels: from the head of the request to the end of the answer … */
  readonly whole: Histogram
  /** … and of both: to the head of the app's answer. */
  readonly head: Histogram
}

/** Counts, and until when they can have grown. */
interface Kept {
  readonly place: Place
  readonly cells: Float64Array
  readonly untilMs: number
}

const keyOf = ({ service, slot, release }: Place): string => `${service}/${slot}/${release}`

/** Lives as long as the relay. */
export class Meter {
  readonly buffer: SharedArrayBuffer
  readonly #services: number
  readonly #told: number
  readonly #workers: readonly Float64Array[]
  readonly #deaths: number[]
  /** By where their blocks begin. */
  readonly #eras = new Map<number, Era & { untilMs: number }>()
  /** By service, the place of the block that counts now. */
  readonly #current = new Map<number, number>()
  /** What releases had counted in blocks that went to younger generations. */
  #former: readonly Kept[] = []

  /** @param told of how many places it tells: those behind them are of previews, which are no traffic of a release */
  constructor(layout: Layout, told = layout.services) {
    this.buffer = createCells(layout)
    this.#services = layout.services
    this.#told = told
    this.#deaths = Array.from({ length: layout.workers }, () => 0)
    this.#workers = Array.from({ length: layout.workers }, (_, worker) =>
      cellsOf(this.buffer, layout, worker),
    )
  }

  /**
   * Counts a generation as this release's. Before its flip: no claim is left of the generation that had its block before.
   *
   * @param nowMs milliseconds of a clock that does not go back
   */
  begin({ service, generation, slot, release }: Era, nowMs = performance.now()): void {
    const last = this.#eras.get(this.#current.get(service) ?? -1)
    if (last) last.untilMs = nowMs
    const block = blockOf(service, generation)
    this.#former = byPlace([...this.#former, ...this.#keptAt(block)])
    for (const cells of this.#workers) cells.fill(0, block, block + BLOCK)
    this.#eras.set(block, { service, generation, slot, release, untilMs: Number.POSITIVE_INFINITY })
    this.#current.set(service, block)
    this.#forget(nowMs)
  }

  /** A counter that is told must not fall: what a release had is kept as long as any of it is told. */
  #forget(nowMs: number): void {
    const told = new Set([...this.#eras.values()].filter((era) => isTold(era, nowMs)).map(keyOf))
    this.#former = this.#former.filter((kept) => isTold(kept, nowMs) || told.has(keyOf(kept.place)))
  }

  #keptAt(block: number): Kept[] {
    const era = this.#eras.get(block)
    return era ? [{ place: era, cells: this.#read(block, BLOCK), untilMs: era.untilMs }] : []
  }

  /** What an app made of the exchanges of a generation; those in which it had no say are not among them. */
  exchanges(service: number, generation: number): ExchangeCounts {
    const block = blockOf(service, generation)
    const isItsOwn = this.#eras.get(block)?.generation === generation
    return isItsOwn ? exchangesOf(this.#read(block, BLOCK)) : { answered: 0, failed: 0 }
  }

  /** What each generation has counted so far whose block has gone to no younger one. */
  generations(): readonly { era: Era; exchanges: ExchangeCounts; durations: Float64Array }[] {
    return [...this.#eras].map(([block, era]) => {
      const cells = this.#read(block, BLOCK)
      return { era, exchanges: exchangesOf(cells), durations: histogramAt(cells, WHOLE).buckets }
    })
  }

  /**
   * All that was counted. A release is left out from an hour after it was live, so that those of long ago do not pile
   * up; if it goes live again, it comes back with what it had.
   *
   * @param nowMs milliseconds of a clock that does not go back
   */
  counted(nowMs = performance.now()): readonly Counted[] {
    const releases = byPlace([
      ...this.#former,
      ...[...this.#eras.keys()].flatMap((block) => this.#keptAt(block)),
    ])
    const services = Array.from({ length: this.#told }, (_, service) => service)
    return [
      ...releases.filter((kept) => isTold(kept, nowMs)).map(({ place, cells }) => countedOf(place, cells)),
      ...[...services, null].map((service) => this.#without(service)),
    ]
  }

  /** The exchanges of a preview by status, whatever was in the idle slot: its blocks are never taken from it. */
  previewed(place: number): ReadonlyMap<string, number> {
    const from = blockWithout(place)
    const cells = this.#read(from, blockWithout(place + 1) - from)
    const blocks = Array.from({ length: cells.length / BLOCK }, (_, at) => cells.subarray(at * BLOCK))
    return present(STATUSES, blocks.map(statusesIn).reduce(added))
  }

  /** What reached no slot of a service; null: not even a service. */
  #without(service: number | null): Counted {
    const cells = this.#read(blockWithout(service ?? this.#services), BLOCK)
    return countedOf({ service, slot: null, release: null }, cells)
  }

  /** A thread of this worker died, and is replaced. */
  died(worker: number): void {
    this.#deaths[worker] = (this.#deaths[worker] ?? 0) + 1
  }

  /** How often the thread of each worker died. */
  get deaths(): readonly number[] {
    return this.#deaths
  }

  /** How late the clock of each worker ticked. */
  lateness(): readonly Histogram[] {
    return this.#workers.map((cells) => histogramAt(cells, lateness(cells)))
  }

  /** The cells of all workers from there on, added up. */
  #read(from: number, length: number): Float64Array {
    const own = this.#workers.map((cells) => cells.subarray(from, from + length))
    return own.reduce(added, new Float64Array(length))
  }
}

const isTold = ({ untilMs }: Pick<Kept, 'untilMs'>, nowMs: number): boolean => nowMs - untilMs < TOLD_MS

const added = (one: Float64Array, other: Float64Array): Float64Array =>
  one.map((count, at) => count + (other[at] ?? 0))

/** One for each release in a slot, with the sum of its counts. */
function byPlace(all: readonly Kept[]): Kept[] {
  const merged = new Map<string, Kept>()
  for (const { place, cells, untilMs } of all) {
    const key = keyOf(place)
    const known = merged.get(key)
    merged.set(key, {
      place,
      cells: known ? added(known.cells, cells) : cells,
      untilMs: Math.max(untilMs, known?.untilMs ?? 0),
    })
  }
  return [...merged.values()]
}

function exchangesOf(cells: Float64Array): ExchangeCounts {
  const [answered = 0, failed = 0] = OUTCOMES.map((_, outcome) => sumOf(exchangesBy(cells, outcome)))
  return { answered, failed }
}

/** By status, those of one outcome. */
function exchangesBy(cells: Float64Array, outcome: number): Float64Array {
  const from = EXCHANGES + outcome * STATUSES.length
  return cells.subarray(from, from + STATUSES.length)
}

/** By status, whatever the outcome. */
const statusesIn = (cells: Float64Array): Float64Array =>
  OUTCOMES.map((_, outcome) => exchangesBy(cells, outcome)).reduce(added)

function countedOf({ service, slot, release }: Place, cells: Float64Array): Counted {
  return {
    service,
    slot,
    release,
    statuses: present(STATUSES, statusesIn(cells)),
    causes: present(CAUSES, cells.subarray(ENDS, ENDS + CAUSES.length)),
    whole: histogramAt(cells, WHOLE),
    head: histogramAt(cells, HEAD),
  }
}

const present = (names: readonly string[], counts: Float64Array): ReadonlyMap<string, number> =>
  new Map(names.map((name, at) => [name, counts[at] ?? 0] as const).filter(([, count]) => count > 0))

const histogramAt = (cells: Float64Array, at: number): Histogram => ({
  buckets: cells.slice(at, at + BUCKETS),
  sumMs: cells[at + BUCKETS] ?? 0,
})
