// Asks the target and the live release at the same moment and judges; again, up to three times, while what stands
// in the way may pass by itself.
import { setTimeout as pause } from 'node:timers/promises'
import { type GateOperation, judge, mayPass, type Party, type Reading, type Verdict } from './judge.ts'

/** A release that can be asked: its identity, and one read that ends within the given time. */
export interface Askable {
  release: string
  internalUrl: string
  bootId?: string
  read(withinMs: number): Promise<Reading>
}

const ATTEMPTS = 3
/** A read needs some time even when the earlier ones used up most of the deadline. */
const SHORTEST_READ_MS = 50

/**
 * @param withinMs the deadline for the whole decision. With the default of 3 s the attempts start at 0, 1 and 2 s.
 * @returns the last verdict, with the number of attempts it took
 * @see DESIGN.md §3: only transport errors, 503, a running migration and a disagreement (row 12) are read again
 */
export async function consult(
  operation: GateOperation,
  target: Askable,
  live: Askable | null,
  withinMs: number,
): Promise<Verdict> {
  const started = performance.now()
  for (let attempt = 1; ; attempt++) {
    const leftMs = Math.max(SHORTEST_READ_MS, Math.round(withinMs - (performance.now() - started)))
    const [targetReading, liveReading] = await Promise.all([target.read(leftMs), live?.read(leftMs)])
    const verdict = judge(
      operation,
      { ...partyOf(target, targetReading), ...(target.bootId !== undefined && { bootId: target.bootId }) },
      live && liveReading ? partyOf(live, liveReading) : null,
      attempt,
    )
    if (attempt === ATTEMPTS || !mayPass(verdict)) return verdict
    const waitMs = (withinMs * attempt) / ATTEMPTS - (performance.now() - started)
    if (waitMs > 0) await pause(waitMs)
    if (performance.now() - started >= withinMs) return verdict
  }
}

const partyOf = ({ release, internalUrl }: Askable, reading: Reading): Party => ({
  release,
  internalUrl,
  reading,
})
