// What a thread counts of its exchanges when they are over, by plain additions to its own cells. Runs in the thread of
// the exchanges.
import type { Layout } from '../slots/table.ts'
import { statusOf } from './access.ts'
import {
  blockOf,
  blockWithout,
  CAUSES,
  cellsOf,
  ENDS,
  EXCHANGES,
  HEAD,
  lateness,
  OUTCOMES,
  STATUSES,
  WHOLE,
} from './cells.ts'
import type { Known } from './known.ts'
import { BUCKETS, bucketOf } from './latency.ts'

const [ANSWERED, FAILED, NO_SAY] = OUTCOMES.map((_, at) => at * STATUSES.length) as [number, number, number]

const OTHER = STATUSES.indexOf('other')

/** The place of each status among those that are counted. */
const placeOfStatus = Uint8Array.from({ length: 1_000 }, (_, status) => {
  const exact = STATUSES.indexOf(String(status))
  const byClass = STATUSES.indexOf(`${Math.floor(status / 100)}xx`)
  return exact >= 0 ? exact : byClass >= 0 ? byClass : OTHER
})

const placeOfCause = new Map(CAUSES.map((cause, place) => [cause, place]))
const INTERNAL = CAUSES.indexOf('internal_error')

/** Lives as long as the door. */
export class Counter {
  readonly #cells: Float64Array
  readonly #services: number

  constructor(buffer: SharedArrayBuffer, layout: Layout, worker: number) {
    this.#cells = cellsOf(buffer, layout, worker)
    this.#services = layout.services
  }

  /**
   * Counts an exchange that is over. It still holds its claim: that is what keeps the block from going to another
   * generation. A tunnel is as long as it is wanted, so its time is no latency.
   */
  count(ended: Known): void {
    const { claim, error, serviceIndex, upstreamMs } = ended
    const block = claim
      ? blockOf(claim.service, claim.generation)
      : blockWithout(serviceIndex < 0 ? this.#services : serviceIndex)
    this.#add(block + EXCHANGES + outcomeOf(ended) + (placeOfStatus[statusOf(ended)] ?? OTHER), 1)
    if (error) this.#add(block + ENDS + (placeOfCause.get(error.code) ?? INTERNAL), 1)
    if (claim?.kind === 'requests') this.#measure(block + WHOLE, ended.ageMs)
    if (upstreamMs >= 0) this.#measure(block + HEAD, upstreamMs)
  }

  /** Counts how late the thread's clock ticked: what it was busy with meanwhile. */
  late(ms: number): void {
    this.#measure(lateness(this.#cells), ms)
  }

  #measure(histogram: number, ms: number): void {
    this.#add(histogram + bucketOf(ms), 1)
    this.#add(histogram + BUCKETS, ms)
  }

  #add(cell: number, by: number): void {
    this.#cells[cell] = (this.#cells[cell] ?? 0) + by
  }
}

/** What the app made of it, as the place where its statuses are counted. */
function outcomeOf({ error, status, upstreamMs }: Known): number {
  if (error !== undefined && error.entry.blame === 'app') return FAILED
  // Below 0 the status, if there is one, is of an answer of slotgate's own.
  if (upstreamMs < 0 || status === 0) return NO_SAY
  return status >= 500 ? FAILED : ANSWERED
}
