// What was found about one rule of the contract: whether it holds, what was got, and what would help.
import type { Code } from '../../errors.ts'

export interface Finding {
  /** Stable, for programs: the name of a field, or of a rule such as `health`. */
  rule: string
  /** Null where it could not be told from here. */
  holds: boolean | null
  sentence: string
  remedy?: string
  /** What the gate refuses or warns with because of it. */
  code?: Code
}

export const holds = (rule: string, sentence: string): Finding => ({ rule, holds: true, sentence })

export const broken = (rule: string, sentence: string, remedy: string, code?: Code): Finding => ({
  rule,
  holds: false,
  sentence,
  remedy,
  ...(code && { code }),
})

export const untold = (rule: string, sentence: string, remedy?: string, code?: Code): Finding => ({
  rule,
  holds: null,
  sentence,
  ...(remedy && { remedy }),
  ...(code && { code }),
})
