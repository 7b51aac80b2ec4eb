// Waiting for a drain: looks at the claims of all threads every few milliseconds while somebody waits. Main thread.
import { setTimeout as pause } from 'node:timers/promises'
import type { ClaimKind, Table } from '../slots/table.ts'

/** A release leaves so much later than its last byte at most; nobody is kept waiting by it. */
const LOOK_EVERY_MS = 5

/**
 * Resolves once no claim of these generations is left, or when the signal calls the waiting off. Looking is enough:
 * the table's re-check makes "none left" final, and a thread that died needs to tell nobody.
 */
export async function whenDrained(
  table: Table,
  service: number,
  generations: readonly number[],
  kind: ClaimKind,
  signal: AbortSignal,
): Promise<void> {
  const isDrained = () => generations.every((generation) => table.claims(service, generation)[kind] === 0)
  while (!signal.aborted && !isDrained()) {
    // An abort ends the pause, and the loop with it.
    await pause(LOOK_EVERY_MS, undefined, { signal }).catch(() => {})
  }
}
