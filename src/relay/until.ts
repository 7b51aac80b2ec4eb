// Waiting for something that only happens by itself, with a look every few milliseconds. Keeps the process alive; runs in any
// thread.
import { setTimeout as pause } from 'node:timers/promises'

const LOOK_EVERY_MS = 5

/** Resolves when it is so, or after the time. */
export async function until(isSo: () => boolean, withinMs: number): Promise<void> {
  const deadlineMs = performance.now() + withinMs
  while (!isSo() && performance.now() < deadlineMs) await pause(LOOK_EVERY_MS)
}
