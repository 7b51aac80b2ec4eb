// What a dev session shows in the terminal: what the app writes, what slotgate does, and one block where something is wrong.
import type { Call, Sink } from '../cli/call.ts'
import { printProblem } from '../cli/print/verdict.ts'
import { type Style, styleFor, tame } from '../cli/style.ts'
import type { Problem } from '../errors.ts'
import type { LineSink } from '../log.ts'

/** The lines of a release that did not start are above the block already; it repeats the end. */
const REPEATED_LINES = 20

/** What a line of the log is, as far as it is of interest here. */
interface Entry {
  level: string
  msg: string
  release?: string
  output?: boolean
  code?: string
  operation?: string
  method?: string
  path?: string
  status?: number
}

/** Takes the log of slotgate, too, and shows what a developer wants to know of it. */
export class Screen implements LineSink {
  readonly #stdout: Sink
  readonly #style: Style
  #last = ''

  constructor(stdout: Sink, env: Call['env']) {
    this.#stdout = stdout
    this.#style = styleFor(stdout, env)
  }

  get style(): Style {
    return this.#style
  }

  say(text: string): void {
    this.#last = text
    this.#stdout.write(`${text}\n`)
  }

  /** @param sites where the services are */
  welcome(sites: readonly string[], hasKeys: boolean): void {
    const { bold, dim } = this.#style
    this.say(`${bold('slotgate dev')}  ${sites.map(bold).join('  ')}`)
    if (hasKeys) this.say(dim('r once more · b roll back · s status · q quit'))
  }

  /** Something under way. */
  note(text: string): void {
    this.say(this.#style.dim(`… ${tame(text)}`))
  }

  done(text: string): void {
    this.say(`${this.#style.green('✓')} ${tame(text)}`)
  }

  /** A page that asks again and again says the same again and again: that is shown once. */
  warn(text: string): void {
    const shown = `${this.#style.yellow('!')} ${tame(text)}`
    if (shown !== this.#last) this.say(shown)
  }

  /** @param next what can be done about it here, below the commands that help */
  problem(problem: Problem, next: string): void {
    const { output } = problem
    const shown = Array.isArray(output) ? { ...problem, output: output.slice(-REPEATED_LINES) } : problem
    this.say([printProblem(shown, this.#style), `  ${next}`].join('\n'))
  }

  /** Whole lines of the log. */
  write(lines: string): void {
    for (const line of lines.split('\n')) if (line !== '') this.#entry(JSON.parse(line) as Entry)
  }

  #entry({ level, msg, release, output, code, operation, method, path, status }: Entry): void {
    if (output) this.say(`${this.#style.dim(`${release} │`)} ${tame(msg)}`)
    // A refusal is told in its block.
    else if (operation !== undefined) return
    else if (method !== undefined && level === 'warn') this.warn(`${method} ${path}: ${status} (${code})`)
    else if (level !== 'info') this.warn(msg)
    else if (code !== undefined) this.note(msg)
  }
}
