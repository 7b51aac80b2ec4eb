// `slotgate lint`: looks at the migrations of a branch before they are merged.
import { answer, EXIT, Failure, setting } from '../call.ts'
import { lint as lintFolder } from '../lint/lint.ts'
import { printLint } from '../print/lint.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'

export const lint: Command = {
  operands: [],
  flags: ['migrations', 'base', 'staged', 'write-sums'],
  about: 'look at the migrations of this branch before they are merged, without reading SQL',
  async run(call) {
    const staged = call.flags.staged === true
    const writeSums = call.flags['write-sums'] === true
    if (staged && writeSums) {
      throw new Failure(EXIT.usage, 'SUMS is written from the work tree: --write-sums goes without --staged.')
    }
    const result = await lintFolder({
      migrations: setting(call, 'migrations'),
      base: setting(call, 'base'),
      staged,
      writeSums,
      env: call.env,
    })
    answer(call, result, () => printLint(result, styleFor(call.stdout, call.env), staged))
    return result.ok ? EXIT.done : EXIT.failed
  },
}
