// The memory that connections read into. One buffer is common to all connections of a thread: what is in it has to be
// copied before the next read. Large bodies get buffers that can be written from as they are. Runs in that thread.
import type { Taken } from './write.ts'

/** Few large bodies come at once; the buffers of more are left to the garbage collector. */
const KEPT = 16

/** What is read is written at once: it should still be in the cache of the core then. */
export const BUFFER_BYTES = 32 * 1024

/** A read that fills so much of the common buffer announces a body that is worth a buffer of its own. */
const LARGE_BYTES = BUFFER_BYTES / 2

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

/** Which buffer one connection reads into next; lives as long as the connection. */
export class Intake {
  readonly #buffers: Buffers
  /** One that no other connection reads into, while a large body comes. */
  #own: Buffer | null = null
  /** Those that what was read is still being written from. */
  #lent: Buffer[] | null = null

  constructor(buffers: Buffers) {
    this.#buffers = buffers
  }

  get next(): Buffer {
    return this.#own ?? this.#buffers.common
  }

  /** It is read into again at once: what is not written by then has to be copied. */
  isCommon(buffer: Buffer): boolean {
    return buffer === this.#buffers.common
  }

  /**
   * So much of a body was read, and more of it will come.
   *
   * @param held the buffer is still being written from, and must not be read into again
   * @param full `written` will be called when it is not any more. Otherwise nobody will: then the buffer is left to whoever writes
   *   from it, or those of a long body would pile up here
   */
  afterRead(buffer: Buffer, size: number, { held, full }: Taken): void {
    if (held && buffer === this.#own) {
      this.#own = null
      if (full) {
        this.#lent ??= []
        this.#lent.push(buffer)
      }
    }
    if (this.#own === null && size >= LARGE_BYTES) this.#own = this.#buffers.take()
  }

  /** All that was read is written. */
  written(): void {
    if (this.#lent === null) return
    for (const buffer of this.#lent) this.#buffers.giveBack(buffer)
    this.#lent = null
  }

  /**
   * The body is over.
   *
   * @param held what was read last into this buffer is still being written, and whoever does that has it alone now
   */
  afterBody(buffer: Buffer, held: boolean): void {
    if (this.#own !== null && !(held && buffer === this.#own)) this.#buffers.giveBack(this.#own)
    this.#own = null
    this.#lent = null
  }
}
