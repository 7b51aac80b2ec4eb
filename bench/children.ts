// Starts what the bench measures and what it needs, each on the cores it is to have, and leaves none of it running.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

export interface ChildOptions {
  /** Which cores it may use, as taskset writes them. */
  cores: string
  cwd: string
  /** Where its output goes. */
  logFile: string
  env?: NodeJS.ProcessEnv
}

export interface Child {
  /** The process and the group that it leads. */
  pid: number
  /** Resolves when the first process has ended. */
  exited: Promise<void>
  hasExited(): boolean
  end(): Promise<void>
}

const ENDS_WITHIN_MS = 3000
/** As many open files as this user may have, since one test opens thousands. */
const RAISED = 'ulimit -n "$(ulimit -Hn)"; exec taskset -c "$@"'

const groups = new Set<number>()
process.on('exit', () => {
  for (const group of groups) signal(group, 'SIGKILL')
})

/** Servers of Debian lie where a user's path does not lead. */
export const PATH = `${process.env.PATH}:/usr/sbin:/sbin`

export function startChild(command: string, args: readonly string[], options: ChildOptions): Child {
  const log = openSync(options.logFile, 'a')
  const child = spawn('sh', ['-c', RAISED, 'sh', options.cores, command, ...args], {
    cwd: options.cwd,
    env: { ...process.env, PATH, ...options.env },
    stdio: ['ignore', log, log],
    detached: true,
  })
  closeSync(log)
  return toChild(child)
}

function toChild(child: ChildProcess): Child {
  const { pid } = child
  if (pid === undefined) throw new Error('sh cannot be started')
  groups.add(pid)
  let ended = false
  const exited = new Promise<void>((resolve) =>
    child.once('exit', () => {
      ended = true
      resolve()
    }),
  )
  const end = async () => {
    signal(pid, 'SIGTERM')
    await Promise.race([exited, pause(ENDS_WITHIN_MS, undefined, { ref: false })])
    // What is left of the group goes, too.
    signal(pid, 'SIGKILL')
    groups.delete(pid)
  }
  return { pid, exited, hasExited: () => ended, end }
}

function signal(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name)
  } catch {
    // It has ended by itself.
  }
}
