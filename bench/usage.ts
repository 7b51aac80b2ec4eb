// What a proxy used, its whole process group together: time on a core and memory, as the kernel counts them.
import { readdirSync, readFileSync } from 'node:fs'

export interface CpuTime {
  /** On a core, in nanoseconds. */
  totalNs: number
  /** How that divides, in ticks of a hundredth of a second. */
  userTicks: number
  systemTicks: number
}

const NONE: CpuTime = { totalNs: 0, userTicks: 0, systemTicks: 0 }

/** The processes of a group, as they are now. */
export function membersOf(group: number): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger)
  return pids.filter((pid) => Number(statOf(`/proc/${pid}`)?.[GROUP]) === group)
}

/** What these processes used so far, all their threads included. */
export function cpuTimeOf(pids: readonly number[]): CpuTime {
  return pids.map(processTime).reduce(sum, NONE)
}

export function sum(one: CpuTime, other: CpuTime): CpuTime {
  return {
    totalNs: one.totalNs + other.totalNs,
    userTicks: one.userTicks + other.userTicks,
    systemTicks: one.systemTicks + other.systemTicks,
  }
}

export function difference(later: CpuTime, earlier: CpuTime): CpuTime {
  return {
    totalNs: later.totalNs - earlier.totalNs,
    userTicks: later.userTicks - earlier.userTicks,
    systemTicks: later.systemTicks - earlier.systemTicks,
  }
}

/** Memory that is theirs, and their share of what they share (proc(5), smaps_rollup), in bytes. */
export function memoryOf(pids: readonly number[]): number {
  const sizes = pids.map((pid) => /^Pss: +(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1])
  return sizes.reduce((total, size) => total + Number(size ?? 0) * 1024, 0)
}

// proc(5), /proc/pid/stat, counted from the field behind the name.
const GROUP = 2
const USER_TICKS = 11
const SYSTEM_TICKS = 12

function processTime(pid: number): CpuTime {
  const threads = list(`/proc/${pid}/task`)
  // /proc/pid/schedstat has the first thread alone; those of the others are in their own folders.
  const times = threads.map((thread) => Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]))
  const stat = statOf(`/proc/${pid}`)
  return {
    totalNs: times.reduce((total, time) => total + time, 0),
    userTicks: Number(stat?.[USER_TICKS] ?? 0),
    systemTicks: Number(stat?.[SYSTEM_TICKS] ?? 0),
  }
}

function statOf(folder: string): string[] | null {
  const stat = read(`${folder}/stat`)
  // The name is in parentheses and may hold anything.
  return stat === '' ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** `''` when the process has ended in between. */
function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
