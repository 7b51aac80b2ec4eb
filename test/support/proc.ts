// What Linux tells of a process: its open files and its memory.
import { readdirSync, readFileSync } from 'node:fs'

/** How many files and sockets the process has open. */
export const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

/** @returns the memory that the process has now (VmRSS) or the most it ever had (VmHWM), in MiB */
export function memoryOf(pid: number, which: 'VmRSS' | 'VmHWM'): number {
  const [, kibibytes] =
    new RegExp(`^${which}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kibibytes) / 1024
}
