// Where the slots' releases are reached, and the kept connections to them.
import { Agent } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Address } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import { SlotgateError } from '../errors.ts'
import type { Backend } from '../slots/occupants.ts'
import type { Claim } from '../slots/table.ts'

/** One address to ask, with the pool of its connections. */
export interface App {
  release: string
  address: Address
  pool: Pool
}

/** The kept connections to one address; lives until the address is forgotten. */
export class Pool extends Agent {
  #retired = false

  /** @param idleMs shorter than an app keeps idle connections, so that it is we who close them */
  constructor(idleMs: number) {
    super({ keepAlive: true, timeout: idleMs, scheduling: 'lifo' })
  }

  /** Called by node:http when an answer is complete: may the connection be used again? */
  override keepSocketAlive(socket: Duplex): boolean {
    // Declared as void, but false is what makes node:http close the connection.
    const kept: unknown = super.keepSocketAlive(socket)
    return kept !== false && !this.#retired
  }

  /** Closes what is idle; what is in use closes after its answer. */
  retire(): void {
    this.#retired = true
    for (const socket of Object.values(this.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy()
  }
}

const keyOf = (address: Address): string =>
  address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`

/** Lives as long as the relay. */
export class Upstreams {
  readonly #idleMs: number
  readonly #backends = new Map<string, Backend>()
  readonly #pools = new Map<string, Pool>()
  #turn = 0

  constructor(idleMs: number) {
    this.#idleMs = idleMs
  }

  set(service: number, slot: SlotName, backend: Backend | null): void {
    const key = `${service}/${slot}`
    if (backend) this.#backends.set(key, backend)
    else this.#backends.delete(key)
  }

  /**
   * @returns the next address of the slot that the claim counts in, round robin
   * @throws SlotgateError `live_down` when it has none
   */
  pick({ service, slot }: Claim): App {
    const backend = this.#backends.get(`${service}/${slot}`)
    const address = backend?.addresses[this.#turn++ % backend.addresses.length]
    if (!backend || !address) throw new SlotgateError('live_down')
    return { release: backend.release, address, pool: this.#poolOf(address) }
  }

  forget(addresses: readonly Address[]): void {
    for (const key of addresses.map(keyOf)) {
      this.#pools.get(key)?.retire()
      this.#pools.delete(key)
    }
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.retire()
    this.#pools.clear()
  }

  #poolOf(address: Address): Pool {
    const key = keyOf(address)
    const pool = this.#pools.get(key) ?? new Pool(this.#idleMs)
    this.#pools.set(key, pool)
    return pool
  }
}
