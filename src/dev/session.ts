// What a dev session keeps on the disk while it runs, all of it below `.slotgate` in the folder it was started in: a state
// folder of its own, and a key with the address of the admin API for the other commands.
import { existsSync } from 'node:fs'
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DEV_FOLDER, devFilesIn } from '../cli/dev-files.ts'
import { generateKey, writeKeyFile } from '../cli/keyfile.ts'
import { ACTIONS, type AdminKey } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { ownStateDir } from '../slots/owner.ts'

export const DEV_KEY_ID = 'dev'

export interface Session {
  /** Absolute; empty. */
  stateDir: string
  key: AdminKey
  /** Leaves the key and this address where the other commands look for them. */
  publish(adminUrl: string): Promise<void>
  /** Takes all of it away. */
  close(): Promise<void>
}

/**
 * Begins a session; what an earlier one left behind after a crash is gone then.
 *
 * @param folder absolute
 * @throws SlotgateError `dev_already_runs` where another one runs in this folder, `state_dir_unusable`
 */
export async function openSession(folder: string): Promise<Session> {
  const own = join(folder, DEV_FOLDER, 'dev')
  const files = devFilesIn(folder)
  const giveUp = await ownStateDir(own).catch((error: unknown) => {
    const isTaken = error instanceof SlotgateError && error.code === 'state_dir_in_use'
    throw isTaken ? new SlotgateError('dev_already_runs', { folder, pid: error.facts.pid }) : error
  })
  const stateDir = join(own, 'state')
  // The code that its releases were made of is not there any more.
  await rm(stateDir, { recursive: true, force: true })
  await removeFiles()
  await ignoreAll(join(folder, DEV_FOLDER))
  const { content, publicKey = '' } = generateKey('ed25519')
  const material = Buffer.from(publicKey, 'base64')

  async function removeFiles(): Promise<void> {
    for (const file of Object.values(files)) await rm(file, { force: true })
  }

  return {
    stateDir,
    key: { id: DEV_KEY_ID, algorithm: 'ed25519', material, allow: ACTIONS },
    async publish(adminUrl) {
      writeKeyFile(files.key, content)
      await writeFile(files.admin, `${adminUrl}\n`, { mode: 0o600 })
    },
    async close() {
      await removeFiles()
      await rm(stateDir, { recursive: true, force: true })
      await giveUp()
      // Whoever has begun here meanwhile keeps its own.
      await rmdir(own).catch(() => {})
    },
  }
}

/** A key must not be one `git add` away from being shared. */
async function ignoreAll(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const file = join(folder, '.gitignore')
  if (!existsSync(file)) await writeFile(file, '*\n')
}
