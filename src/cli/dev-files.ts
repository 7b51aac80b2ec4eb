// Where a running `slotgate dev` leaves its key and the address of its admin API, so that the other commands find them in
// the same folder without a flag. They are gone when it ends.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Its folder, below the one that it runs in. */
export const DEV_FOLDER = '.slotgate'
/** The name is the key's id. */
const KEY = join(DEV_FOLDER, 'dev.key')
const ADMIN = join(DEV_FOLDER, 'dev.admin')

export interface DevFiles {
  /** The key file. */
  key: string
  /** A file with the address of the admin API. */
  admin: string
}

export const devFilesIn = (folder: string): DevFiles => ({
  key: join(folder, KEY),
  admin: join(folder, ADMIN),
})

/** @returns the key file and the address that a `slotgate dev` has left in this folder; undefined where there is none */
export function devDefaults(): { key: string; admin: string } | undefined {
  const { key, admin } = devFilesIn('.')
  if (!existsSync(key) || !existsSync(admin)) return undefined
  return { key, admin: readFileSync(admin, 'utf8').trim() }
}
