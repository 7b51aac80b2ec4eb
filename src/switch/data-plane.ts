// What switching needs from the front door, whatever its threads are.
import type { SlotName } from '../contract.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind } from '../slots/table.ts'

/** Exchanges that are over, by what the app made of them; those in which it had no say are not counted. */
export interface ExchangeCounts {
  answered: number
  /** A 5xx, no connection, no answer, too late. */
  failed: number
}

/** Who is live in a generation. */
export interface Era {
  /** Its place in the table. */
  readonly service: number
  readonly generation: number
  readonly slot: SlotName
  readonly release: string
}

/** What comes over one slot. */
export interface Traffic {
  /** Its place in the table. */
  service: number
  slot: SlotName
  /** In which the app had a say. */
  requests_per_s: number
  /** Those of them that failed. */
  errors_per_s: number
  /** From the head of a request to the end of its answer; null where none has ended. */
  p50_ms: number | null
  p99_ms: number | null
}

/** The front door, as far as a switch concerns it. */
export interface DataPlane {
  /**
   * Resolves when every worker would send new claims of that slot to these addresses.
   *
   * @param backend null: the slot holds nothing. Without addresses its release is down, and claims answer 503
   */
  setBackend(service: number, slot: SlotName, backend: Backend | null): Promise<void>
  /**
   * From the flip to this generation on, its exchanges are counted as this release's. Before that flip, when no claim is left
   * of the generation that had its counters before.
   */
  begin(era: Era): void
  /** The exchanges of one generation since its flip, or since the start of slotgate. */
  exchanges(service: number, generation: number): ExchangeCounts
  /**
   * Begins to measure the traffic.
   *
   * @returns call it every second or so: what came over each slot since it was called last
   */
  measure(): () => readonly Traffic[]
  /** Requests that wait for this service are let in, after its word has changed so that it takes them. */
  letIn(service: number): void
  /** Ends what is still open of these generations; returns how many exchanges that were. */
  cut(service: number, generations: readonly number[], kind: ClaimKind): Promise<number>
  /** Resolves as soon as no claim of these generations is left, or when the signal calls the waiting off. */
  whenDrained(
    service: number,
    generations: readonly number[],
    kind: ClaimKind,
    signal: AbortSignal,
  ): Promise<void>
}
