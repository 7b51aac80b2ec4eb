// What a command is: its operands, its flags, what it is for, and what it does.
import type { Call } from '../call.ts'
import type { FlagName } from '../flags.ts'

export interface Command {
  /** As shown in the usage: `RELEASE`, or a choice such as `promote|rollback`. */
  operands: readonly string[]
  /** What any number of words behind `--` are, as shown in the usage; absent: there are none. */
  rest?: string
  flags: readonly FlagName[]
  about: string
  /** @returns the exit code */
  run(call: Call): Promise<number>
}
