// What git ignores, without git: the `.gitignore` files of a folder, of those below it, and of those above it up to the
// root of the repository. A folder that is no repository may have them just as well.
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, sep } from 'node:path'
import ignore, { type Ignore } from 'ignore'

const RULES = '.gitignore'

/** Never looked into: git's own, what others wrote, what slotgate writes. */
const NEVER = new Set(['.git', 'node_modules', '.slotgate', '.hg', '.svn', '.DS_Store'])

/** What editors put beside a file while it is open. */
const OF_EDITORS = /^\.?#|~$|\.sw[a-z]$|^4913$/

/** Lives as long as its watch: each file of rules is read once. */
export class Ignored {
  readonly #root: string
  readonly #rules = new Map<string, Ignore | null>()

  /** @param folder absolute; what lies above it is not asked about */
  constructor(folder: string) {
    this.#root = rootOf(folder)
  }

  /** @param path absolute; what is below an ignored folder is never asked for, since nobody looks there */
  has(path: string, isFolder: boolean): boolean {
    const name = basename(path)
    if (NEVER.has(name) || OF_EDITORS.test(name)) return true
    // Rules that ignore themselves may be mended.
    if (isRules(path)) return false
    // The nearest file that says anything has the last word.
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      const rules = this.#rulesOf(folder)
      const said = rules?.test(toGit(relative(folder, path)) + (isFolder ? '/' : ''))
      if (said?.ignored) return true
      if (said?.unignored || folder === this.#root || folder === dirname(folder)) return false
    }
  }

  #rulesOf(folder: string): Ignore | null {
    const known = this.#rules.get(folder)
    if (known !== undefined) return known
    const rules = readRules(join(folder, RULES))
    this.#rules.set(folder, rules)
    return rules
  }
}

/** Whether a change of this file changes what is ignored. */
export const isRules = (path: string): boolean => basename(path) === RULES

function readRules(file: string): Ignore | null {
  try {
    return ignore({ ignorecase: false }).add(readFileSync(file, 'utf8'))
  } catch {
    return null
  }
}

/** The root of the repository that a folder is in; the folder itself where it is in none. */
function rootOf(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, '.git'))) return at
    if (at === dirname(at)) return folder
  }
}

const toGit = (path: string): string => path.split(sep).join('/')
