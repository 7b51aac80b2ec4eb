// Reads the config file and refuses it with every problem it has.
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { messageOf, SlotgateError } from '../errors.ts'
import { checkConfig } from './check.ts'
import type { ConfigProblem, ReadFile, Surroundings } from './reading.ts'
import type { Config } from './types.ts'

/** Content and mode of the very same file, whatever its name points at a moment later. */
const readFile: ReadFile = (path) => {
  const file = openSync(path, 'r')
  try {
    return { content: readFileSync(file, 'utf8'), mode: fstatSync(file).mode }
  } finally {
    closeSync(file)
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new SlotgateError('config_unreadable', { file, detail: messageOf(error) }, { cause: error })
  }
}

/**
 * @param file the path of the config
 * @param env what `${NAME}` reads from
 * @param given.bringsKey whether the caller adds a key, so that the file needs none
 * @returns the checked, frozen config
 * @throws SlotgateError `config_unreadable`, or `config_invalid` with the fact `problems`: a list of ConfigProblem
 */
export function loadConfig(
  file: string,
  env: Surroundings['env'] = process.env,
  given: Pick<Surroundings, 'bringsKey'> = {},
): Config {
  const { config, problems } = checkConfig(readText(file), { file, env, readFile, ...given })
  if (config) return config
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`
  throw new SlotgateError('config_invalid', { file, count, problems })
}

/** @returns one line per problem: `proxy.config.yaml:12:5  services.invoices.helth: unknown key; did you mean "health"?` */
export const formatProblems = (problems: readonly ConfigProblem[], file: string): string =>
  problems
    .map(({ line, column, key, sentence, hint }) => {
      const what = [sentence, hint].filter(Boolean).join('; ')
      return `${file}:${line}:${column}  ${key === '' ? what : `${key}: ${what}`}`
    })
    .join('\n')
