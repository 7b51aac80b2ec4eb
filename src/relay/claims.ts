// The open exchanges of this thread and their claims: who waits for a drain is told when the last one ends.
import type { ClaimKind, Table } from '../slots/table.ts'
import type { Exchange } from './exchange.ts'

/** All exchanges run in the main thread, which is worker 0 of the table. */
const WORKER = 0

const isOf = (
  exchange: Exchange,
  service: number,
  generations: readonly number[],
  kind: ClaimKind,
): boolean => {
  const { claim } = exchange.known
  return claim?.service === service && claim.kind === kind && generations.includes(claim.generation)
}

/** Lives as long as the relay. */
export class Claims {
  readonly #table: Table
  readonly #open = new Set<Exchange>()
  readonly #waiting = new Set<() => void>()

  constructor(table: Table) {
    this.#table = table
  }

  get open(): ReadonlySet<Exchange> {
    return this.#open
  }

  begin(exchange: Exchange): void {
    this.#open.add(exchange)
  }

  /** @returns whether something is live; if so, the exchange is counted into its slot until `end` */
  claim(exchange: Exchange, service: number): boolean {
    const claim = this.#table.claim(service, WORKER)
    if (claim) exchange.known.claim = claim
    return claim !== null
  }

  toTunnel({ known }: Exchange): void {
    if (known.claim) this.#table.toTunnel(known.claim, WORKER)
    this.#tell()
  }

  /** The only place where a claim is given back: once, because an exchange leaves the set once. */
  end(exchange: Exchange): void {
    if (!this.#open.delete(exchange)) return
    if (exchange.known.claim) this.#table.release(exchange.known.claim, WORKER)
    this.#tell()
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

  whenDrained(
    service: number,
    generations: readonly number[],
    kind: ClaimKind,
    signal: AbortSignal,
  ): Promise<void> {
    const drained = () => generations.every((one) => this.#table.claims(service, one)[kind] === 0)
    return this.#until(drained, signal)
  }

  whenEmpty(signal: AbortSignal): Promise<void> {
    return this.#until(() => this.#open.size === 0, signal)
  }

  #until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    if (isSo() || signal.aborted) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    const look = () => {
      if (!isSo() && !signal.aborted) return
      this.#waiting.delete(look)
      signal.removeEventListener('abort', look)
      resolve()
    }
    this.#waiting.add(look)
    signal.addEventListener('abort', look)
    return promise
  }

  #tell(): void {
    for (const look of this.#waiting) look()
  }
}
