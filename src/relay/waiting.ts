// Where requests wait until their service takes them: while it is paused and, where the config wants it, while nothing is
// live yet. They are let in in the order in which they came, a few at a time. Runs in the thread of their connections.
import type { Claim, Table } from '../slots/table.ts'

/** A request that waits; its connection keeps the time. */
export interface Waiter {
  /** How many requests its release answers at once; 0: any number. */
  readonly openLimit: number
  /** It is its turn, and it is counted in already. Must not throw. */
  letIn(claim: Claim): void
  /** It will not be. */
  turnAway(): void
}

/** So many of those who waited are under way at once, over all threads: an app's queue of new connections is short. */
const AT_ONCE = 64
/** Each that is over makes room for the next, and for a part of another one, so that the wait ends whatever comes behind. */
const MORE_EACH = 0.25
/** While none is over for so long, as many more may be: an answer may take as long as it likes. */
const SILENT_MS = 100

/** Those who wait for one service. */
class Room {
  /** In order of arrival. */
  readonly waiters = new Set<Waiter>()
  /** Those who were let in, and are not over. */
  readonly underWay = new Set<Waiter>()
  /** How many these may be now. */
  most = 0
  isLettingIn = false
  timer: NodeJS.Timeout | undefined

  /** What is to come is not about those who are under way now. */
  reset(): void {
    this.underWay.clear()
    this.most = 0
    clearTimeout(this.timer)
    this.timer = undefined
  }
}

/** Lives as long as the door. */
export class WaitingRoom {
  readonly #table: Table
  readonly #worker: number
  /** By service. */
  readonly #rooms: readonly Room[]
  readonly #step: number
  #size = 0

  constructor(table: Table, worker: number) {
    this.#table = table
    this.#worker = worker
    this.#rooms = Array.from({ length: table.layout.services }, () => new Room())
    this.#step = Math.ceil(AT_ONCE / table.layout.workers)
  }

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** @returns whether it may wait; not so if `limit` requests of the service do already, over all threads */
  take(service: number, waiter: Waiter, limit: number): boolean {
    if (!this.#table.hold(service, this.#worker, limit)) return false
    this.#rooms[service]?.waiters.add(waiter)
    this.#size++
    return true
  }

  /** It waits no longer, whatever for. */
  leave(service: number, waiter: Waiter): void {
    const room = this.#rooms[service]
    if (!room?.waiters.delete(waiter)) return
    this.#size--
    this.#table.letGo(service, this.#worker)
    if (room.waiters.size === 0) room.reset()
  }

  /** Nobody will be let in any more. */
  close(): void {
    for (const waiter of this.#rooms.flatMap(({ waiters }) => [...waiters])) waiter.turnAway()
  }

  /**
   * Lets in who waits, as long as the service takes requests, and not too many at once.
   *
   * @returns whether some wait for their turn alone: who comes now has to wait behind them
   */
  letIn(service: number): boolean {
    const room = this.#rooms[service]
    if (!room || room.waiters.size === 0) return false
    // One that is let in may be over at once, and the next request of its connection come here: it finds this under way.
    if (room.isLettingIn) return true
    room.isLettingIn = true
    try {
      return this.#letInTo(room, service)
    } finally {
      room.isLettingIn = false
    }
  }

  #letInTo(room: Room, service: number): boolean {
    room.most ||= this.#step
    for (const waiter of room.waiters) {
      if (room.underWay.size >= room.most || this.#isFull(service, waiter))
        return this.#goOnLater(room, service)
      const claim = this.#table.claim(service, this.#worker)
      if (typeof claim === 'string') {
        room.reset()
        return false
      }
      room.underWay.add(waiter)
      this.leave(service, waiter)
      waiter.letIn(claim)
    }
    return false
  }

  /** Who has waited is not to be refused because others came along. */
  #isFull(service: number, { openLimit }: Waiter): boolean {
    const { generation } = this.#table.pointer(service)
    return openLimit > 0 && this.#table.claims(service, generation).requests >= openLimit
  }

  #goOnLater(room: Room, service: number): true {
    room.timer ??= setTimeout(() => {
      room.timer = undefined
      room.most += this.#step
      this.letIn(service)
    }, SILENT_MS).unref()
    return true
  }

  /** One that was let in is over, or has all the time it wants: the next may follow. */
  letFollow(service: number, waiter: Waiter): void {
    const room = this.#rooms[service]
    if (!room?.underWay.delete(waiter)) return
    room.most += MORE_EACH
    room.timer?.refresh()
    this.letIn(service)
  }
}
