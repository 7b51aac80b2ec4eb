// What the system knows of processes: whether one is still the same, what a crash left over, and how to end it.
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ENV } from '../contract.ts'
import { processIds } from '../ports.ts'
import { within } from '../wait.ts'

const POLL_MS = 20
/** Who is killed has to run once more to end, which takes a moment where many want to run. */
const KILLED_WITHIN_MS = 5_000
/** To look is one small read on Linux, and elsewhere a process of its own. */
const GONE_POLL_MS = process.platform === 'linux' ? 50 : 1_000

/** The boot of the machine: ticks since the last boot must not be taken for ticks since this one. */
let machineBoot: Promise<string> | undefined

const machineBootId = (): Promise<string> =>
  (machineBoot ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => '',
  ))

/**
 * When a process started, in a form that only has to compare equal; with it a reused pid is told from the old one, also
 * after the machine was started again.
 *
 * @returns null if there is no such process (a zombie counts as gone)
 */
export async function startTimeOf(pid: number): Promise<string | null> {
  if (process.platform === 'linux') return startTicks(pid)
  return (await psOf(pid, 'lstart=')) || null
}

async function startTicks(pid: number): Promise<string | null> {
  const [state, ticks] = await statFields(pid).then((fields) => [fields[0], fields[19]])
  const isGone = !state || state === 'Z' || state === 'X'
  return isGone ? null : `${ticks}@${await machineBootId()}`
}

/**
 * Looks until this very process is gone, of which nobody tells: it is no child of this one.
 *
 * @returns false when the signal called the looking off
 */
export async function whenGone(pid: number, startTime: string, signal: AbortSignal): Promise<boolean> {
  while ((await startTimeOf(pid)) === startTime) {
    await pause(GONE_POLL_MS, undefined, { signal }).catch(() => {})
    if (signal.aborted) return false
  }
  return true
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

/**
 * Ends a process group: SIGTERM, SIGKILL after the time; what the leader leaves behind in its group is ended with it. The
 * leader may still run when it resolves: who waits for a disk that does not answer does not end on SIGKILL either.
 *
 * @param exited resolves when the leader has ended
 */
export async function endGroup(pid: number, exited: Promise<unknown>, withinMs: number): Promise<void> {
  signalGroup(pid, 'SIGTERM')
  await within(exited, withinMs)
  signalGroup(pid, 'SIGKILL')
  await within(exited, KILLED_WITHIN_MS)
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
  const environment = await environmentOf(pid)
  return environment.get(ENV.stateDir) === stateDir
    ? { pid, bootId: environment.get(ENV.bootId) ?? null }
    : null
}

/** The environment that slotgate started a process with; empty where it is not told or was written over. */
export async function environmentOf(pid: number): Promise<Map<string, string>> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
  if (!text.includes(ENV.stateDir)) return new Map()
  return environmentFrom(text.split('\0'))
}

/** @param pairs each as `NAME=value` */
export const environmentFrom = (pairs: readonly string[]): Map<string, string> =>
  new Map(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at), pair.slice(at + 1)]
    }),
  )

/**
 * Whether a process is the one of this boot: the same pid and start time, and an environment that says nothing else. An
 * app that sets its process title may have written over its environment.
 */
export async function isSameBoot(
  { pid, startTime }: { pid: number; startTime: string },
  bootId: string,
): Promise<boolean> {
  if ((await startTimeOf(pid)) !== startTime) return false
  return ((await environmentOf(pid)).get(ENV.bootId) ?? bootId) === bootId
}

/** A process that is to end; by its start time it is told from a later one of the same number. */
interface Doomed {
  pid: number
  startTime: string | null
}

async function leftOf(doomed: readonly Doomed[]): Promise<Doomed[]> {
  const now = await Promise.all(doomed.map(({ pid }) => startTimeOf(pid)))
  return doomed.filter(({ startTime }, index) => startTime !== null && now[index] === startTime)
}

/** Waits until none of these processes is left, or the time is over. @returns those that are left */
async function waitGone(doomed: readonly Doomed[], withinMs: number): Promise<Doomed[]> {
  const until = performance.now() + withinMs
  for (;;) {
    const left = await leftOf(doomed)
    if (left.length === 0 || performance.now() >= until) return left
    await pause(POLL_MS)
  }
}

/** Each process, and its group where it leads one. */
function signalEach(doomed: readonly Doomed[], signal: NodeJS.Signals): void {
  for (const { pid } of doomed) {
    signalGroup(pid, signal)
    try {
      process.kill(pid, signal)
    } catch {
      // Gone in the meantime.
    }
  }
}

/** Ends these processes: SIGTERM, then SIGKILL for what is left after the time. They are gone when it resolves. */
export async function endProcesses(pids: readonly number[], withinMs: number): Promise<void> {
  const doomed = await Promise.all(pids.map(async (pid) => ({ pid, startTime: await startTimeOf(pid) })))
  signalEach(doomed, 'SIGTERM')
  const left = await waitGone(doomed, withinMs)
  signalEach(left, 'SIGKILL')
  await waitGone(left, KILLED_WITHIN_MS)
}

/** The processes of a group. Linux only; elsewhere empty. */
export async function membersOf(groupId: number): Promise<number[]> {
  const pids = await processIds()
  const groups = await Promise.all(pids.map(groupOf))
  return pids.filter((_, index) => groups[index] === groupId)
}

const groupOf = async (pid: number): Promise<number> => Number((await statFields(pid))[2])

/** Whether the terminal of this process belongs to another job now: to read of it, or to set it, stops a process then. */
export async function isInBackground(): Promise<boolean> {
  const { pid } = process
  const [group = 0, foreground = 0] = (
    process.platform === 'linux'
      ? await statFields(pid).then((fields) => [fields[2], fields[5]])
      : (await psOf(pid, 'pgid=,tpgid=')).split(/\s+/)
  ).map(Number)
  return foreground > 0 && foreground !== group
}

/** @param columns as `ps -o` takes them; empty where there is no such process */
const psOf = (pid: number, columns: string): Promise<string> =>
  promisify(execFile)('ps', ['-o', columns, '-p', String(pid)]).then(
    ({ stdout }) => stdout.trim(),
    () => '',
  )
