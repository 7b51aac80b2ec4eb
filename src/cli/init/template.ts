// The config that `slotgate init` writes: short enough to be read, with what is likely to be changed as comments.
import type { Action } from '../../config/types.ts'

export interface Wanted {
  service: string
  setup: readonly string[] | null
  command: readonly string[]
  /** Whether the command is only a guess that somebody has to correct. */
  isGuess: boolean
  key: { id: string; publicKey: string; allow: readonly Action[] }
  /** Whether there is a file of variables already. */
  envFile: string | null
}

/** A word of YAML: bare where it is nothing else, else in quotes; `${` would be read as a variable. */
const word = (text: string): string => {
  const escaped = text.replaceAll('${', '$${')
  return /^[A-Za-z0-9_./-][\w./:@=-]*$/.test(escaped) ? escaped : JSON.stringify(escaped)
}

const list = (words: readonly string[]): string => `[${words.map(word).join(', ')}]`

/** A line of the config, with what it is for behind it. */
const line = (text: string, about: string): string => `${text.padEnd(46)} # ${about}`

export function configText({ service, setup, command, isGuess, key, envFile }: Wanted): string {
  const variables = `env_file: ${word(envFile ?? '.env')}`
  return [
    '# The config of slotgate. Every key, its default and what it is for: docs/config.md of slotgate.',
    '# slotgate serve --check reads this file and names every problem.',
    line('listen: 127.0.0.1:8080', 'the front door: what the world talks to'),
    '',
    'admin:',
    line('  listen: 127.0.0.1:8081', 'where the CLI talks to; every call is signed'),
    '  keys:',
    `    - { id: ${key.id}, algorithm: ed25519, public_key: "${key.publicKey}", allow: ${list(key.allow)} }`,
    '',
    line('state_dir: .slotgate', 'journal, checkouts and shared folders; not for git'),
    '',
    'services:',
    `  ${service}:`,
    line('    # hosts: [shop.example.com]', 'without: any host'),
    '    releases:',
    line('      driver: git', 'a release is a commit: slotgate deploy main'),
    line('      repo: .', 'it is checked out beside those that run'),
    ...(setup === null
      ? [line('      # setup: [make]', 'runs once in each checkout')]
      : [line(`      setup: ${list(setup)}`, 'runs once in each checkout')]),
    line(`      command: ${list(command)}`, isGuess ? 'A GUESS: how is the app started?' : 'starts the app'),
    line('      keep: 5', 'so many checkouts stay, and those that are needed'),
    line('      # shared: [data, uploads]', 'folders that all releases share'),
    line(`      ${envFile === null ? '# ' : ''}${variables}`, 'secrets, as lines of NAME=value; never shown'),
    line('    health: { path: /healthz, within: 30s }', 'on the internal port: 200 when the app is ready'),
    line('    schema: { path: /schema/status }', 'on the internal port; off: an app without a database'),
    line('    drain: { within: 30s, tunnels_within: 5m }', 'open requests may end after a switch'),
    line('    previous: keep', 'the former release stays up: the quickest way back'),
    '',
  ].join('\n')
}
