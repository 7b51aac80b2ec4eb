// How git is run: beside what its user has set up for a person, and never with something to ask.
import { execFile } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { ENV } from '../../contract.ts'
import { messageOf, SlotgateError } from '../../errors.ts'

/** A listing of files may be long. */
const MOST_BYTES = 64 * 1024 * 1024

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

/** Runs git in one repository. */
export type Git = (args: readonly string[], signal?: AbortSignal) => Promise<GitAnswer>

/**
 * @param repo absolute; a work tree or a bare repository
 * @param stateDir marks the process, so that one that a crash of slotgate leaves behind is ended at the next start; not
 *   given where slotgate does not run
 * @returns what runs git there; it throws SlotgateError `repository_unusable` where there is no git to run
 */
export const gitIn = (repo: string, stateDir?: string): Git => {
  const run: Git = (args, signal) =>
    new Promise((resolve, reject) => {
      const options = { env: environment(stateDir), maxBuffer: MOST_BYTES, ...(signal && { signal }) }
      execFile('git', ['-C', repo, ...SETTINGS, ...args], options, (error, stdout, stderr) => {
        if (error && typeof error.code !== 'number' && !signal?.aborted) {
          reject(new SlotgateError('repository_unusable', { repo, detail: messageOf(error) }))
          return
        }
        resolve({ ok: !error, stdout, stderr: stderr.trim().replace(/^(fatal|error): /gm, '') })
      })
    })
  return async (args, signal) => {
    const untilMs = performance.now() + WRITTEN_WITHIN_MS
    for (;;) {
      const answer = await run(args, signal)
      if (!HALF_WRITTEN.test(answer.stderr) || signal?.aborted || performance.now() > untilMs) return answer
      await pause(AGAIN_MS)
    }
  }
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
