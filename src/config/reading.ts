// One pass over one config document: where each key stands, what is wrong with it, and what `${NAME}` stands for.
import {
  type Alias,
  type Document,
  isAlias,
  isScalar,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
} from 'yaml'
import { messageOf } from '../errors.ts'

/** Something wrong with the config, and where: the first line and the first column are 1. */
export interface ConfigProblem {
  line: number
  column: number
  /** As in `services.invoices.health.path`; empty where the whole document is meant. */
  key: string
  sentence: string
  hint?: string
}

/** Reads a file that the config names: its content and its permission bits. Throws if it cannot be read. */
export type ReadFile = (path: string) => { content: string; mode: number }

/** What a config may draw on besides its own text. */
export interface Surroundings {
  /** The path of the config; relative paths in it start from its folder. */
  file: string
  env: Readonly<Record<string, string | undefined>>
  /** For TLS files and secrets; without it no file can be read. */
  readFile?: ReadFile
  /** Whoever runs it adds a key of their own. */
  bringsKey?: boolean
}

/** A config has a few thousand characters; the limits keep a hostile one from taking the machine. */
const MAX_CHARACTERS = 256 * 1024
const MAX_ALIASES = 100

/** Every scalar stays the text that was written: `schema: off`, `first: 42` and `PORT: 080` mean what they say. */
const YAML_OPTIONS = {
  schema: 'failsafe',
  version: '1.2',
  uniqueKeys: false,
  prettyErrors: false,
  logLevel: 'error',
} as const

/** `${NAME}`, the escape `$${`, and a `${` that is neither. */
const VARIABLE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/g

const NO_NAME = `has "\${" without a name and "}" after it`

const parentOf = (key: string): string =>
  key.slice(0, Math.max(key.lastIndexOf('.'), key.lastIndexOf('['), 0))

export class Reading {
  readonly problems: ConfigProblem[] = []
  /** The variables that secrets came from. */
  readonly secretNames = new Set<string>()
  readonly root: Node | null
  readonly from: Surroundings
  readonly #document: Document.Parsed | null
  readonly #lines = new LineCounter()
  readonly #offsets = new Map<string, number>([['', 0]])
  readonly #said = new Set<string>()
  #aliases = 0

  constructor(text: string, from: Surroundings) {
    this.from = from
    this.#document = this.#parse(text)
    this.root = this.problems.length === 0 ? (this.#document?.contents ?? null) : null
  }

  /** Remembers where a key stands, for complaints about it or about what should be below it. */
  place(key: string, offset: number | undefined): void {
    if (offset !== undefined) this.#offsets.set(key, offset)
  }

  /** Notes a problem at the key's place, or at the nearest key around it if it is not written in the file. */
  complain(key: string, sentence: string, hint?: string): undefined {
    this.#note(this.#offsetOf(key), key, sentence, hint)
  }

  /** Follows an alias to what it stands for. */
  resolve(key: string, node: Node | null): Node | null {
    if (!isAlias(node) || this.#document === null) return node
    this.#aliases += 1
    if (this.#aliases > MAX_ALIASES) {
      if (this.#aliases === MAX_ALIASES + 1)
        this.complain(key, `is alias number ${this.#aliases}; ${MAX_ALIASES} are the limit`)
      return null
    }
    return this.#follow(key, node, this.#document)
  }

  /** @returns the text of a scalar with its variables filled in; undefined, and a problem, if one is missing */
  expand(key: string, scalar: Scalar): string | undefined {
    const before = this.problems.length
    const text = String(scalar.value).replace(VARIABLE, (match, name: string | undefined) => {
      if (match === '$${') return '${'
      if (name === undefined) this.complain(key, NO_NAME, 'write $${ for the two characters')
      else if (this.from.env[name] === undefined) {
        const hint = `set ${name}, or write $\${${name}} for the text itself`
        this.complain(key, `the environment has no ${name}`, hint)
      }
      return (name && this.from.env[name]) ?? ''
    })
    return this.problems.length === before ? text : undefined
  }

  /** As `expand`, for what may be a secret. */
  expandSecret(key: string, scalar: Scalar): string | undefined {
    for (const [, name] of String(scalar.value).matchAll(VARIABLE)) if (name) this.secretNames.add(name)
    return this.expand(key, scalar)
  }

  #parse(text: string): Document.Parsed | null {
    if (text.length > MAX_CHARACTERS) {
      this.#note(0, '', `has ${text.length} characters; ${MAX_CHARACTERS} are the limit`)
      return null
    }
    try {
      const document = parseDocument(text, { ...YAML_OPTIONS, lineCounter: this.#lines })
      for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
        this.#note(pos[0], '', `is not YAML that can be read here: ${message}`, HINTS[code])
      }
      return document
    } catch (error) {
      // Brackets nested some thousand deep exhaust the stack of the parser.
      this.#note(0, '', `is not YAML that can be read here: ${messageOf(error)}`)
      return null
    }
  }

  #follow(key: string, alias: Alias, document: Document.Parsed): Node | null {
    const target = alias.resolve(document)
    if (target === undefined) this.complain(key, `there is no anchor &${alias.source} before this alias`)
    return target ?? null
  }

  #offsetOf(key: string): number {
    const offset = this.#offsets.get(key)
    return offset ?? this.#offsetOf(parentOf(key))
  }

  #note(offset: number, key: string, sentence: string, hint?: string): void {
    const { line, col } =
      this.#lines.lineStarts.length === 0 ? { line: 1, col: 1 } : this.#lines.linePos(offset)
    const problem = { line, column: col, key, sentence, ...(hint && { hint }) }
    // One unclosed bracket is one problem, however often the parser comes by; so is a fault reached by two aliases.
    const said = JSON.stringify(problem)
    if (!this.#said.has(said)) this.problems.push(problem)
    this.#said.add(said)
  }
}

const HINTS: Partial<Record<string, string>> = {
  UNEXPECTED_TOKEN: 'text that begins with [ { " \' & * ! % @ or ` must stand in quotes, as in "[::1]:8080"',
  TAB_AS_INDENT: 'indent with spaces',
  MULTIPLE_DOCS: 'a config is one document',
  TAG_RESOLVE_FAILED: 'tags are not read here; put the text in quotes',
}

/** What was written, for a complaint. A variable is shown by its name: its value may be a secret. */
export function describeNode(node: Node | null): string {
  if (!isScalar(node))
    return node === null ? 'nothing' : 'items' in node ? 'a list or a map' : 'something else'
  const text = String(node.value)
  return text === '' ? 'nothing' : JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}
