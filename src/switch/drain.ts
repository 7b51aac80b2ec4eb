// After a flip: wait until the last exchange of the release that left is over, bounded, then keep or stop it.
import type { SlotName } from '../contract.ts'
import { reason } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import type { Logger } from '../log.ts'
import type { Occupant } from '../slots/occupants.ts'
import { type ClaimCounts, type ClaimKind, GENERATION_CELLS, type Table } from '../slots/table.ts'
import type { DataPlane } from './data-plane.ts'
import type { Preview } from './preview.ts'
import type { DrainView } from './types.ts'

/** How long what was cut may take to end: tunnels are told so first, one after the other. */
const GOODBYE_MS = 5_000

export interface DrainsOptions {
  readonly index: number
  readonly name: string
  /** Read at each drain, since a reload may change them. */
  limits(): { withinMs: number; tunnelsWithinMs: number }
  readonly table: Table
  readonly dataPlane: DataPlane
  readonly journal: Journal
  readonly log: Logger
  readonly closing: AbortSignal
  /** null: nothing of it is ever previewed. */
  readonly preview: Preview | null
}

interface Drain {
  occupant: Occupant
  slot: SlotName
  started: number
  callOff: AbortController
}

/** Claims of one place in the table, in some of its generations. */
interface Counted {
  place: number
  generations: readonly number[]
}

const sumOf = (counts: readonly ClaimCounts[]): ClaimCounts => ({
  requests: counts.reduce((sum, { requests }) => sum + requests, 0),
  tunnels: counts.reduce((sum, { tunnels }) => sum + tunnels, 0),
})

/** How many exchanges had to be cut at the end of a drain. */
type Cut = Record<ClaimKind, number>

export class Drains {
  readonly #running = new Map<Occupant, Drain>()
  readonly #options: DrainsOptions

  constructor(options: DrainsOptions) {
    this.#options = options
  }

  /** What is still draining, for the status. */
  views(): DrainView[] {
    return [...this.#running.values()].map((drain) => this.#view(drain))
  }

  #view({ occupant, slot, started }: Drain): DrainView {
    const limits = this.#options.limits()
    return {
      release: occupant.release,
      slot,
      generation: occupant.generations.at(-1) ?? 0,
      claims: sumOf(this.#counted(occupant).map((counted) => this.#openIn(counted))),
      requests_until: new Date(started + limits.withinMs).toISOString(),
      tunnels_until: new Date(started + limits.tunnelsWithinMs).toISOString(),
    }
  }

  /** Open claims of everything the occupant ever served. */
  claimsOf(occupant: Occupant): ClaimCounts {
    return this.#openIn({ place: this.#options.index, generations: occupant.generations })
  }

  /** Open claims of those who see it in the idle slot, or saw it there. */
  previewsOf({ previews }: Occupant): ClaimCounts {
    const { preview } = this.#options
    return preview ? this.#openIn({ place: preview.place, generations: previews }) : sumOf([])
  }

  /** All generations that can have claims: releases that left long ago may still drain. */
  get generations(): number[] {
    const { table, index } = this.#options
    const { generation } = table.pointer(index)
    return Array.from({ length: Math.min(generation, GENERATION_CELLS) }, (_, back) => generation - back)
  }

  /** Open claims of the service, whichever release answers them. */
  open(): ClaimCounts {
    return this.#openIn({ place: this.#options.index, generations: this.generations })
  }

  #openIn({ place, generations }: Counted): ClaimCounts {
    return sumOf(generations.map((generation) => this.#options.table.claims(place, generation)))
  }

  /** Where it has claims that have to end: as the live release, and as one that was previewed and is no longer. */
  #counted(occupant: Occupant): Counted[] {
    const { index, preview } = this.#options
    const live = { place: index, generations: [...occupant.generations] }
    return preview ? [live, { place: preview.place, generations: preview.past(occupant) }] : [live]
  }

  /** Calls a drain off: the release is live again, what it still answers may go on. */
  callOff(occupant: Occupant): void {
    this.#running.get(occupant)?.callOff.abort()
  }

  /**
   * Waits for the claims of an occupant that is no longer live, cuts what is left at the limits, and writes it down.
   *
   * @param closed before it has resolved, somebody may still come
   * @returns whether it is drained; false when it was called off
   */
  async drain(occupant: Occupant, slot: SlotName, closed?: Promise<void>): Promise<boolean> {
    this.callOff(occupant)
    const drain: Drain = { occupant, slot, started: Date.now(), callOff: new AbortController() }
    this.#running.set(occupant, drain)
    const limits = this.#options.limits()
    const requestsLimit = AbortSignal.timeout(limits.withinMs)
    const tunnelsLimit = AbortSignal.timeout(limits.tunnelsWithinMs)
    try {
      await closed
      // One after the other: a request may still become a tunnel, but nothing becomes a request.
      const requests = await this.#end(drain, 'requests', requestsLimit)
      const tunnels = await this.#end(drain, 'tunnels', tunnelsLimit)
      if (drain.callOff.signal.aborted || this.#options.closing.aborted) return false
      await this.#report(drain, { requests, tunnels })
      return true
    } finally {
      if (this.#running.get(occupant) === drain) this.#running.delete(occupant)
    }
  }

  /** @returns how many had to be cut */
  async #end({ occupant, callOff }: Drain, kind: ClaimKind, limit: AbortSignal): Promise<number> {
    const { dataPlane, closing } = this.#options
    const counted = this.#counted(occupant)
    const drained = (until: AbortSignal) =>
      Promise.all(
        counted.map(({ place, generations }) => dataPlane.whenDrained(place, generations, kind, until)),
      )
    const signal = AbortSignal.any([limit, callOff.signal, closing])
    await drained(signal)
    if (!limit.aborted || callOff.signal.aborted) return 0
    const cuts = counted.map(({ place, generations }) => dataPlane.cut(place, generations, kind))
    const cut = (await Promise.all(cuts)).reduce((sum, count) => sum + count, 0)
    const goodbyes = AbortSignal.any([AbortSignal.timeout(GOODBYE_MS), callOff.signal, closing])
    await drained(goodbyes)
    return cut
  }

  async #report({ occupant, slot, started }: Drain, cut: Cut): Promise<void> {
    const { name, journal, log } = this.#options
    const { release, generations } = occupant
    const facts = { service: name, slot, release, generation: generations.at(-1) ?? 0 }
    if (cut.requests + cut.tunnels > 0) {
      const alarm = reason('drain_cut', { ...facts, ...cut })
      log.warn({ ...facts, code: alarm.code }, alarm.sentence)
    }
    await journal
      .append({ ...facts, event: 'drained', actor: 'slotgate', cut, took_ms: Date.now() - started })
      .catch((error) => log.error({ ...facts, err: error }, 'the journal could not be written'))
  }
}
