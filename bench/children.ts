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

const ENDS_WITHIN_MS = 5000
const LOOK_AGAIN_MS = 20
/** As many open files as this user may have, since one test opens thousands. */
const RAISED = 'ulimit -n "$(ulimit -Hn)"; exec taskset -c "$@"'

const children = new Set<Child>()

/** Ends all that still run. */
export async function endChildren(): Promise<void> {
  await Promise.all([...children].map((child) => child.end()))
}

process.on('exit', () => {
  for (const { pid } of children) signal(pid, 'SIGKILL')
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

function toChild(spawned: ChildProcess): Child {
  const { pid } = spawned
  if (pid === undefined) throw new Error('sh cannot be started')
  let ended = false
  const exited = new Promise<void>((resolve) =>
    spawned.once('exit', () => {
      ended = true
      resolve()
    }),
  )
  const end = async () => {
    signal(pid, 'SIGTERM')
    // All of the group, not only its first process: slotgate ends the releases that it booted.
    for (const endMs = performance.now() + ENDS_WITHIN_MS; isThere(pid) && performance.now() < endMs; )
      await pause(LOOK_AGAIN_MS)
    signal(pid, 'SIGKILL')
    children.delete(child)
  }
  const child: Child = { pid, exited, hasExited: () => ended, end }
  children.add(child)
  return child
}

const isThere = (group: number): boolean => signal(group, 0)

/** @returns whether there was anybody to hear it */
function signal(group: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, name)
  } catch {
    return false
  }
}
