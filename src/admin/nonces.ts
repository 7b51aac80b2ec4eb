// Remembers which nonces were used, so that a captured call cannot be made again.

export type Remembered = 'new' | 'seen' | 'full' | 'forgotten'

/**
 * Holds each (key id, nonce) until its signature could no longer be accepted. Bounded: when it is full of nonces that
 * still count, new calls are refused rather than old nonces dropped.
 */
export class NonceStore {
  readonly #until = new Map<string, number>()
  readonly #limit: number
  /**
   * Nonces whose time ended before this moment may be gone. Should the clock step back, their signatures would look
   * fresh again; they stay refused because of this mark.
   */
  #forgottenBefore = Number.NEGATIVE_INFINITY

  constructor(limit = 100_000) {
    this.#limit = limit
  }

  /**
   * @param until the last second at which the signature is accepted
   * @param now the present second
   * @returns `new` if this very call may go on; only one caller ever gets that for a nonce
   */
  remember(keyId: string, nonce: string, until: number, now: number): Remembered {
    const id = JSON.stringify([keyId, nonce])
    if (this.#until.has(id)) return 'seen'
    if (until < this.#forgottenBefore) return 'forgotten'
    if (this.#until.size >= this.#limit) this.#forgetBefore(now)
    if (this.#until.size >= this.#limit) return 'full'
    this.#until.set(id, until)
    return 'new'
  }

  #forgetBefore(now: number): void {
    this.#forgottenBefore = Math.max(this.#forgottenBefore, now)
    for (const [id, until] of this.#until) if (until < now) this.#until.delete(id)
  }
}
