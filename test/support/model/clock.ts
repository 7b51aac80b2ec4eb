// The clock of the model's runs: what the core waits for by `node:timers/promises` and `AbortSignal.timeout` comes when
// the test lets time pass, and not before. Sockets and disks take the time they take.
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'

/** Somebody who looks that often waits for something else than the time; one look after each event is enough. */
const POLL_MS = 10

interface Wait {
  readonly dueMs: number
  end(): void
}

export class VirtualClock {
  #nowMs = 0
  readonly #waits = new Set<Wait>()
  readonly #polls = new Set<() => void>()

  /** From now on the whole process waits by this clock. @returns what puts the real time back */
  install(): () => void {
    const [setTimeout, timeout] = [timers.setTimeout, AbortSignal.timeout]
    Object.assign(timers, { setTimeout: this.#pause })
    Object.assign(AbortSignal, { timeout: this.#timeout })
    syncBuiltinESMExports()
    return () => {
      Object.assign(timers, { setTimeout })
      Object.assign(AbortSignal, { timeout })
      syncBuiltinESMExports()
    }
  }

  /**
   * Lets time pass: everything that is due happens in its order, each to its end before the next.
   *
   * @param quiet resolves when what was set off has come to rest
   */
  async advance(ms: number, quiet: () => Promise<void>): Promise<void> {
    const endMs = this.#nowMs + ms
    for (;;) {
      this.#look()
      await quiet()
      const next = this.#next()
      if (!next || next.dueMs > endMs) break
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      this.#waits.delete(next)
      next.end()
      await quiet()
    }
    this.#nowMs = endMs
  }

  #next(): Wait | undefined {
    let next: Wait | undefined
    for (const wait of this.#waits) if (!next || wait.dueMs < next.dueMs) next = wait
    return next
  }

  #look(): void {
    const polls = [...this.#polls]
    this.#polls.clear()
    for (const look of polls) look()
  }

  /** What nobody can call off is a step of something under way, such as asking again: it takes no time here. */
  readonly #pause = <Value>(
    ms = 0,
    value?: Value,
    options: { signal?: AbortSignal } = {},
  ): Promise<Value> => {
    const { signal } = options
    const { promise, resolve, reject } = Promise.withResolvers<Value>()
    const done = () => resolve(value as Value)
    if (!signal) setImmediate(done)
    else if (signal.aborted) reject(signal.reason)
    else {
      const remove = 0 < ms && ms <= POLL_MS ? this.#poll(done) : this.#wait(ms, done)
      const callOff = () => {
        remove()
        reject(signal.reason)
      }
      signal.addEventListener('abort', callOff, { once: true })
      void promise.then(
        () => signal.removeEventListener('abort', callOff),
        () => {},
      )
    }
    return promise
  }

  readonly #timeout = (ms: number): AbortSignal => {
    const limit = new AbortController()
    this.#wait(ms, () => limit.abort(new DOMException('the time is over', 'TimeoutError')))
    return limit.signal
  }

  #wait(ms: number, end: () => void): () => void {
    const wait = { dueMs: this.#nowMs + ms, end }
    this.#waits.add(wait)
    return () => void this.#waits.delete(wait)
  }

  #poll(look: () => void): () => void {
    this.#polls.add(look)
    return () => void this.#polls.delete(look)
  }
}
