// A coarse clock for the time limits of all connections of a thread: one timer for all, instead of one for each.

/** No limit is missed by more than this, and none is ever early. */
const TICK_MS = 250
const SHORTEST_TICK_MS = 5

/** Short limits, as tests have them, get a tick that can tell them apart. */
const TICKS_PER_LIMIT = 8

/** Lives as long as the door. */
export class Clock {
  readonly #tickMs: number
  readonly #timer: NodeJS.Timeout
  #nowMs = performance.now()

  /**
   * @param limitsMs the limits that it has to tell apart
   * @param onTick called with the time, in milliseconds
   */
  constructor(limitsMs: readonly number[], onTick: (nowMs: number) => void) {
    const wanted = Math.min(TICK_MS, ...limitsMs.map((limit) => limit / TICKS_PER_LIMIT))
    this.#tickMs = Math.max(SHORTEST_TICK_MS, wanted)
    this.#timer = setInterval(() => {
      this.#nowMs = performance.now()
      onTick(this.#nowMs)
    }, this.#tickMs).unref()
  }

  /** @returns the deadline of something that may take so long from now */
  in(limitMs: number): number {
    return this.#nowMs + limitMs + this.#tickMs
  }

  get nowMs(): number {
    return this.#nowMs
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
