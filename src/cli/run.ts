// The command line from end to end: words in, exit code out. Nothing here ends the process or reads it.
import { readFileSync } from 'node:fs'
import { SlotgateError } from '../errors.ts'
import { type Parsed, parseCommandLine } from './args.ts'
import {
  type Call,
  type Deps,
  EXIT,
  exitCodeOf,
  Failure,
  ProblemAnswer,
  readable,
  wantsJson,
} from './call.ts'
import { printStartFailure } from './commands/serve.ts'
import { printProblem } from './print/verdict.ts'
import { styleFor } from './style.ts'
import { usage, usageOf } from './usage.ts'

/**
 * Runs one command.
 *
 * @param argv what follows the program's name
 * @returns the exit code (DESIGN §8a); every failure that has a sentence has been printed
 * @throws what has no sentence: a bug
 */
export async function runCli(argv: readonly string[], deps: Deps): Promise<number> {
  const call: Call = { ...deps, operands: [], flags: { json: argv.includes('--json') } }
  try {
    return await dispatch(parseCommandLine(argv), deps)
  } catch (error) {
    return explain(call, error)
  }
}

async function dispatch({ command, operands, flags }: Parsed, deps: Deps): Promise<number> {
  if (command && flags.help !== true) return command.run.run({ ...deps, operands, flags })
  if (command) return say(deps.stdout, usageOf(command.name, command.run))
  if (flags.version === true) return say(deps.stdout, version())
  if (flags.help === true) return say(deps.stdout, usage())
  say(deps.stderr, usage())
  return EXIT.usage
}

function say(sink: Deps['stdout'], text: string): number {
  sink.write(`${text}\n`)
  return EXIT.done
}

function version(): string {
  // The same two folders up from src/cli and from dist/cli.
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

async function explain(call: Call, error: unknown): Promise<number> {
  if (error instanceof ProblemAnswer) return explainProblem(call, error)
  if (error instanceof SlotgateError) return printStartFailure(call, error)
  if (!(error instanceof Failure)) throw error
  call.stderr.write(`${[error.message, ...error.help.map((line) => `  ${line}`)].join('\n')}\n`)
  return error.exitCode
}

function explainProblem(call: Call, { problem }: ProblemAnswer): number {
  if (wantsJson(call)) call.stdout.write(`${JSON.stringify(problem)}\n`)
  else call.stderr.write(`${printProblem(readable(problem), styleFor(call.stderr, call.env))}\n`)
  return exitCodeOf(problem)
}
