// The pause of a service: new requests wait in the front door, and what is open goes on. Somebody asks for it, for a while
// or until further notice; an exclusive switch has one of its own. Requests go on when there is neither any more.
import { messageOf } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import { type JournalEvent, type Paused, type ServiceState, stateOf } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane } from './data-plane.ts'
import type { PauseView } from './types.ts'

export interface PauseOptions {
  readonly index: number
  readonly name: string
  readonly table: Table
  readonly dataPlane: DataPlane
  readonly journal: Journal
  readonly log: Logger
  readonly closing: AbortSignal
}

/** Who ends it where nobody asked for that. */
const SLOTGATE = 'slotgate'

/** A pause is never cut short by another one. */
const later = (one: string | null, other: string | null): string | null =>
  one === null || other === null ? null : one > other ? one : other

export class Pause {
  readonly #options: PauseOptions
  /** What somebody asked for. */
  #asked: Paused | null = null
  /** That of the exclusive switch which is under way. */
  #exclusive: Paused | null = null
  #timer: NodeJS.Timeout | undefined
  /** One call after the other, or what is in force might not be what the journal has last. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: PauseOptions) {
    this.#options = options
    options.closing.addEventListener('abort', () => clearTimeout(this.#timer))
  }

  /** For the status; null: requests go on. */
  view(): PauseView | null {
    const { table, index } = this.#options
    const pause = this.#asked ?? this.#exclusive
    return pause && { ...pause, held: table.held(index) }
  }

  /**
   * Puts it where the journal left it. An exclusive switch ended with the slotgate that made it, and its pause with it.
   *
   * @throws SlotgateError `journal_write_failed`
   */
  async restore(): Promise<void> {
    const { paused, exclusive } = this.#recorded
    if (exclusive !== null) {
      const { log, name } = this.#options
      log.warn(
        { service: name, release: exclusive },
        `slotgate ended in the exclusive switch to ${exclusive}`,
      )
      await this.#write('resumed', SLOTGATE, { exclusive: true, release: exclusive })
    }
    this.#enforce(paused)
  }

  /**
   * Lets new requests wait. One more of these makes it longer, never shorter.
   *
   * @param forMs when it ends by itself, in milliseconds from now; null: never
   * @throws SlotgateError `journal_write_failed`: nothing changed
   */
  pause(actor: string, forMs: number | null): Promise<void> {
    return this.#inTurn(async () => {
      const wanted = forMs === null ? null : new Date(Date.now() + forMs).toISOString()
      const until = this.#asked ? later(this.#asked.until, wanted) : wanted
      if (this.#asked?.until === until) return
      await this.#write('paused', actor, { until })
      this.#enforce(this.#recorded.paused)
      const { log, name } = this.#options
      log.info({ service: name, actor, until }, 'new requests wait')
    })
  }

  /**
   * Lets requests go on, those that wait first. An exclusive switch that is under way still holds them until it has ended.
   *
   * @throws SlotgateError `journal_write_failed`: they go on, but the next start of slotgate would not know that
   */
  resume(actor: string): Promise<void> {
    return this.#inTurn(() => this.#end(actor))
  }

  /**
   * Runs a part of an exclusive switch while new requests wait.
   *
   * @throws SlotgateError `journal_write_failed`; what the work throws
   */
  async during<Result>(actor: string, release: string, work: () => Promise<Result>): Promise<Result> {
    const facts = { exclusive: true, release }
    await this.#write('paused', actor, { ...facts, until: null })
    this.#exclusive = { since: new Date().toISOString(), actor, until: null }
    this.#apply()
    try {
      return await work()
    } finally {
      this.#exclusive = null
      this.#apply()
      await this.#write('resumed', actor, facts).catch(this.#logged)
    }
  }

  async #end(actor: string): Promise<void> {
    if (this.#asked === null && this.#recorded.paused === null) return
    // Requests go on whatever the disk says: one that is full must not keep a site down.
    this.#enforce(null)
    const { log, name } = this.#options
    log.info({ service: name, actor }, 'requests go on')
    await this.#write('resumed', actor, {})
  }

  /** Makes it so, and sees to its end. */
  #enforce(paused: Paused | null): void {
    this.#asked = paused
    this.#apply()
    clearTimeout(this.#timer)
    if (paused === null || paused.until === null) return
    const isOver = () => this.#inTurn(async () => this.#asked === paused && this.#end(SLOTGATE))
    // Its end may have come while slotgate was away.
    const leftMs = Math.max(0, Date.parse(paused.until) - Date.now())
    this.#timer = setTimeout(() => void isOver().catch(this.#logged), leftMs)
    this.#timer.unref()
  }

  #apply(): void {
    const { table, index, dataPlane } = this.#options
    if (this.#asked ?? this.#exclusive) {
      table.pause(index)
      return
    }
    table.resume(index)
    dataPlane.letIn(index)
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  get #recorded(): ServiceState {
    const { journal, name } = this.#options
    return stateOf(journal.state, name)
  }

  async #write(event: 'paused' | 'resumed', actor: string, facts: Partial<JournalEvent>): Promise<void> {
    const { journal, name, table, index } = this.#options
    const { generation } = table.pointer(index)
    await journal.append({ ...facts, event, service: name, generation, actor })
  }

  readonly #logged = (error: unknown): void => {
    const { log, name } = this.#options
    log.error(
      { service: name, err: error },
      `the end of a pause could not be written down: ${messageOf(error)}`,
    )
  }
}
