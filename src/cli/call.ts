// What every command is given, and how one ends: the streams, the flags, the exit codes and the failures behind them.
import type { ListenAddress } from '../config/types.ts'
import { withShortCommits } from '../contract.ts'
import type { Problem } from '../errors.ts'

/** Exit codes (DESIGN §8a). */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, conflict: 4, unreachable: 5 } as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export interface Sink {
  write(text: string): unknown
  isTTY?: boolean
  /** False once nobody reads it any more. */
  writable?: boolean
}

/** What `slotgate dev` is to run, and how. */
export interface DevOptions {
  /** The app and its arguments; empty: what the config says. */
  command: readonly string[]
  /** Absent: there is none, and the command is one app of its own. */
  config?: string
  /** Absent: as the config says, or the next free port. */
  listen?: ListenAddress
  overlay: boolean
  /** The log as JSON instead of what people read. */
  json: boolean
}

export interface Deps {
  /** Runs slotgate until it is told to stop; the exit code. */
  serve(configFile: string): Promise<number>
  /** The same for the code in this folder, with a new release at each change. */
  dev(options: DevOptions): Promise<number>
  stdout: Sink
  stderr: Sink
  env: Readonly<Record<string, string | undefined>>
}

/** One call of the command line, parsed. */
export interface Call extends Deps {
  operands: readonly string[]
  flags: Readonly<Partial<Record<string, string | boolean>>>
}

/** Something went wrong on this side of the wire; `help` says what would help, one line each. */
export class Failure extends Error {
  readonly exitCode: ExitCode
  readonly help: readonly string[]

  constructor(exitCode: ExitCode, message: string, help: readonly string[] = []) {
    super(message)
    this.name = 'Failure'
    this.exitCode = exitCode
    this.help = help
  }
}

/** slotgate answered with a problem document. */
export class ProblemAnswer extends Error {
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail)
    this.name = 'ProblemAnswer'
    this.problem = problem
  }
}

const BY_STATUS: Partial<Record<number, ExitCode>> = {
  401: EXIT.unreachable,
  403: EXIT.unreachable,
  409: EXIT.conflict,
  412: EXIT.conflict,
  421: EXIT.unreachable,
  422: EXIT.refused,
}

export const exitCodeOf = ({ status }: Problem): ExitCode => BY_STATUS[status] ?? EXIT.failed

/** @returns the value of a flag that takes one, else of its environment variable; an empty variable counts as none */
export function setting(call: Call, flag: string, variable?: string): string | undefined {
  const given = call.flags[flag]
  if (typeof given === 'string') return given
  return (variable && call.env[variable]) || undefined
}

export const wantsJson = (call: Call): boolean => call.flags.json === true

/** Prints the answer: as it is with --json, else in words about the same body as people read it. */
export function answer<Body>(call: Call, body: Body, words: (body: Body) => string): void {
  call.stdout.write(`${wantsJson(call) ? JSON.stringify(body) : words(readable(body))}\n`)
}

/** Commits are shortened before anything is aligned. */
export const readable = <Body>(body: Body): Body => JSON.parse(withShortCommits(JSON.stringify(body)))
