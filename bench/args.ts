// The arguments of `npm run bench -- …`.
import { parseArgs } from 'node:util'

export interface Choice {
  /** A short look: fewer and shorter rounds. */
  quick: boolean
  /** Names of proxies; empty for all. */
  only: readonly string[]
  /** Names of works; empty for all. */
  works: readonly string[]
}

/** The names there are. */
export interface Known {
  proxies: readonly string[]
  works: readonly string[]
}

/** @throws Error naming what is not known */
export function parseArguments(words: readonly string[], known: Known): Choice {
  const { values } = parseArgs({
    args: [...words],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      work: { type: 'string', default: '' },
    },
  })
  return {
    quick: values.quick,
    only: namesIn(values.only, known.proxies, '--only'),
    works: namesIn(values.work, known.works, '--work'),
  }
}

function namesIn(list: string, known: readonly string[], flag: string): string[] {
  const names = list.split(',').filter((name) => name !== '')
  const unknown = names.find((name) => !known.includes(name))
  if (unknown) throw new Error(`${flag} has no ${unknown}; there are ${known.join(', ')}`)
  return names
}
