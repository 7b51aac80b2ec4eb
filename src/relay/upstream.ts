// Where the slots' releases are reached, and the kept connections to them. Runs in the thread of the exchanges.
import type { Address } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import type { Backend } from '../slots/occupants.ts'
import type { Claim } from '../slots/table.ts'
import { AppConnection, type Home, type Reading } from './http1/app.ts'
import type { Buffers } from './http1/buffers.ts'
import { HeadReader } from './http1/head.ts'

/** Far more than any app sends, and a bound on what one answer may cost. */
export const ANSWER_FIELDS = 500

/** What to ask, and over which connections. */
export interface App {
  release: string
  pool: Pool
}

interface Options {
  /** How long an unused connection is kept: shorter than an app keeps it, so that it is we who close it. */
  idleMs: number
  /** Connections are used again. */
  reuse: boolean
  headLimitBytes: number
  buffers: Buffers
  nowMs: () => number
}

/** The kept connections to one address; lives until the address is forgotten. */
export class Pool implements Home {
  readonly address: Address
  readonly #options: Options
  readonly #reading: Reading
  /** The one that was used last is used first: the others may then grow old and go. */
  readonly #idle: AppConnection[] = []
  #retired = false

  constructor(address: Address, options: Options, reading: Reading) {
    this.address = address
    this.#options = options
    this.#reading = reading
  }

  /** @returns a kept connection, or a new one */
  borrow(): AppConnection {
    return this.#idle.pop() ?? this.open()
  }

  /** @returns a new connection */
  open(): AppConnection {
    return new AppConnection(this, this.#reading)
  }

  keep(app: AppConnection): boolean {
    if (this.#retired || !this.#options.reuse) return false
    app.idleSinceMs = this.#options.nowMs()
    this.#idle.push(app)
    return true
  }

  left(app: AppConnection): void {
    const at = this.#idle.indexOf(app)
    if (at >= 0) this.#idle.splice(at, 1)
  }

  /** Closes what was not used for too long; the oldest come first. */
  tick(nowMs: number): void {
    let old = 0
    while (old < this.#idle.length && nowMs - (this.#idle[old]?.idleSinceMs ?? nowMs) >= this.#options.idleMs)
      old++
    for (const app of this.#idle.splice(0, old)) app.destroy()
  }

  /** Closes what is idle; what is in use closes after its answer. */
  retire(): void {
    this.#retired = true
    for (const app of this.#idle.splice(0)) app.destroy()
  }
}

const keyOf = (address: Address): string =>
  address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`

/** Where one release is reached, with the pools of its addresses. */
interface Target {
  readonly release: string
  readonly addresses: readonly Address[]
  pools: Pool[]
  turn: number
}

/** Lives as long as the door. */
export class Upstreams {
  readonly #options: Options
  readonly #reading: Reading
  /** By service and slot. */
  readonly #targets: { blue?: Target; green?: Target }[] = []
  readonly #pools = new Map<string, Pool>()

  constructor(options: Options) {
    this.#options = options
    const limits = {
      headLimitBytes: options.headLimitBytes,
      targetLimitBytes: 0,
      fieldLimit: ANSWER_FIELDS,
    }
    this.#reading = { heads: new HeadReader(limits), buffers: options.buffers }
  }

  set(service: number, slot: SlotName, backend: Backend | null): void {
    const targets = this.#targets[service] ?? {}
    this.#targets[service] = targets
    if (backend === null) delete targets[slot]
    else {
      const pools = backend.addresses.map((address) => this.#poolOf(address))
      targets[slot] = { ...backend, pools, turn: 0 }
    }
  }

  /**
   * @returns the next address of the slot that the claim counts in, round robin; null: it has none
   */
  pick({ service, slot }: Claim): App | null {
    const target = this.#targets[service]?.[slot]
    const pool = target?.pools[target.turn]
    if (target === undefined || pool === undefined) return null
    target.turn = (target.turn + 1) % target.pools.length
    return { release: target.release, pool }
  }

  forget(addresses: readonly Address[]): void {
    for (const key of addresses.map(keyOf)) {
      this.#pools.get(key)?.retire()
      this.#pools.delete(key)
    }
    // Who is still sent to one of them, after a restart on the same port say, gets a pool that keeps.
    for (const { blue, green } of this.#targets.filter(Boolean)) {
      for (const target of [blue, green])
        if (target) target.pools = target.addresses.map((one) => this.#poolOf(one))
    }
  }

  tick(nowMs: number): void {
    for (const pool of this.#pools.values()) pool.tick(nowMs)
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.retire()
    this.#pools.clear()
  }

  #poolOf(address: Address): Pool {
    const key = keyOf(address)
    const pool = this.#pools.get(key) ?? new Pool(address, this.#options, this.#reading)
    this.#pools.set(key, pool)
    return pool
  }
}
