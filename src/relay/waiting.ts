// Where requests wait until their service takes them: while it is paused and, where the config wants it, while nothing is
// live yet. They are let in in the order in which they came. Runs in the thread of their connections.
import type { Claim, Table } from '../slots/table.ts'

/** A request that waits; its connection keeps the time. */
export interface Waiter {
  /** It is its turn, and it is counted in already. Must not throw. */
  letIn(claim: Claim): void
  /** It will not be. */
  turnAway(): void
}

/** Lives as long as the door. */
export class WaitingRoom {
  readonly #table: Table
  readonly #worker: number
  /** By service, in order of arrival. */
  readonly #waiters: Set<Waiter>[]
  #size = 0
  #isLettingIn = false

  constructor(table: Table, worker: number) {
    this.#table = table
    this.#worker = worker
    this.#waiters = Array.from({ length: table.layout.services }, () => new Set())
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** @returns whether it may wait; not so if `limit` requests of the service do already, over all threads */
  take(service: number, waiter: Waiter, limit: number): boolean {
    if (!this.#table.hold(service, this.#worker, limit)) return false
    this.#waiters[service]?.add(waiter)
    this.#size++
    return true
  }

  /** It waits no longer, whatever for. */
  leave(service: number, waiter: Waiter): void {
    if (!this.#waiters[service]?.delete(waiter)) return
    this.#size--
    this.#table.letGo(service, this.#worker)
  }

  /** Nobody will be let in any more. */
  close(): void {
    for (const waiter of this.#waiters.flatMap((waiters) => [...waiters])) waiter.turnAway()
  }

  /** Lets in who waits, as long as the service takes requests. */
  letIn(service: number): void {
    // One that is let in may be over at once, and the next request of its connection come here: it finds this under way.
    if (this.#isLettingIn) return
    this.#isLettingIn = true
    try {
      for (const waiter of this.#waiters[service] ?? []) {
        const claim = this.#table.claim(service, this.#worker)
        if (typeof claim === 'string') return
        this.leave(service, waiter)
        waiter.letIn(claim)
      }
    } finally {
      this.#isLettingIn = false
    }
  }
}
