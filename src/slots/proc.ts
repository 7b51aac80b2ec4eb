// What the system knows of processes: whether one is still the same, what a crash left over, and how to end it.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ENV } from '../contract.ts'
import { processIds } from '../ports.ts'

const POLL_MS = 20

/**
 * When a process started, in a form that only has to compare equal; with it a reused pid is told from the old one.
 *
 * @returns null if there is no such process (a zombie counts as gone)
 */
export async function startTimeOf(pid: number): Promise<string | null> {
  if (process.platform === 'linux') return startTicks(pid)
  const { stdout } = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  return stdout.trim() || null
}

async function startTicks(pid: number): Promise<string | null> {
  const fields = await statFields(pid)
  return fields[0] === '' || fields[0] === 'Z' ? null : (fields[19] ?? null)
}

/** What the kernel tells of a process, from its state on; the state is empty where there is no such process. */
async function statFields(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The field before is the command in parentheses and may itself hold spaces and parentheses.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Sends a signal to a process group; false if nobody is left in it. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch {
    return false
  }
}

export interface Leftover {
  pid: number
  /** null for a `setup`, which is no boot. */
  bootId: string | null
}

/**
 * Finds processes that a slotgate working on this state folder booted, by the environment they were given. Also
 * those that left their process group, and those started a moment before a crash. Linux only; elsewhere empty.
 */
export async function findByEnvironment(stateDir: string): Promise<Leftover[]> {
  if (process.platform !== 'linux') return []
  const found = await Promise.all((await processIds()).map((pid) => readBootId(pid, stateDir)))
  return found.filter((leftover) => leftover !== null)
}

async function readBootId(pid: number, stateDir: string): Promise<Leftover | null> {
  if (pid === process.pid) return null
  const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
  if (!text.includes(ENV.stateDir)) return null
  const environment = new Map(
    text.split('\0').map((pair) => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )
  return environment.get(ENV.stateDir) === stateDir
    ? { pid, bootId: environment.get(ENV.bootId) ?? null }
    : null
}

/** Waits until none of these processes is left, or the time is over; says whether they are gone. */
async function waitGone(pids: readonly number[], withinMs: number): Promise<boolean> {
  const until = performance.now() + withinMs
  for (;;) {
    const alive = await Promise.all(pids.map(startTimeOf))
    if (alive.every((time) => time === null)) return true
    if (performance.now() >= until) return false
    await pause(POLL_MS)
  }
}

/** Each process, and its group where it leads one. */
function signalEach(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    signalGroup(pid, signal)
    try {
      process.kill(pid, signal)
    } catch {
      // Gone in the meantime.
    }
  }
}

/** Ends these processes: SIGTERM, then SIGKILL for what is left after the time. */
export async function endProcesses(pids: readonly number[], withinMs: number): Promise<void> {
  if (pids.length === 0) return
  signalEach(pids, 'SIGTERM')
  if (await waitGone(pids, withinMs)) return
  signalEach(pids, 'SIGKILL')
  await waitGone(pids, withinMs)
}

/** The processes of a group. Linux only; elsewhere empty. */
export async function membersOf(groupId: number): Promise<number[]> {
  const pids = await processIds()
  const groups = await Promise.all(pids.map(groupOf))
  return pids.filter((_, index) => groups[index] === groupId)
}

const groupOf = async (pid: number): Promise<number> => Number((await statFields(pid))[2])
