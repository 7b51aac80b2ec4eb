// After a flip: wait until the last exchange of the release that left is over, bounded, then keep or stop it.
import type { SlotName } from '../contract.ts'
import { reason } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import type { Logger } from '../log.ts'
import type { Occupant } from '../slots/occupants.ts'
import { type ClaimCounts, type ClaimKind, GENERATION_CELLS, type Table } from '../slots/table.ts'
import type { DataPlane } from './data-plane.ts'
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
}

interface Drain {
  occupant: Occupant
  slot: SlotName
  started: number
  callOff: AbortController
}

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
      claims: this.claimsOf(occupant),
      requests_until: new Date(started + limits.withinMs).toISOString(),
      tunnels_until: new Date(started + limits.tunnelsWithinMs).toISOString(),
    }
  }

  /** Open claims of everything the occupant ever served. */
  claimsOf(occupant: Occupant): ClaimCounts {
    return this.#openIn(occupant.generations)
  }

  /** All generations that can have claims: releases that left long ago may still drain. */
  get generations(): number[] {
    const { table, index } = this.#options
    const { generation } = table.pointer(index)
    return Array.from({ length: Math.min(generation, GENERATION_CELLS) }, (_, back) => generation - back)
  }

  /** Open claims of the service, whichever release answers them. */
  open(): ClaimCounts {
    return this.#openIn(this.generations)
  }

  #openIn(generations: readonly number[]): ClaimCounts {
    const { table, index } = this.#options
    const counts = generations.map((generation) => table.claims(index, generation))
    return {
      requests: counts.reduce((sum, { requests }) => sum + requests, 0),
      tunnels: counts.reduce((sum, { tunnels }) => sum + tunnels, 0),
    }
  }

  /** Calls a drain off: the release is live again, what it still answers may go on. */
  callOff(occupant: Occupant): void {
    this.#running.get(occupant)?.callOff.abort()
  }

  /**
   * Waits for the claims of an occupant that is no longer live, cuts what is left at the limits, and writes it down.
   *
   * @returns whether it is drained; false when it was called off
   */
  async drain(occupant: Occupant, slot: SlotName): Promise<boolean> {
    this.callOff(occupant)
    const drain: Drain = { occupant, slot, started: Date.now(), callOff: new AbortController() }
    this.#running.set(occupant, drain)
    const limits = this.#options.limits()
    const requestsLimit = AbortSignal.timeout(limits.withinMs)
    const tunnelsLimit = AbortSignal.timeout(limits.tunnelsWithinMs)
    try {
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
    const { dataPlane, index, closing } = this.#options
    const generations = [...occupant.generations]
    const signal = AbortSignal.any([limit, callOff.signal, closing])
    await dataPlane.whenDrained(index, generations, kind, signal)
    if (!limit.aborted || callOff.signal.aborted) return 0
    const cut = await dataPlane.cut(index, generations, kind)
    const goodbyes = AbortSignal.any([AbortSignal.timeout(GOODBYE_MS), callOff.signal, closing])
    await dataPlane.whenDrained(index, generations, kind, goodbyes)
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
