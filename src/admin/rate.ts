// Bounds how many calls one remote address may make, before any of them costs a signature check.

/** Calls per second and address; a CLI that polls needs a few, one core verifies about 3000. */
const PER_SECOND = 100
/** Addresses remembered at once. Beyond that the oldest are forgotten, which only gives them a full bucket again. */
const ADDRESSES = 10_000

interface Bucket {
  tokens: number
  atMs: number
}

/** One bucket of tokens per remote address, refilled steadily. */
export class RateLimit {
  readonly #buckets = new Map<string, Bucket>()

  /** @returns false if the address has used up what it may do right now */
  take(address: string, nowMs: number): boolean {
    const { tokens, atMs } = this.#buckets.get(address) ?? { tokens: PER_SECOND, atMs: nowMs }
    const refilled = Math.min(PER_SECOND, tokens + (Math.max(0, nowMs - atMs) / 1000) * PER_SECOND)
    const allowed = refilled >= 1
    this.#buckets.delete(address)
    this.#buckets.set(address, { tokens: allowed ? refilled - 1 : refilled, atMs: nowMs })
    this.#forgetOldest()
    return allowed
  }

  #forgetOldest(): void {
    if (this.#buckets.size <= ADDRESSES) return
    for (const address of this.#buckets.keys()) {
      this.#buckets.delete(address)
      return
    }
  }
}
