// How git is run: beside what its user has set up for a person, and never with something to ask.
import { execFile } from 'node:child_process'
import { ENV } from '../../contract.ts'
import { messageOf, SlotgateError } from '../../errors.ts'

/** A listing of files may be long. */
const MOST_BYTES = 64 * 1024 * 1024

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
export const gitIn =
  (repo: string, stateDir?: string): Git =>
  (args, signal) =>
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
