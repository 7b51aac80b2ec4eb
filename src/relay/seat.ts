// One worker's place: its number, its claim cells, and the threads that sit there one after the other. Main thread.
import type { ListenAddress } from '../config/types.ts'
import { messageOf, reason } from '../errors.ts'
import type { LineSink, Logger } from '../log.ts'
import type { Table } from '../slots/table.ts'
import type { Birth, CallName, Calls, Told } from './messages.ts'
import type { Meter } from './meter.ts'
import { Thread } from './thread.ts'

/** Opening a port takes no time; a thread that does not get there is replaced. */
const OPEN_MS = 10_000
/** How long after its own time a door may take to close: exchanges that were cut have to end. */
const CLOSE_MS = 3_000
/** The first replacement comes at once; those after it wait, each twice as long as the one before. */
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 5_000
/** After this long without a death, the next replacement comes at once again. */
const STEADY_MS = 60_000

export interface SeatOptions {
  worker: number
  relay: Birth['relay']
  services: Birth['services']
  passSecret: Birth['passSecret']
  table: Table
  meter: Meter
  /** How things are now. */
  told(): Told
  log: Logger
  /** Takes what spans are made of. */
  spans?: LineSink | null
}

/** A thread that is not told to make spans has none. */
const NOWHERE: LineSink = { write: () => {} }

/** Lives as long as the relay. */
export class Seat {
  readonly #options: SeatOptions
  #thread: Thread | null = null
  /** Whether the thread was told how things are: from then on it is told what changes. */
  #isOpen = false
  /** Where it listens; until it did for the first time, nobody is replaced. */
  #at: { address: ListenAddress; reusePort: boolean } | null = null
  #deaths = 0
  #startedMs = 0
  #timer: NodeJS.Timeout | undefined
  #closing = false

  constructor(options: SeatOptions) {
    this.#options = options
  }

  /** Starts a thread. It rejects if the thread ended before it could be opened. */
  async start(): Promise<void> {
    const { worker, relay, services, passSecret, table, meter, log, spans } = this.#options
    const { buffer, layout } = table
    const shared = { buffer, layout, cells: meter.buffer }
    const birth = { worker, relay, services, passSecret, ...shared, logLevel: log.level }
    const thread = new Thread(birth, { log: log.lines, spans: spans ?? NOWHERE })
    this.#thread = thread
    this.#startedMs = performance.now()
    void thread.exited.then((how) => this.#onExit(how))
    await thread.ready
  }

  /**
   * Tells the thread how things are and lets it listen. From then on, whoever dies in this seat is replaced.
   *
   * @throws SlotgateError port_in_use or listen_failed; Error if it ended meanwhile
   */
  async open(at: ListenAddress, reusePort: boolean): Promise<ListenAddress> {
    this.#isOpen = true
    const address = await this.call('open', [at, { reusePort }, this.#options.told()], OPEN_MS)
    if (!address)
      throw new Error(`thread ${this.#options.worker} of the front door ended while it was opened`)
    this.#at = { address, reusePort }
    return address
  }

  /** Has its thread do something; undefined if nobody listens here, or it ended before it answered. */
  async call<Name extends CallName>(
    name: Name,
    args: Parameters<Calls[Name]>,
    withinMs: number,
  ): Promise<ReturnType<Calls[Name]> | undefined> {
    return this.#isOpen ? this.#thread?.call(name, args, withinMs) : undefined
  }

  /** Closes its door, then ends its thread, whether or not the door was closed in time. */
  async close(withinMs: number): Promise<void> {
    this.#closing = true
    clearTimeout(this.#timer)
    const thread = this.#thread
    await this.call('close', [withinMs], withinMs + CLOSE_MS).catch((error: unknown) =>
      this.#options.log.error({ err: error, worker: this.#options.worker }, messageOf(error)),
    )
    await thread?.end('slotgate stopped')
    await thread?.exited
  }

  /** Its connections are closed and it counts no more: only now may its claims be given back. */
  #onExit(how: string): void {
    const { worker, table, meter, log } = this.#options
    this.#thread = null
    this.#isOpen = false
    table.forgetWorker(worker)
    if (this.#closing || !this.#at) return
    meter.died(worker)
    const delay_ms = this.#nextDelayMs()
    const alarm = reason('worker_died', { worker, detail: how, delay_ms })
    log.error({ worker, delay_ms, code: alarm.code }, alarm.sentence)
    this.#timer = setTimeout(() => void this.#replace(), delay_ms)
  }

  #nextDelayMs(): number {
    if (performance.now() - this.#startedMs > STEADY_MS) this.#deaths = 0
    const deaths = this.#deaths++
    return deaths === 0 ? 0 : Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (deaths - 1))
  }

  async #replace(): Promise<void> {
    const { worker, log } = this.#options
    try {
      await this.start()
      if (this.#closing || !this.#at) return
      await this.open(this.#at.address, this.#at.reusePort)
      log.info({ worker }, 'a thread of the front door was replaced')
    } catch (error) {
      // Its end brings the next one.
      await this.#thread?.end(messageOf(error))
    }
  }
}
