// Waiting in the background, until slotgate ends.
import { setTimeout as pause } from 'node:timers/promises'

/** @returns whether the time passed; false: the signal ended the wait. It does not keep the process alive. */
export const waitFor = (ms: number, signal: AbortSignal): Promise<boolean> =>
  pause(ms, undefined, { signal, ref: false }).then(
    () => true,
    () => false,
  )
