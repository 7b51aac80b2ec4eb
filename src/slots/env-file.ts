// The secrets of a service: read from its `env_file` at each boot, given to the process, and kept out of what is shown.
import { readFile } from 'node:fs/promises'
import { parseEnv } from 'node:util'
import { messageOf, SlotgateError } from '../errors.ts'

export interface Secrets {
  variables: Readonly<Record<string, string>>
  /** Puts the name of a variable where a line of output has its value, as in `${DATABASE_URL}`. */
  mask(line: string): string
}

export const NO_SECRETS: Secrets = { variables: {}, mask: String }

const secretsOf = (variables: Secrets['variables']): Secrets => ({ variables, mask: maskOf(variables) })

/** Shorter values occur in ordinary words and numbers, and are no secret. */
const SHORTEST_SECRET = 6

/** @throws SlotgateError `env_file_unreadable`, which names the file */
export async function readSecrets(file: string | undefined, release: string): Promise<Secrets> {
  if (file === undefined) return NO_SECRETS
  try {
    // A mark at its beginning would be a part of the first name.
    const text = (await readFile(file, 'utf8')).replace(/^\ufeff/, '')
    // No environment can hold it, and the system's complaint would tell the value.
    if (text.includes('\0')) throw new Error('it has NUL characters in it, as UTF-16 has; save it as UTF-8')
    const variables = Object.fromEntries(
      Object.entries(parseEnv(text)).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    )
    return secretsOf(variables)
  } catch (error) {
    throw new SlotgateError('env_file_unreadable', { file, release, detail: messageOf(error) })
  }
}

/**
 * What hides the secrets that a process was given when it booted, and those of its `env_file` as it is now: that may be
 * another one since, or gone, which is told at the next boot.
 *
 * @param names of the variables that came from the file then
 * @param environment which the process was booted with
 */
export async function maskFor(
  file: string | undefined,
  release: string,
  names: readonly string[],
  environment: ReadonlyMap<string, string>,
): Promise<Secrets['mask']> {
  const now = await readSecrets(file, release).catch(() => NO_SECRETS)
  const then = secretsOf(Object.fromEntries(names.map((name) => [name, environment.get(name) ?? ''])))
  return (line) => now.mask(then.mask(line))
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

function maskOf(variables: Secrets['variables']): Secrets['mask'] {
  // Output is masked line by line, and so is a value of several lines.
  const names = new Map(
    Object.entries(variables).flatMap(([name, value]) =>
      value
        .split('\n')
        .filter((line) => line.length >= SHORTEST_SECRET)
        .map((line) => [line, name] as const),
    ),
  )
  if (names.size === 0) return String
  // The longest first: one value may be the beginning of another.
  const values = [...names.keys()].toSorted((a, b) => b.length - a.length).map(escaped)
  const pattern = new RegExp(values.join('|'), 'g')
  return (line) => line.replace(pattern, (value) => `\${${names.get(value)}}`)
}
