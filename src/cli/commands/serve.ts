// `slotgate serve`: runs slotgate, or only looks at its config.
import { formatProblems, loadConfig } from '../../config/load.ts'
import type { ConfigProblem } from '../../config/reading.ts'
import { SlotgateError, toProblem } from '../../errors.ts'
import { answer, type Call, EXIT, setting } from '../call.ts'
import type { Command } from './command.ts'

const DEFAULT_CONFIG = 'proxy.config.yaml'

export const serve: Command = {
  operands: [],
  flags: ['config', 'check'],
  about: 'run slotgate',
  async run(call) {
    const file = setting(call, 'config') ?? DEFAULT_CONFIG
    return call.flags.check === true ? check(call, file) : call.serve(file)
  },
}

function check(call: Call, file: string): number {
  const problems = problemsOf(call, file)
  answer(call, { file, problems }, () =>
    problems.length === 0 ? `${file} has no problems.` : formatProblems(problems, file),
  )
  return problems.length === 0 ? EXIT.done : EXIT.usage
}

function problemsOf({ env }: Call, file: string): ConfigProblem[] {
  try {
    loadConfig(file, env)
    return []
  } catch (error) {
    if (error instanceof SlotgateError && error.code === 'config_invalid') return problemsIn(error)
    throw error
  }
}

const problemsIn = ({ facts }: SlotgateError): ConfigProblem[] => facts.problems as ConfigProblem[]

/** Why slotgate did not start, for whoever started it. */
export function printStartFailure(call: Call, error: SlotgateError): number {
  const { hint } = toProblem(error)
  call.stderr.write(`${[error.message, hint].filter(Boolean).join('\n  ')}\n`)
  if (error.code === 'config_invalid') {
    call.stderr.write(`${formatProblems(problemsIn(error), String(error.facts.file))}\n`)
  }
  return error.code.startsWith('config_') ? EXIT.usage : EXIT.failed
}
