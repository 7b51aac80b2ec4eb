// A refusal at the admin door: what the caller is told, and apart from it the reason that only the log gets.
import { type Code, type Facts, messageOf, SlotgateError } from '../errors.ts'

export class Refusal extends SlotgateError {
  /** Why, for the log. The caller must not learn whether the key, the clock or the signature was wrong. */
  readonly inner: string

  constructor(code: Code, facts: Facts, inner?: string) {
    super(code, facts)
    this.name = 'Refusal'
    this.inner = inner ?? this.message
  }
}

/** What a thrown thing tells the log; a Refusal knows more than it tells the caller. */
export const innerReason = (error: unknown): string =>
  error instanceof Refusal ? error.inner : messageOf(error)
