// The pointer words and the claim counters of all services, over one SharedArrayBuffer. Atomics live here alone; every
// thread opens the same buffer.
import { SLOTS, type SlotName } from '../contract.ts'

/**
 * Claims are counted per generation, not per slot: a slot that gets a new release while its former one still
 * finishes a long download must not mix the two counts, and each drain stays exact. A flip takes the next cell, so
 * at most this many generations can have open claims at once; `canFlip` says whether the next cell is empty.
 */
export const GENERATION_CELLS = 64

const KINDS = ['requests', 'tunnels'] as const
export type ClaimKind = (typeof KINDS)[number]

/** The generation is kept in 30 bits of the word; 0 means that nothing was ever live. */
const MAX_GENERATION = 2 ** 30 - 1

/** The bits of the word below the generation. */
const SLOT = 0b01
const PAUSED = 0b10
const GENERATION_SHIFT = 2

/** Which slot is live, since which flip. `slot` is null while nothing was promoted yet (generation 0). */
export interface Pointer {
  generation: number
  slot: SlotName | null
}

/** One request counted into one generation, from routing until its last byte. */
export interface Claim {
  readonly service: number
  readonly generation: number
  readonly slot: SlotName
  kind: ClaimKind
}

/** Why a service takes no requests just now. */
export type Closed = 'paused' | 'nothing_live'

export interface ClaimCounts {
  requests: number
  tunnels: number
}

export interface Layout {
  services: number
  workers: number
}

const claimCells = GENERATION_CELLS * KINDS.length
/** One more, for the requests that wait. */
const cellsPerWorker = claimCells + 1
const wordsPerService = (workers: number) => 2 + workers * cellsPerWorker

/** @returns the buffer to hand to every thread that routes or switches */
export const createBuffer = ({ services, workers }: Layout): SharedArrayBuffer =>
  new SharedArrayBuffer(services * wordsPerService(workers) * Uint32Array.BYTES_PER_ELEMENT)

export interface Table {
  /** What another thread opens, with the layout, to have the same table. */
  readonly buffer: SharedArrayBuffer
  readonly layout: Readonly<Layout>
  pointer(service: number): Pointer
  /**
   * Counts one request in, for `worker`, unless the service takes none. The caller must `release` the claim exactly once.
   */
  claim(service: number, worker: number): Claim | Closed
  /** Moves a claim to the tunnels: an upgraded connection or an event stream, which drains on its own clock. */
  toTunnel(claim: Claim, worker: number): void
  release(claim: Claim, worker: number): void
  /**
   * Counts one request that waits, for `worker`, unless `limit` of them wait already. The caller must `letGo` of it exactly
   * once.
   *
   * @returns whether it may wait
   */
  hold(service: number, worker: number, limit: number): boolean
  letGo(service: number, worker: number): void
  /** The requests that wait, over all workers. */
  held(service: number): number
  /**
   * Zeroes the claims of a worker, and what waits there. Only for one that is gone, with all of its connections: nobody
   * else gives its claims back. The next to count under this number must not have begun.
   */
  forgetWorker(worker: number): void
  /** Open claims of one generation, over all workers. */
  claims(service: number, generation: number): ClaimCounts
  /** Whether the next flip finds its cell empty. */
  canFlip(service: number): boolean
  /** The one store that moves traffic. Cannot fail once `canFlip` said yes. A paused service stays paused. */
  flip(service: number, slot: SlotName): Pointer
  /** Sets the word at start-up from the journal; never used to switch. */
  restore(service: number, pointer: Pointer): void
  isPaused(service: number): boolean
  /**
   * Once this has returned, no claim enters. With "no claim is left", read after it, none is there until the pause ends:
   * a claim that came in between sees the bit when it looks again.
   */
  pause(service: number): void
  resume(service: number): void
  /** Under which number the passes are made that count here. */
  passes(service: number): number
  /** From here on, in every thread, those that were made under another number do not. */
  setPasses(service: number, number: number): void
}

const encode = ({ generation, slot }: Pointer): number =>
  slot === null ? 0 : ((generation << GENERATION_SHIFT) | SLOTS.indexOf(slot)) >>> 0

function decode(word: number): Pointer {
  const generation = word >>> GENERATION_SHIFT
  return { generation, slot: generation === 0 ? null : (SLOTS[word & SLOT] ?? null) }
}

