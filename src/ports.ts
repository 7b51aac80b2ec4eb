// Who holds a port: for the sentence that refuses to start on one that is in use.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The state LISTEN in /proc/net/tcp. */
const LISTEN = '0A'

/** @returns the inodes of the sockets that listen on the port, from the kernel's tables */
function listeningInodes(port: number): Set<string> {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(readLines)
  const fields = lines.map((line) => line.trim().split(/\s+/))
  const listening = fields.filter(([, local, , state]) => state === LISTEN && local?.endsWith(`:${wanted}`))
  return new Set(listening.flatMap(([, , , , , , , , , inode]) => (inode ? [inode] : [])))
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n')
  } catch {
    return []
  }
}

const processIds = (): string[] => readdirSync('/proc').filter((name) => /^\d+$/.test(name))

function holdsOneOf(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? []
      return inode !== undefined && inodes.has(inode)
    })
  } catch {
    // It ended meanwhile, or belongs to another user.
    return false
  }
}

/** Long command lines say who it is in their beginning. */
const COMMAND_LETTERS = 80

function commandOf(pid: string): string {
  const [line = ''] = readLines(`/proc/${pid}/cmdline`)
  return line.replaceAll('\0', ' ').trim().slice(0, COMMAND_LETTERS)
}

/**
 * @returns `process 4711 (node server.js)`; null where that cannot be told: the holder belongs to another user, or
 * the system is not Linux. Never throws.
 */
export function describePortHolder(port: number): string | null {
  try {
    const inodes = listeningInodes(port)
    const pid =
      inodes.size === 0 ? undefined : processIds().find((candidate) => holdsOneOf(candidate, inodes))
    return pid === undefined ? null : `process ${pid} (${commandOf(pid)})`
  } catch {
    return null
  }
}
