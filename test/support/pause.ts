// Stops the world between the last look of the gate and the flip: while its line is written into the journal.
import { type FileHandle, open } from 'node:fs/promises'
import type { Test } from 'tap'

export interface PausedFlip {
  /** Resolves when the next flip is about to be written. */
  reached: Promise<void>
  resume(): void
}

/** Holds the next flip of a slotgate in this process. What it writes goes to the disk as always, only later. */
export async function pauseNextFlip(t: Pick<Test, 'teardown'>): Promise<PausedFlip> {
  const own = await open(new URL(import.meta.url))
  const handles: FileHandle = Object.getPrototypeOf(own)
  await own.close()
  const { appendFile } = handles
  const reached = Promise.withResolvers<void>()
  const resumed = Promise.withResolvers<void>()
  const restore = () => {
    handles.appendFile = appendFile
    resumed.resolve()
  }
  handles.appendFile = async function (this: FileHandle, data, options) {
    if (String(data).includes('"event":"flipped"')) {
      handles.appendFile = appendFile
      reached.resolve()
      await resumed.promise
    }
    return appendFile.call(this, data, options)
  }
  t.teardown(restore)
  return { reached: reached.promise, resume: restore }
}
