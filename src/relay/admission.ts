// Who may connect: limits on open connections, and who may speak for others. Runs in the thread that accepts.
import type { Socket } from 'node:net'
import { SlotgateError } from '../errors.ts'
import { plainAddress } from './forwarded.ts'
import type { Front } from './front.ts'

/** A flood of connections must not become a flood of lines. */
const SAY_EVERY_MS = 1_000

/** Lives as long as the door. */
export class Admission {
  readonly #front: Front
  /** This thread's part of the limits; the kernel spreads connections evenly. */
  readonly #limit: number
  readonly #limitPerAddress: number
  readonly #open = new Map<string, number>()
  #total = 0
  #turnedAway = 0
  #saidMs = Number.NEGATIVE_INFINITY

  constructor(front: Front) {
    const { connectionLimit, connectionsPerAddress } = front.config
    const { workers } = front.table.layout
    this.#front = front
    this.#limit = Math.ceil(connectionLimit / workers) || Number.POSITIVE_INFINITY
    this.#limitPerAddress = Math.ceil(connectionsPerAddress / workers) || Number.POSITIVE_INFINITY
  }

  /** @returns whether the connection may stay; otherwise it is closed, without an answer that would cost as much */
  admits(socket: Socket): boolean {
    const address = plainAddress(socket.remoteAddress ?? '')
    const here = this.#open.get(address) ?? 0
    if (this.#front.config.proxyProtocol && !this.#front.isTrusted(address)) {
      return this.#turnAway(
        socket,
        address,
        new SlotgateError('proxy_header_invalid', { peer: address, detail: 'it is not trusted' }),
      )
    }
    if (this.#total >= this.#limit) {
      return this.#turnAway(
        socket,
        address,
        this.#tooMany('relay.connections', this.#front.config.connectionLimit),
      )
    }
    if (here >= this.#limitPerAddress) {
      const { connectionsPerAddress } = this.#front.config
      return this.#turnAway(
        socket,
        address,
        this.#tooMany('relay.connections_per_address', connectionsPerAddress),
      )
    }
    this.#total++
    this.#open.set(address, here + 1)
    socket.once('close', () => this.#left(address))
    return true
  }

  #left(address: string): void {
    this.#total--
    const here = (this.#open.get(address) ?? 1) - 1
    if (here === 0) this.#open.delete(address)
    else this.#open.set(address, here)
  }

  #tooMany(key: string, limit: number): SlotgateError {
    return new SlotgateError('too_many_connections', { key, limit, closed: this.#turnedAway + 1 })
  }

  #turnAway(socket: Socket, address: string, { code, message }: SlotgateError): false {
    socket.on('error', () => {})
    socket.destroy()
    this.#turnedAway++
    const nowMs = performance.now()
    if (nowMs - this.#saidMs < SAY_EVERY_MS) return false
    const { log } = this.#front
    log.warn({ client: address, code }, message)
    this.#turnedAway = 0
    this.#saidMs = nowMs
    return false
  }
}
