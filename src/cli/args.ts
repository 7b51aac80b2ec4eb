// From the words of a command line to a command, its operands and its flags, or to a sentence about what does not fit.
import { parseArgs } from 'node:util'
import { nearest } from '../config/nearest.ts'
import { messageOf } from '../errors.ts'
import { type Call, EXIT, Failure } from './call.ts'
import { COMMANDS } from './commands/all.ts'
import type { Command } from './commands/command.ts'
import { COMMON, FLAGS, type Flag } from './flags.ts'

type Flags = Call['flags']

export interface Parsed {
  /** Undefined where there is no command: then `flags` says whether help or the version is wanted. */
  command?: { name: string; run: Command }
  operands: string[]
  flags: Flags
}

const OPTIONS = Object.fromEntries(
  Object.entries<Flag>(FLAGS).map(([name, { value }]) => [
    name,
    { type: value === undefined ? ('boolean' as const) : ('string' as const) },
  ]),
)

/** Words behind it are no flags of slotgate's. */
const END_OF_FLAGS = '--'

const wrong = (message: string, help = 'slotgate --help lists the commands.'): Failure =>
  new Failure(EXIT.usage, message, [help])

/** @throws Failure with exit code 2 */
export function parseCommandLine(argv: readonly string[]): Parsed {
  const end = argv.includes(END_OF_FLAGS) ? argv.indexOf(END_OF_FLAGS) : argv.length
  const { words, flags } = split(argv.slice(0, end))
  const wantsHelp = flags.help === true || words[0] === 'help'
  const rest = words[0] === 'help' ? words.slice(1) : words
  if (rest.length === 0) return { operands: [], flags: wantsHelp ? { ...flags, help: true } : flags }
  const { name, run, operands } = commandOf(rest)
  if (wantsHelp) return { command: { name, run }, operands: [], flags: { help: true } }
  const all = [...operands, ...argv.slice(end + 1)]
  checkFlags(name, run, flags)
  checkOperands(name, run, all)
  return { command: { name, run }, operands: all, flags }
}

function split(argv: readonly string[]): { words: string[]; flags: Flags } {
  const args = argv.map((word) => (word === '-h' ? '--help' : word))
  const { tokens } = parseArgs({ args, options: OPTIONS, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'option' && !(token.name in OPTIONS)) throw unknownFlag(token.rawName, token.name)
  }
  try {
    const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true })
    return { words: positionals, flags: values as Flags }
  } catch (error) {
    // Node's first sentence says which flag and what is wrong with it; the others explain its own conventions.
    throw wrong(`${messageOf(error).split(/[.\n]/, 1)[0]}.`)
  }
}

function unknownFlag(raw: string, name: string): Failure {
  const guess = nearest(name, Object.keys(FLAGS))
  return wrong(`There is no flag ${raw}.`, guess && `Did you mean --${guess}?`)
}

function commandOf(words: readonly string[]): { name: string; run: Command; operands: string[] } {
  for (const [name, run] of Object.entries(COMMANDS)) {
    const length = name.split(' ').length
    if (words.slice(0, length).join(' ') === name) return { name, run, operands: words.slice(length) }
  }
  const guess = nearest(words.join(' '), Object.keys(COMMANDS)) ?? byFirstWord(words[0] ?? '')
  throw wrong(`There is no command ${words[0]}.`, guess && `Did you mean slotgate ${guess}?`)
}

function byFirstWord(word: string): string | undefined {
  const names = Object.keys(COMMANDS)
  const firstOf = (name: string) => name.split(' ', 1)[0] ?? name
  const guess = nearest(word, names.map(firstOf))
  return names.find((name) => firstOf(name) === guess)
}

function checkFlags(name: string, { flags: taken }: Command, flags: Flags): void {
  const known: readonly string[] = [...taken, ...COMMON]
  const foreign = Object.keys(flags).find((flag) => !known.includes(flag))
  if (foreign)
    throw wrong(`slotgate ${name} takes no --${foreign}.`, `slotgate ${name} --help lists its flags.`)
}

function checkOperands(
  name: string,
  { operands: expected, rest }: Command,
  operands: readonly string[],
): void {
  const missing = expected[operands.length]
  if (missing !== undefined) throw wrong(`slotgate ${name} needs ${missing}.`, `slotgate ${name} --help`)
  const extra = rest === undefined ? operands[expected.length] : undefined
  if (extra !== undefined) throw wrong(`slotgate ${name} does not take ${extra}.`, `slotgate ${name} --help`)
  for (const [index, choice] of expected.entries()) {
    const given = operands[index] ?? ''
    if (choice.includes('|') && !choice.split('|').includes(given)) {
      throw wrong(
        `slotgate ${name} takes ${choice.replace('|', ' or ')}, not ${given}.`,
        `slotgate ${name} --help`,
      )
    }
  }
}
