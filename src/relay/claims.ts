// The open exchanges of this thread and their claims: who closes the door is told when the last one ends.
import type { ClaimKind, Table } from '../slots/table.ts'
import type { Exchange } from './exchange.ts'

const isOf = (
  exchange: Exchange,
  service: number,
  generations: readonly number[],
  kind: ClaimKind,
): boolean => {
  const { claim } = exchange.known
  return claim?.service === service && claim.kind === kind && generations.includes(claim.generation)
}

/** Lives as long as the door. */
export class Claims {
  readonly #table: Table
  readonly #worker: number
  readonly #open = new Set<Exchange>()
  readonly #waiting = new Set<() => void>()

  /** @param worker whose cells of the table are this thread's */
  constructor(table: Table, worker: number) {
    this.#table = table
    this.#worker = worker
  }

  get open(): ReadonlySet<Exchange> {
    return this.#open
  }

  begin(exchange: Exchange): void {
    this.#open.add(exchange)
  }

  /** @returns whether something is live; if so, the exchange is counted into its slot until `end` */
  claim(exchange: Exchange, service: number): boolean {
    const claim = this.#table.claim(service, this.#worker)
    if (claim) exchange.known.claim = claim
    return claim !== null
  }

  toTunnel({ known }: Exchange): void {
    if (known.claim) this.#table.toTunnel(known.claim, this.#worker)
  }

  /** The only place where a claim is given back: once, because an exchange leaves the set once. */
  end(exchange: Exchange): void {
    if (!this.#open.delete(exchange)) return
    if (exchange.known.claim) this.#table.release(exchange.known.claim, this.#worker)
    if (this.#open.size > 0) return
    for (const tell of this.#waiting) tell()
  }

  /** Abandons the open exchanges of these generations; returns how many. */
  cut(service: number, generations: readonly number[], kind: ClaimKind): number {
    const cut = [...this.#open].filter((exchange) => isOf(exchange, service, generations, kind))
    for (const exchange of cut) {
      // One that waits for its answer gets a page that says so; one that is being answered can only be cut.
      exchange.abandon(exchange.response.headersSent || kind === 'tunnels' ? 'drain_cut' : 'upstream_timeout')
    }
    return cut.length
  }

  /** Resolves when no exchange is open, or when the signal calls the waiting off. */
  whenEmpty(signal: AbortSignal): Promise<void> {
    if (this.#open.size === 0 || signal.aborted) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.add(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    return promise.finally(() => this.#waiting.delete(resolve))
  }
}
