// Waiting: for a while, or for something but not for longer than that. No timer outlives its wait.
import { setTimeout as pause } from 'node:timers/promises'

/** @returns whether the time passed; false: the signal ended the wait. It does not keep the process alive. */
export const waitFor = (ms: number, signal: AbortSignal): Promise<boolean> =>
  pause(ms, undefined, { signal, ref: false }).then(
    () => true,
    () => false,
  )

/** Waits for a promise, but not longer than this; what it rejects with is thrown. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController()
  try {
    await Promise.race([promise, pause(ms, undefined, { signal: timer.signal }).catch(() => {})])
  } finally {
    timer.abort()
  }
}
