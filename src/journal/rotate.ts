// A journal that has grown goes on in a new file, whose first line carries the state and the hash of the last line before.
// The full file keeps its content under a number. At every moment there is one file by the journal's name, and it is whole.
import type { FileHandle, link, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** What a journal asks of the disk; a test may stand in between. */
export interface Disk {
  open: typeof open
  link: typeof link
  rename: typeof rename
  unlink: typeof unlink
  stat: typeof stat
  readFile: typeof readFile
  readdir: typeof readdir
}

const NUMBERED = /^(.*)\.(\d+)\.jsonl$/

/** `journal.3.jsonl` for `journal.jsonl` and 3. */
const numbered = (file: string, number: number): string => file.replace(/\.jsonl$/, `.${number}.jsonl`)

const numberOf = (name: string | null): number => Number(NUMBERED.exec(name ?? '')?.[2] ?? 0)

/** The names of the files that a journal has filled, in no order. */
export async function formerFiles(disk: Disk, file: string): Promise<string[]> {
  const names = await disk.readdir(dirname(file))
  const own = basename(file, '.jsonl')
  return names.filter((name) => NUMBERED.exec(name)?.[1] === own)
}

/**
 * Gives the full file a second name, a number after the one before it.
 *
 * @param former the name of the file before it, null if it is the first
 * @returns that name
 */
export async function keepUnderNumber(disk: Disk, file: string, former: string | null): Promise<string> {
  for (let number = numberOf(former) + 1; ; number++) {
    const kept = numbered(file, number)
    if (await linked(disk, file, kept)) return basename(kept)
  }
}

/** @returns false where another file has that name */
async function linked(disk: Disk, file: string, kept: string): Promise<boolean> {
  try {
    await disk.link(file, kept)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  // A rotation that was begun before got this far.
  const [one, other] = await Promise.all([disk.stat(file), disk.stat(kept)])
  return one.ino === other.ino && one.dev === other.dev
}

/** The new file while it is written. */
export const nextFile = (file: string): string => `${file}.next`

/**
 * Writes the new file and puts it in place of the full one. Until the rename nothing has changed; after it the new file is
 * the journal, but a power cut may still bring the full one back, until the folder is synced.
 *
 * @returns the new file's handle
 */
export async function replace(disk: Disk, file: string, firstLine: string): Promise<FileHandle> {
  const next = nextFile(file)
  await removeIfThere(disk, next)
  const handle = await disk.open(next, 'ax+', 0o600)
  try {
    await handle.appendFile(firstLine)
    await handle.datasync()
    // The full file's second name must be durable before it loses its first one.
    await syncFolder(disk, dirname(file))
    await disk.rename(next, file).catch(async (error) => {
      // Some disks fail and have done it; the file by the journal's name is the one that counts.
      if ((await disk.stat(file)).ino !== (await handle.stat()).ino) throw error
    })
    return handle
  } catch (error) {
    await handle.close().catch(() => {})
    await removeIfThere(disk, next).catch(() => {})
    throw error
  }
}

export async function removeIfThere(disk: Disk, file: string): Promise<void> {
  await disk.unlink(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** What a file system says that does not sync folders, or needs not. */
const CANNOT_SYNC = ['EINVAL', 'ENOTSUP', 'EISDIR', 'EPERM']

/** A name is durable only once its folder is. */
export async function syncFolder(disk: Disk, folder: string): Promise<void> {
  const handle = await disk.open(folder, 'r')
  try {
    await handle.sync()
  } catch (error) {
    if (!CANNOT_SYNC.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    await handle.close()
  }
}

/** @returns the file's name as a path beside the journal, wherever the record says that it is */
export const beside = (file: string, name: string): string => join(dirname(file), basename(name))
