// `slotgate serve`: runs slotgate, or only looks at its config.
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

/** Reading YAML takes longer to load than most commands take; only who reads a config loads it. */
const loading = () => import('../../config/load.ts')

async function check(call: Call, file: string): Promise<number> {
  const problems = await problemsOf(call, file)
  const { formatProblems } = await loading()
  answer(call, { file, problems }, () =>
    problems.length === 0 ? `${file} has no problems.` : formatProblems(problems, file),
  )
  return problems.length === 0 ? EXIT.done : EXIT.usage
}

async function problemsOf({ env }: Call, file: string): Promise<ConfigProblem[]> {
  const { loadConfig } = await loading()
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
export async function printStartFailure(call: Call, error: SlotgateError): Promise<number> {
  const { hint } = toProblem(error)
  call.stderr.write(`${[error.message, hint].filter(Boolean).join('\n  ')}\n`)
  if (error.code === 'config_invalid') {
    const { formatProblems } = await loading()
    call.stderr.write(`${formatProblems(problemsIn(error), String(error.facts.file))}\n`)
  }
  return error.code.startsWith('config_') ? EXIT.usage : EXIT.failed
}
