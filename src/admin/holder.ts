// Names the process that holds a TCP port, for the sentence about a port in use.
import { readdir, readFile, readlink } from 'node:fs/promises'

const LISTENING = '0A'

/** The socket inodes that listen on a port, from the kernel's tables (Linux). */
async function listeningInodes(port: number): Promise<Set<string>> {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const inodes = new Set<string>()
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const lines = (await readFile(table, 'utf8').catch(() => '')).split('\n').slice(1)
    for (const line of lines) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/)
      if (state === LISTENING && local.endsWith(`:${hex}`)) inodes.add(`socket:[${inode}]`)
    }
  }
  return inodes
}

async function holds(pid: string, inodes: ReadonlySet<string>): Promise<boolean> {
  const folder = `/proc/${pid}/fd`
  for (const fd of await readdir(folder).catch(() => [])) {
    if (inodes.has(await readlink(`${folder}/${fd}`).catch(() => ''))) return true
  }
  return false
}

/** @returns a sentence that names the process, or says how to find it where the system does not tell */
export async function whoHolds(port: number): Promise<string> {
  const inodes = await listeningInodes(port)
  if (inodes.size > 0) {
    for (const pid of await readdir('/proc').catch(() => [])) {
      if (!/^[0-9]+$/.test(pid) || !(await holds(pid, inodes))) continue
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim()
      return `Process ${pid} (${name}) holds it; stop it or choose another port.`
    }
  }
  return `Find out who holds it: ss -ltnp 'sport = :${port}' (as root), or lsof -i :${port}.`
}
