// How git is run: beside what its user has set up for a person, and never with something to ask.
import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { ENV } from '../../contract.ts'
import { messageOf, SlotgateError } from '../../errors.ts'
import { endGroup } from '../proc.ts'

/** A listing of files may be long; what tells, or complains, without end fills no memory. */
const MOST_CHARACTERS = 64 * 1024 * 1024

/** For what is only looked up: longer, and its disk or a network that it needs does not answer. */
const ANSWERS_WITHIN_MS = 30_000
/** Git takes its locks away when it is told to end. */
const STOPS_WITHIN_MS = 2_000

/** Git reads what it knows of all work trees, and fails over one that another git is writing down at this moment. */
const HALF_WRITTEN = /^failed to read \S*worktrees\//m
const AGAIN_MS = 50
/** Longer, and it is no git that writes but one that was killed while it did. */
const WRITTEN_WITHIN_MS = 2_000

export interface GitAnswer {
  ok: boolean
  stdout: string
  /** What it complained of, without the word `fatal`. */
  stderr: string
}

/**
 * Runs git in one repository.
 *
 * @param signal ends it, and what it has started; not given: it has 30 s
 */
export type Git = (args: readonly string[], signal?: AbortSignal) => Promise<GitAnswer>

/**
 * @param repo absolute; a work tree or a bare repository
 * @param stateDir marks the process, so that one that a crash of slotgate leaves behind is ended at the next start; not
 *   given where slotgate does not run
 * @param answersWithinMs nobody but a test has a reason for another
 * @returns what runs git there; it throws SlotgateError `repository_unusable` where there is no git to run, or none that
 *   answers
 */
export const gitIn = (repo: string, stateDir?: string, answersWithinMs = ANSWERS_WITHIN_MS): Git => {
  const unusable = (detail: string) => new SlotgateError('repository_unusable', { repo, detail })
  const run = async (args: readonly string[], signal: AbortSignal): Promise<GitAnswer> => {
    const { exitCode, stdout, stderr } = await runGroup(
      ['-C', repo, ...SETTINGS, ...args],
      environment(stateDir),
      signal,
    ).catch((error: unknown) => {
      throw unusable(messageOf(error))
    })
    if (exitCode === null && !signal.aborted) throw unusable(`git ${args[0]} was ended by somebody else`)
    return { ok: exitCode === 0, stdout, stderr: stderr.trim().replace(/^(fatal|error): /gm, '') }
  }
  return async (args, given) => {
    const untilMs = performance.now() + WRITTEN_WITHIN_MS
    for (;;) {
      const signal = given ?? AbortSignal.timeout(answersWithinMs)
      const answer = await run(args, signal)
      if (!answer.ok && !given && signal.aborted)
        throw unusable(`git gave no answer within ${answersWithinMs} ms`)
      if (!HALF_WRITTEN.test(answer.stderr) || signal.aborted || performance.now() > untilMs) return answer
      await pause(AGAIN_MS)
    }
  }
}

interface Ended {
  /** null where a signal ended it. */
  exitCode: number | null
  stdout: string
  stderr: string
}

/** Runs git in a process group of its own, so that its end is also that of its filters and helpers. */
async function runGroup(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<Ended> {
  const child = spawn('git', args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const { promise: ended, resolve, reject } = Promise.withResolvers<number | null>()
  child.once('error', reject)
  child.once('close', resolve)
  const exited = new Promise((resolve) => child.once('exit', resolve))
  const stderr = tailOf(child.stderr)
  let stdout = ''
  const stop = async () => {
    if (child.pid === undefined) return
    await endGroup(child.pid, exited, STOPS_WITHIN_MS)
    // What has left the group may hold them open.
    child.stdout.destroy()
    child.stderr.destroy()
    // It may still run, for as long as its disk does not answer: nobody waits for that.
    child.unref()
    resolve(child.exitCode)
  }
  const isTooLong = () => stdout.length > MOST_CHARACTERS
  // Without a stream nothing was started.
  child.stdout?.setEncoding('utf8').on('data', (part: string) => {
    if (isTooLong()) return
    stdout += part
    if (isTooLong()) void stop()
  })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) void stop()
  try {
    const exitCode = await ended
    // A part of it would be taken for the whole.
    if (isTooLong()) throw new Error(`git told more than ${MOST_CHARACTERS} characters, and was ended`)
    return { exitCode, stdout, stderr: stderr() }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/**
 * @param stream missing where nothing was started
 * @returns what tells the end of all that has come so far
 */
function tailOf(stream: Readable | undefined): () => string {
  let text = ''
  stream?.setEncoding('utf8').on('data', (part: string) => {
    text = (text + part).slice(-MOST_CHARACTERS)
  })
  return () => text
}

/**
 * A hook of the repository is for the people who work there, and so is a part of it that they have chosen to see; a name
 * that could be two things must be told.
 */
const SETTINGS = [
  'core.hooksPath=/dev/null',
  'core.sparseCheckout=false',
  'core.warnAmbiguousRefs=true',
].flatMap((setting) => ['-c', setting])

/** Without what a git around this one says of its own repository, in the language that is read here. */
const environment = (stateDir: string | undefined): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(GIT_|SLOTGATE)/.test(name) && name !== 'LANGUAGE'),
  ),
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  ...(stateDir !== undefined && { [ENV.stateDir]: stateDir }),
})
