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

  /**
   * Whom a connection was made for is known at once, or with its PROXY protocol header: then it has to be asked as well
   * whether it admits that address.
   *
   * @returns whether the connection may stay; otherwise it is closed, without an answer that would cost as much
   */
  admitsPeer(socket: Socket): boolean {
    const { proxyProtocol, connectionLimit } = this.#front.config
    const address = plainAddress(socket.remoteAddress ?? '')
    if (proxyProtocol && !this.#front.isTrusted(address)) {
      const facts = { peer: address, detail: 'it is not trusted' }
      return this.#turnAway(socket, address, new SlotgateError('proxy_header_invalid', facts))
    }
    if (this.#total >= this.#limit) {
      return this.#turnAway(socket, address, this.#tooMany('relay.connections', connectionLimit))
    }
    if (!proxyProtocol && !this.admitsClient(socket, address)) return false
    this.#total++
    socket.once('close', () => this.#total--)
    return true
  }

  /** @returns whether this address may have one more connection; otherwise it is closed */
  admitsClient(socket: Socket, address: string): boolean {
    if (this.#limitPerAddress === Number.POSITIVE_INFINITY) return true
    const { connectionsPerAddress } = this.#front.config
    const here = this.#open.get(address) ?? 0
    if (here >= this.#limitPerAddress) {
      const error = this.#tooMany('relay.connections_per_address', connectionsPerAddress)
      return this.#turnAway(socket, address, error)
    }
    this.#open.set(address, here + 1)
    socket.once('close', () => this.#left(address))
    return true
  }

  #left(address: string): void {
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
