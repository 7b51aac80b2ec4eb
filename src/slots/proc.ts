// What the system knows of processes: whether one is still the same, what a crash left over, and how to end it.
import { execFile } from 'node:child_process'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ENV } from '../contract.ts'

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
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state] = fields
  return state === undefined || state === '' || state === 'Z' ? null : (fields[19] ?? null)
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
  bootId: string
}

/**
 * Finds processes that a slotgate working on this state folder booted, by the environment they were given. Also
 * those that left their process group, and those started a moment before a crash. Linux only; elsewhere empty.
 */
export async function findByEnvironment(stateDir: string): Promise<Leftover[]> {
  if (process.platform !== 'linux') return []
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const found = await Promise.all(pids.map((pid) => readBootId(pid, stateDir)))
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
  const bootId = environment.get(ENV.bootId)
  return environment.get(ENV.stateDir) === stateDir && bootId ? { pid, bootId } : null
}

/** Waits until none of these processes is left, or the time is over; says whether they are gone. */
export async function waitGone(pids: readonly number[], withinMs: number): Promise<boolean> {
  const until = performance.now() + withinMs
  for (;;) {
    const alive = await Promise.all(pids.map(startTimeOf))
    if (alive.every((time) => time === null)) return true
    if (performance.now() >= until) return false
    await pause(POLL_MS)
  }
}

function signalEach(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
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

/** The TCP ports that a process and the rest of its group listen on. Linux only; elsewhere empty. */
export async function listeningPortsOf(groupId: number): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const [members, sockets] = await Promise.all([membersOf(groupId), listeningSockets()])
  const inodes = (await Promise.all(members.map(socketInodesOf))).flat()
  const ports = inodes.map((inode) => sockets.get(inode)).filter((port) => port !== undefined)
  return [...new Set(ports)].sort((a, b) => a - b)
}

async function membersOf(groupId: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const groups = await Promise.all(pids.map(groupOf))
  return pids.filter((_, index) => groups[index] === groupId)
}

async function groupOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2])
}

const LISTEN_STATE = '0A'

async function listeningSockets(): Promise<Map<string, number>> {
  const tables = await Promise.all(
    ['/proc/net/tcp', '/proc/net/tcp6'].map((file) => readFile(file, 'utf8').catch(() => '')),
  )
  const rows = tables.flatMap((table) => table.split('\n').slice(1)).map((line) => line.trim().split(/\s+/))
  const listening = rows.filter((row) => row[3] === LISTEN_STATE)
  return new Map(listening.map((row) => [row[9] ?? '', Number.parseInt(row[1]?.split(':')[1] ?? '0', 16)]))
}

async function socketInodesOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder).catch(() => [])
  const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')))
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}
