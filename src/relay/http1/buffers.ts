// The memory that apps' answers are read into. One buffer is common to all connections of a thread: what is in it has
// to be copied before the next read. Large bodies get buffers that can be written from as they are.

/** Few large bodies come at once; the buffers of more are left to the garbage collector. */
const KEPT = 16

/** What is read is written at once: it should still be in the cache of the core then. */
export const BUFFER_BYTES = 32 * 1024

/** Lives as long as the door. */
export class Buffers {
  readonly common = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  readonly #free: Buffer[] = []

  /** @returns a buffer that nobody else has */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES)
  }

  /** Takes a buffer back that nothing is written from any more. */
  giveBack(buffer: Buffer): void {
    if (this.#free.length < KEPT) this.#free.push(buffer)
  }
}
