// A coarse clock for the time limits of all connections of a thread: one timer for all, instead of one for each.
// Runs in that thread.

/** No limit is ever early, and none is missed by more than two of these and the time in which the thread was held up. */
const TICK_MS = 250
const SHORTEST_TICK_MS = 5

/** Short limits, as tests have them, get a tick that can tell them apart. */
const TICKS_PER_LIMIT = 8

/**
 * So many ticks at most pass from one to the next. What waits for a thread that was held up has its answer in a buffer of
 * the kernel, and must not be cut off before the thread has looked there.
 */
const LONGEST_TICK = 1.25

/** Lives as long as the door. */
export class Clock {
  readonly #longestMs: number
  readonly #timer: NodeJS.Timeout
  #nowMs = performance.now()
  /** The time of the limits, which stands still while the thread is held up. */
  #limitsMs = this.#nowMs

  /**
   * @param limitsMs the limits that it has to tell apart
   * @param onTick called with the time of the limits, and with how late it is, in milliseconds
   */
  constructor(limitsMs: readonly number[], onTick: (nowMs: number, lateMs: number) => void) {
    const wanted = Math.min(TICK_MS, ...limitsMs.map((limit) => limit / TICKS_PER_LIMIT))
    const tickMs = Math.max(SHORTEST_TICK_MS, wanted)
    this.#longestMs = tickMs * LONGEST_TICK
    this.#timer = setInterval(() => {
      const nowMs = performance.now()
      const passedMs = nowMs - this.#nowMs
      this.#limitsMs += Math.min(passedMs, this.#longestMs)
      this.#nowMs = nowMs
      onTick(this.#limitsMs, Math.max(0, passedMs - tickMs))
    }, tickMs).unref()
  }

  /** @returns the deadline of something that may take so long from now */
  in(limitMs: number): number {
    return this.#limitsMs + limitMs + this.#longestMs
  }

  /** When it ticked last. */
  get nowMs(): number {
    return this.#nowMs
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