export function openTable(buffer: SharedArrayBuffer, layout: Layout): Table {
  const { services, workers } = layout
  const words = new Uint32Array(buffer)
  const pointerAt = (service: number) => service * wordsPerService(workers)
  const passesAt = (service: number) => pointerAt(service) + 1
  const cellsAt = (service: number, worker: number) => pointerAt(service) + 2 + worker * cellsPerWorker
  const cellAt = (service: number, worker: number, generation: number, kind: ClaimKind) =>
    cellsAt(service, worker) + (generation % GENERATION_CELLS) * KINDS.length + KINDS.indexOf(kind)
  const heldAt = (service: number, worker: number) => cellsAt(service, worker) + claimCells

  function sum(cellOf: (worker: number) => number): number {
    let total = 0
    for (let worker = 0; worker < workers; worker++) total += Atomics.load(words, cellOf(worker))
    return total
  }

  /** Whether a generation's cells have gone to a younger one; they had to be free of claims for that. */
  const isPast = (service: number, generation: number) =>
    generation + GENERATION_CELLS <= table.pointer(service).generation

  const table: Table = {
    buffer,
    layout,
    pointer: (service) => decode(Atomics.load(words, pointerAt(service))),
    claim(service, worker) {
      const at = pointerAt(service)
      for (;;) {
        const word = Atomics.load(words, at)
        if ((word & PAUSED) !== 0) return 'paused'
        const { generation, slot } = decode(word)
        if (slot === null) return 'nothing_live'
        const cell = cellAt(service, worker, generation, 'requests')
        Atomics.add(words, cell, 1)
        // Between the load and the count a flip or a pause may have come and its drain may already have read zero. Only
        // if the word is still the same was this claim visible to every drain that starts after it.
        if (Atomics.load(words, at) === word) return { service, generation, slot, kind: 'requests' }
        Atomics.sub(words, cell, 1)
      }
    },
    toTunnel(claim, worker) {
      if (claim.kind === 'tunnels') return
      Atomics.add(words, cellAt(claim.service, worker, claim.generation, 'tunnels'), 1)
      Atomics.sub(words, cellAt(claim.service, worker, claim.generation, 'requests'), 1)
      claim.kind = 'tunnels'
    },
    release(claim, worker) {
      Atomics.sub(words, cellAt(claim.service, worker, claim.generation, claim.kind), 1)
    },
    hold(service, worker, limit) {
      // Counted first, so that two threads cannot both take the last place.
      Atomics.add(words, heldAt(service, worker), 1)
      if (table.held(service) <= limit) return true
      table.letGo(service, worker)
      return false
    },
    letGo(service, worker) {
      Atomics.sub(words, heldAt(service, worker), 1)
    },
    held: (service) => sum((worker) => heldAt(service, worker)),
    forgetWorker(worker) {
      for (let service = 0; service < services; service++) {
        const first = cellsAt(service, worker)
        for (let cell = first; cell < first + claimCells; cell++) Atomics.store(words, cell, 0)
        Atomics.store(words, heldAt(service, worker), 0)
      }
    },
    claims(service, generation) {
      if (isPast(service, generation)) return { requests: 0, tunnels: 0 }
      // A claim may be counted in and taken back by the re-check; the cell itself never goes below zero.
      return {
        requests: sum((worker) => cellAt(service, worker, generation, 'requests')),
        tunnels: sum((worker) => cellAt(service, worker, generation, 'tunnels')),
      }
    },
    canFlip(service) {
      const next = table.pointer(service).generation + 1
      const { requests, tunnels } = table.claims(service, next)
      return next <= MAX_GENERATION && requests + tunnels === 0
    },
    flip(service, slot) {
      const next = { generation: table.pointer(service).generation + 1, slot }
      const paused = Atomics.load(words, pointerAt(service)) & PAUSED
      Atomics.store(words, pointerAt(service), encode(next) | paused)
      return next
    },
    restore(service, pointer) {
      Atomics.store(words, pointerAt(service), encode(pointer))
    },
    isPaused: (service) => (Atomics.load(words, pointerAt(service)) & PAUSED) !== 0,
    pause(service) {
      Atomics.or(words, pointerAt(service), PAUSED)
    },
    resume(service) {
      Atomics.and(words, pointerAt(service), ~PAUSED)
    },
    passes: (service) => Atomics.load(words, passesAt(service)),
    setPasses(service, number) {
      Atomics.store(words, passesAt(service), number)
    },
  }
  return table
}
