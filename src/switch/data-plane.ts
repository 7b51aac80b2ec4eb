// What switching needs from the front door, whatever its threads are.
import type { SlotName } from '../contract.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind } from '../slots/table.ts'

/** The front door, as far as a switch concerns it. */
export interface DataPlane {
  /**
   * Resolves when every worker would send new claims of that slot to these addresses.
   *
   * @param backend null: the slot holds nothing. Without addresses its release is down, and claims answer 503
   */
  setBackend(service: number, slot: SlotName, backend: Backend | null): Promise<void>
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
