// The keys that calls are verified with: those of the config, and short-lived ones that may only read, which the holder of
// one of them has lent out, to a page in a browser say. Lent keys are in memory alone: a restart takes them back.
import { randomBytes } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { AdminKey } from '../config/types.ts'
import { type VerificationKey, verificationKey } from './signature.ts'

export const LENT_FOR_MS = 60 * 60 * 1000
/** Beyond that the oldest are taken back. */
const LENT_AT_ONCE = 64

/** What a key may do, and until when. */
export interface KeyView {
  id: string
  algorithm: VerificationKey['algorithm']
  allow: AdminKey['allow']
  /** ISO time; null: as long as it is in the config. */
  until: string | null
}

interface LentKey extends VerificationKey {
  lender: string
  untilMs: number
}

export class Keyring {
  readonly #now: () => number
  #entries: ReadonlyMap<string, AdminKey> = new Map()
  #configured: ReadonlyMap<string, VerificationKey> = new Map()
  readonly #lent = new Map<string, LentKey>()

  /** @param now milliseconds since the epoch */
  constructor(entries: readonly AdminKey[], now: () => number) {
    this.#now = now
    this.replace(entries)
  }

  get(id: string): VerificationKey | undefined {
    return this.#configured.get(id) ?? this.#lentOf(id)
  }

  /**
   * Takes the keys of a changed config; what was lent goes with the key that lent it, unless that stays as it is.
   *
   * @returns whether a key that there was stays as it is
   */
  replace(entries: readonly AdminKey[]): (id: string) => boolean {
    const before = this.#entries
    const after = new Map(entries.map((entry) => [entry.id, entry]))
    const stays = (id: string) => after.has(id) && isDeepStrictEqual(after.get(id), before.get(id))
    this.#entries = after
    this.#configured = new Map(entries.map((entry) => [entry.id, verificationKey(entry)]))
    for (const [id, { lender }] of this.#lent) if (!stays(lender)) this.#lent.delete(id)
    return (id) => stays(id) || this.#lent.has(id)
  }

  /**
   * Lends a key out. Who lends a lent key gives it away: the new one is for no longer, and the old one is gone.
   *
   * @param by the id of the key that signed for it
   * @param material the new public key, checked: Ed25519, 32 bytes
   */
  lend(by: string, material: Uint8Array): KeyView {
    const { lender = by, untilMs = this.#now() + LENT_FOR_MS } = this.#lentOf(by) ?? {}
    this.#lent.delete(by)
    // No id in a config has a tilde; what this key does is told with the name of the one that answers for it.
    const id = `${lender}~${randomBytes(9).toString('base64url')}`
    const key = verificationKey({ id, algorithm: 'ed25519', material, allow: ['read'] })
    this.#lent.set(id, { ...key, lender, untilMs })
    const [oldest] = this.#lent.keys()
    if (oldest !== undefined && this.#lent.size > LENT_AT_ONCE) this.#lent.delete(oldest)
    return this.view(id)
  }

  /** @param id of a key that has just signed */
  view(id: string): KeyView {
    const { algorithm, allow } = this.get(id) ?? fail(id)
    const lent = this.#lentOf(id)
    return { id, algorithm, allow, until: lent ? new Date(lent.untilMs).toISOString() : null }
  }

  #lentOf(id: string): LentKey | undefined {
    const lent = this.#lent.get(id)
    if (!lent || lent.untilMs > this.#now()) return lent
    this.#lent.delete(id)
    return undefined
  }
}

function fail(id: string): never {
  throw new Error(`key ${id} went away while it was used`)
}
