// Who listens on which TCP port, from the kernel's tables: for the sentence about a port in use, and the one about an
// app that took another port than it was given. Linux tells; elsewhere nothing is known.
import { readdir, readFile, readlink } from 'node:fs/promises'
import { messageOf, SlotgateError } from './errors.ts'

const LISTEN_STATE = '0A'
/** Long command lines say who it is in their beginning. */
const COMMAND_LETTERS = 80

const readText = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '')

/** The numbers of all processes. */
export async function processIds(): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  return names.filter((name) => /^\d+$/.test(name)).map(Number)
}

interface Listener {
  inode: string
  /** In the kernel's own hexadecimal. */
  host: string
  port: number
}

async function listeners(net = '/proc/net'): Promise<Listener[]> {
  const tables = await Promise.all([`${net}/tcp`, `${net}/tcp6`].map(readText))
  const rows = tables.flatMap((table) => table.split('\n').slice(1)).map((line) => line.trim().split(/\s+/))
  const listening = rows.filter((row) => row[3] === LISTEN_STATE)
  return listening.map((row) => {
    const [host = '', port = '0'] = row[1]?.split(':') ?? []
    return { inode: row[9] ?? '', host, port: Number.parseInt(port, 16) }
  })
}

/** The port of each listening socket, by the socket's inode. */
const listeningSockets = async (): Promise<Map<string, number>> =>
  new Map((await listeners()).map(({ inode, port }) => [inode, port]))

/** The inodes of a process's sockets; none where it is gone or belongs to another user. */
async function socketsOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const names = await readdir(folder).catch(() => [])
  const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')))
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])
}

/** @returns the ports that these processes listen on, in order */
export async function listeningPortsOf(pids: readonly number[]): Promise<number[]> {
  const sockets = await listeningSockets()
  const inodes = (await Promise.all(pids.map(socketsOf))).flat()
  const ports = inodes.map((inode) => sockets.get(inode)).filter((port) => port !== undefined)
  return [...new Set(ports)].sort((a, b) => a - b)
}

/** 127.0.0.0/8 and ::1; the octets of each group of four are in the order of a little-endian machine. */
const LOOPBACK = /^(?:.{6}7F|0{24}01000000)$/

/** @returns the ports that are open to others in the network that this process is in, in order */
export async function openPortsAround(pid: number): Promise<number[]> {
  const open = (await listeners(`/proc/${pid}/net`)).filter(({ host }) => !LOOPBACK.test(host))
  return [...new Set(open.map(({ port }) => port))].sort((a, b) => a - b)
}

/** The error for a listener that could not be opened: `port_in_use` with who is to be looked for, or `listen_failed`. */
export async function listenError(
  error: unknown,
  { host, port, what }: { host: string; port: number; what: string },
): Promise<SlotgateError> {
  const facts = { host, port, what, detail: messageOf(error) }
  const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
  return inUse
    ? new SlotgateError('port_in_use', { ...facts, who: await whoHolds(port) }, { cause: error })
    : new SlotgateError('listen_failed', facts, { cause: error })
}

/** @returns a sentence that names the process on a port, or says how to find it where the system does not tell */
export async function whoHolds(port: number): Promise<string> {
  const pid = await findHolder(port)
  if (pid === null)
    return `Find out who holds it: ss -ltnp 'sport = :${port}' (as root), or lsof -i :${port}.`
  const [command = ''] = (await readText(`/proc/${pid}/cmdline`)).split('\n')
  const whole = command.replaceAll('\0', ' ').trim()
  const shown = whole.length > COMMAND_LETTERS ? `${whole.slice(0, COMMAND_LETTERS)}…` : whole
  return `Process ${pid} (${shown}) holds it; stop it or choose another port.`
}

async function findHolder(port: number): Promise<number | null> {
  const sockets = await listeningSockets()
  if (![...sockets.values()].includes(port)) return null
  for (const pid of await processIds()) {
    const inodes = await socketsOf(pid)
    if (inodes.some((inode) => sockets.get(inode) === port)) return pid
  }
  return null
}
