// What happens, told to whoever reads along: each record of the journal once it is on the disk, and between them what is
// too small for the journal. A reader first gets the records it has missed, and then what comes, all in its order.
import type { Journal } from '../journal/file.ts'
import type { EventsQuery, FeedEvent, Followed, StepEvent } from './types.ts'

/** What waits for one reader may cost so much memory, in bytes as counted below. */
const MOST_WAITING = 4 * 1024 * 1024
/** Beside its line; records are in the memory of the journal anyway. */
const EVENT_COSTS = 100

const costOf = (event: FeedEvent): number => EVENT_COSTS + (event.kind === 'output' ? event.line.length : 0)

export class Feed {
  readonly #journal: Journal
  readonly #readers = new Set<Reader>()

  constructor(journal: Journal) {
    this.#journal = journal
    journal.follow((record) => this.tell({ kind: 'record', record }))
  }

  /** Waits for nobody, and never throws. */
  tell(event: FeedEvent): void {
    for (const reader of this.#readers) reader.take(event)
  }

  /** Whether anybody wants to be told of this. */
  isRead(kind: Followed): boolean {
    return [...this.#readers].some((reader) => reader.kinds.includes(kind))
  }

  /**
   * @param underWay the operations that are under way when the reader has caught up
   * @returns the events, as many at a time as wait, until the reading is ended
   */
  async *read(query: EventsQuery, underWay: () => StepEvent[]): AsyncGenerator<readonly FeedEvent[]> {
    const journal = this.#journal
    const reader = new Reader(query, journal.seq)
    for await (const record of journal.after(reader.position)) {
      reader.take({ kind: 'record', record })
      yield* reader.waiting()
      if (reader.isOver) return
    }
    this.#readers.add(reader)
    try {
      // Without a pause from here to the first wait, so that nothing comes between the journal and what is told.
      for (const record of journal.records) reader.take({ kind: 'record', record })
      reader.take({ kind: 'live', seq: reader.position })
      for (const step of underWay()) reader.take(step)
      while (!reader.isOver) {
        yield* reader.waiting()
        await reader.woken()
      }
    } finally {
      this.#readers.delete(reader)
    }
  }
}

/** One who reads along: what it wants, how far it is, and what waits for it. */
class Reader {
  readonly #query: EventsQuery
  #position: number
  #waiting: FeedEvent[] = []
  #cost = 0
  #wake = () => {}

  /** @param newest the last record there is */
  constructor(query: EventsQuery, newest: number) {
    const { kinds, ending } = query
    const { since = newest } = kinds.includes('record') ? query : {}
    this.#query = query
    this.#position = Math.min(since, newest)
    // It has read another journal than this one.
    if (since > newest) this.#add({ kind: 'gap', after: since, next: newest + 1 })
    ending.signal.addEventListener('abort', () => this.#end(), { once: true })
  }

  get kinds(): readonly Followed[] {
    return this.#query.kinds
  }

  /** The last record that it has, or did not want. */
  get position(): number {
    return this.#position
  }

  get isOver(): boolean {
    return this.#query.ending.signal.aborted
  }

  take(event: FeedEvent): void {
    if (event.kind === 'record') {
      const { seq } = event.record
      if (seq <= this.#position) return
      if (seq > this.#position + 1) this.#add({ kind: 'gap', after: this.#position, next: seq })
      this.#position = seq
    }
    if (this.#wants(event)) this.#add(event)
  }

  /** Hands out everything that waits, at once. */
  *waiting(): Generator<readonly FeedEvent[]> {
    const events = this.#waiting
    this.#waiting = []
    this.#cost = 0
    if (events.length > 0) yield events
  }

  /** Resolves when something waits, or it is over. */
  async woken(): Promise<void> {
    if (this.#waiting.length > 0 || this.isOver) return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }

  #wants(event: FeedEvent): boolean {
    if (event.kind === 'live' || event.kind === 'gap') return true
    const { kinds, service } = this.#query
    const whose = event.kind === 'record' ? event.record.service : event.service
    return kinds.includes(event.kind) && (service === undefined || whose === service)
  }

  #add(event: FeedEvent): void {
    this.#cost += costOf(event)
    if (this.#cost > MOST_WAITING) this.#query.ending.abort()
    if (this.isOver) return
    this.#waiting.push(event)
    this.#wake()
  }

  #end(): void {
    this.#waiting = []
    this.#wake()
  }
}
