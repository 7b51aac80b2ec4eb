// How to use the command line, from the tables of commands and flags.
import { COMMANDS } from './commands/all.ts'
import type { Command } from './commands/command.ts'
import { COMMON, FLAGS, type Flag, type FlagName } from './flags.ts'
import { columns } from './style.ts'

const flagText = (name: FlagName): string => {
  const { value }: Flag = FLAGS[name]
  return value === undefined ? `--${name}` : `--${name} ${value}`
}

export const signature = (name: string, { operands, rest }: Command): string =>
  [name, ...operands, ...(rest === undefined ? [] : [`[-- ${rest}]`])].join(' ')

function flagRow(name: FlagName): string[] {
  const { about, env }: Flag = FLAGS[name]
  return [`  ${flagText(name)}`, env === undefined ? about : `${about}; ${env}`]
}

const EXIT_CODES =
  'Exit codes: 0 done, 1 failed, 2 usage or config, 3 refused by the gate, 4 conflict, 5 unreachable or not authorised.'

export function usage(): string {
  const commands = Object.entries(COMMANDS).map(([name, command]) => [
    `  slotgate ${signature(name, command)}`,
    command.about,
  ])
  return [
    'slotgate: a reverse proxy that only switches to code that fits the database schema as it is now.',
    '',
    ...columns(commands),
    '',
    'slotgate COMMAND --help tells its flags. --json prints the answer as JSON. slotgate --version prints the version.',
    EXIT_CODES,
  ].join('\n')
}

export const usageOf = (name: string, command: Command): string =>
  [
    `slotgate ${signature(name, command)}: ${command.about}`,
    '',
    ...columns([...command.flags, ...COMMON].map(flagRow)),
  ].join('\n')
