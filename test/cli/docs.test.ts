// Whether docs/cli.md and the tables of commands and flags say the same, both ways.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { EXIT } from '../../src/cli/call.ts'
import { COMMANDS } from '../../src/cli/commands/all.ts'
import { FLAGS, type Flag } from '../../src/cli/flags.ts'
import { signature } from '../../src/cli/usage.ts'

const docs = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8')
const rows = (heading: string): string[] => {
  const [, section = ''] = docs.split(`## ${heading}\n`)
  return (
    section
      .split(/^## /m, 1)[0]
      ?.split('\n')
      .filter((line) => line.startsWith('| `')) ?? []
  )
}
const code = (text: string): string => `\`${text}\``

t.test('every command is in the docs with its flags, and no other', async (t) => {
  const expected = Object.entries(COMMANDS).map(([name, command]) => {
    const { flags, about } = command
    const own = flags.filter((flag) => !['admin', 'key', 'key-id', 'service', 'ca'].includes(flag))
    const shown = own.map((flag) => code(`--${flag}`)).join(' ')
    return `| ${code(signature(name, command).replace('|', '\\|'))} | ${about} | ${shown} |`
  })
  t.strictSame(rows('Commands'), expected)
})

t.test('every flag is in the docs as the code has it, and no other', async (t) => {
  const expected = Object.entries<Flag>(FLAGS).map(([name, { value, env, about }]) => {
    const shown = value === undefined ? `--${name}` : `--${name} ${value}`
    return `| ${code(shown)} | ${env ? code(env) : ''} | ${about} |`
  })
  t.strictSame(rows('Flags'), expected)
})

t.test('every exit code is in the docs', async (t) => {
  t.strictSame(
    rows('Exit codes').map((row) => Number(/^\| `(\d)`/.exec(row)?.[1])),
    Object.values(EXIT),
  )
})
