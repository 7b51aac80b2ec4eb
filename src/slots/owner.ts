// One slotgate per state folder: the journal, and the processes it names, must have one owner.
import { randomUUID } from 'node:crypto'
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, SlotgateError } from '../errors.ts'
import { startTimeOf } from './proc.ts'

const ATTEMPTS = 5

/**
 * Makes the folder if there is none, and this process its owner. A file of an owner that is gone is replaced.
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
    await claimFile(mine, file, stateDir)
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

/** Linking is atomic and fails where the name exists, so the file is never seen half written. */
async function claimFile(mine: string, file: string, stateDir: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await link(mine, file)
    } catch (error) {
      const taken = error instanceof Error && 'code' in error && error.code === 'EEXIST'
      if (!taken || attempt === ATTEMPTS) throw error
    }
    const pid = await livingOwner(file)
    if (pid !== null) throw new SlotgateError('state_dir_in_use', { state_dir: stateDir, pid })
    await unlink(file).catch(() => {})
  }
}

async function livingOwner(file: string): Promise<number | null> {
  const [pid, startTime] = (await readFile(file, 'utf8').catch(() => '')).trim().split(/ (.*)/s)
  const number = Number(pid)
  return number > 0 && (await startTimeOf(number)) === startTime ? number : null
}
