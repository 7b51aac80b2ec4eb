// The worker threads of the front door, as one: all listen on the same port, and what one is told, all are. Main thread.
import type { Address, ListenAddress, ServiceConfig } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import { messageOf } from '../errors.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind } from '../slots/table.ts'
import type { CallName, Calls, Placed } from './messages.ts'
import { Seat, type SeatOptions } from './seat.ts'
import { canBeShared, mustBeFree } from './sharing.ts'

/** A thread that takes longer than this to answer is stuck; a switch is refused rather than kept waiting. */
const ANSWER_MS = 2_000

export interface WorkersOptions extends Omit<SeatOptions, 'worker' | 'told'> {
  listen: ListenAddress
  /** At least one. */
  threads: number
}

/** Lives as long as the relay. */
export class Workers {
  readonly #options: WorkersOptions
  readonly #backends = new Map<string, Placed>()
  #services: readonly ServiceConfig[]
  #seats: readonly Seat[] = []

  constructor(options: WorkersOptions) {
    this.#options = options
    this.#services = options.services
  }

  get threads(): number {
    return this.#seats.length
  }

  /** @throws SlotgateError port_in_use or listen_failed */
  async listen(): Promise<ListenAddress> {
    const { listen } = this.#options
    const count = await this.#affordable()
    const told = () => ({ services: this.#services, backends: [...this.#backends.values()] })
    this.#seats = Array.from({ length: count }, (_, worker) => new Seat({ ...this.#options, worker, told }))
    try {
      await Promise.all(this.#seats.map((seat) => seat.start()))
      return await this.#open(listen, count > 1)
    } catch (error) {
      await this.close(0)
      throw error
    }
  }

  /** @returns how many threads there can be; one has the port for itself and needs no sharing */
  async #affordable(): Promise<number> {
    const { listen, threads, log } = this.#options
    if (threads === 1) return 1
    await mustBeFree(listen)
    if (await canBeShared(listen)) return threads
    log.warn({ threads }, 'this system does not let threads share a port: the front door has one thread')
    return 1
  }

  /** The first one chooses the port where the config says 0, the others follow. */
  async #open(listen: ListenAddress, reusePort: boolean): Promise<ListenAddress> {
    const [first, ...others] = this.#seats
    if (!first) throw new Error('a front door has at least one thread')
    // Once more, now that the threads have started: another slotgate may have done the same meanwhile.
    if (reusePort) await mustBeFree(listen)
    const address = await first.open(listen, reusePort)
    await Promise.all(others.map((seat) => seat.open(address, reusePort)))
    return address
  }

  /** Resolves when each thread that listens knows; one that dies meanwhile is replaced by one that does. */
  async setBackend(service: number, slot: SlotName, backend: Backend | null): Promise<void> {
    const placed = { service, slot, backend }
    this.#backends.set(`${service}/${slot}`, placed)
    await Promise.all(this.#askAll('setBackend', [placed]))
  }

  setServices(services: readonly ServiceConfig[]): void {
    this.#services = services
    void this.#askThoseWhoAnswer('setServices', [services])
  }

  letIn(service: number): void {
    void this.#askThoseWhoAnswer('letIn', [service])
  }

  /** A thread that is stuck does it when it can; what it holds is not counted. */
  async cut(service: number, generations: readonly number[], kind: ClaimKind): Promise<number> {
    const counts = await this.#askThoseWhoAnswer('cut', [service, generations, kind])
    return counts.reduce<number>((sum, count) => sum + (count ?? 0), 0)
  }

  forget(addresses: readonly Address[]): void {
    void this.#askThoseWhoAnswer('forget', [addresses])
  }

  async close(withinMs: number): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.close(withinMs)))
  }

  #askAll<Name extends CallName>(
    name: Name,
    args: Parameters<Calls[Name]>,
  ): Promise<ReturnType<Calls[Name]> | undefined>[] {
    return this.#seats.map((seat) => seat.call(name, args, ANSWER_MS))
  }

  #askThoseWhoAnswer<Name extends CallName>(
    name: Name,
    args: Parameters<Calls[Name]>,
  ): Promise<(ReturnType<Calls[Name]> | undefined)[]> {
    const { log } = this.#options
    const answers = this.#askAll(name, args).map((answer) =>
      answer.catch((error: unknown) => {
        log.error({ err: error }, messageOf(error))
        return undefined
      }),
    )
    return Promise.all(answers)
  }
}
