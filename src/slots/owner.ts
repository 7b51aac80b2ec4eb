// One slotgate per state folder: the journal, and the processes it names, must have one owner.
import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises'
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
  const mine = join(stateDir, `owner.${randomUUID()}`)
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    await writeFile(mine, `${process.pid} ${await startTimeOf(process.pid)}\n`, { mode: 0o600 })
    if (!(await linkNew(mine, file))) await takeOver(mine, file, stateDir)
  } catch (error) {
    if (error instanceof SlotgateError) throw error
    throw new SlotgateError(
      'state_dir_unusable',
      { state_dir: stateDir, detail: messageOf(error) },
      { cause: error },
    )
  } finally {
    await unlink(mine).catch(() => {})
  }
  return () => unlink(file).catch(() => {})
}

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
    const pid = await livingOwner(file)
    if (pid !== null) throw new SlotgateError('state_dir_in_use', { state_dir: stateDir, pid })
    await rename(mine, file)
  } finally {
    await unlink(turn).catch(() => {})
  }
}

async function livingOwner(file: string): Promise<number | null> {
  const [pid, startTime] = (await readFile(file, 'utf8').catch(() => '')).trim().split(/ (.*)/s)
  const number = Number(pid)
  return number > 0 && (await startTimeOf(number)) === startTime ? number : null
}
