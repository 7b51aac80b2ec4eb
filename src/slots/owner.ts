// One slotgate per state folder: the journal, and the processes it names, must have one owner.
import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf, SlotgateError } from '../errors.ts'
import { startTimeOf } from './proc.ts'

/** Replacing the file of an owner that is gone takes milliseconds; who holds the turn for longer died over it. */
const TURN_MS = 5_000
const TURN_POLL_MS = 20

/**
 * Makes the folder if there is none, and this process its owner. The file of an owner that is gone is replaced.
 *
 * @returns a function that gives the folder up again
 * @throws SlotgateError `state_dir_in_use` with the owner's pid, `state_dir_unusable`
 */
export async function ownStateDir(stateDir: string): Promise<() => Promise<void>> {
  const file = join(stateDir, 'owner')
  const id = randomUUID()
  const mine = join(stateDir, `owner.${id}`)
  let sign: Server | undefined
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    sign = await showLife(socketOf(stateDir, id))
    const facts = [process.pid, id, await startTimeOf(process.pid)]
    await writeFile(mine, `${facts.join(' ')}\n`, { mode: 0o600 })
    if (!(await linkNew(mine, file))) await takeOver(mine, file, stateDir)
  } catch (error) {
    sign?.close()
    if (error instanceof SlotgateError) throw error
    throw new SlotgateError(
      'state_dir_unusable',
      { state_dir: stateDir, detail: messageOf(error) },
      { cause: error },
    )
  } finally {
    await unlink(mine).catch(() => {})
  }
  return async () => {
    sign?.close()
    await unlink(file).catch(() => {})
  }
}

/** Short: the path of a socket may not have more than about 100 characters. */
const socketOf = (stateDir: string, id: string): string => join(stateDir, `alive.${id.slice(0, 8)}`)

/**
 * Listens as long as this process lives: whoever shares the folder from another container cannot see its pid. Where the
 * disk takes no socket, or the path is too long for one, the pid alone has to do.
 */
async function showLife(path: string): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy())
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false))
    server.listen(path, () => resolve(true))
  })
  return listens ? server.unref() : undefined
}

const showsLife = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })

/** Linking is atomic and fails where the name exists, so no file is ever seen half written. */
const linkNew = (mine: string, file: string): Promise<boolean> =>
  link(mine, file).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return false
      throw error
    },
  )

/** One at a time, or two starters that both saw the dead owner would each remove the other's file. */
async function takeOver(mine: string, file: string, stateDir: string): Promise<void> {
  const turn = `${file}.turn`
  while (!(await linkNew(mine, turn))) {
    const since = await stat(turn).then(
      ({ ctimeMs }) => ctimeMs,
      () => Date.now(),
    )
    if (Date.now() - since > TURN_MS) await unlink(turn).catch(() => {})
    await pause(TURN_POLL_MS)
  }
  try {
    const pid = await livingOwner(file, stateDir)
    if (pid !== null) throw new SlotgateError('state_dir_in_use', { state_dir: stateDir, pid })
    await rename(mine, file)
  } finally {
    await unlink(turn).catch(() => {})
  }
}

async function livingOwner(file: string, stateDir: string): Promise<number | null> {
  const text = await readFile(file, 'utf8').catch(() => '')
  const [, pid, id = '', startTime] = /^(\d+) (\S+) (.+)$/m.exec(text) ?? []
  if (pid === undefined) return null
  if ((await startTimeOf(Number(pid))) === startTime) return Number(pid)
  const socket = socketOf(stateDir, id)
  if (await showsLife(socket)) return Number(pid)
  await unlink(socket).catch(() => {})
  return null
}
