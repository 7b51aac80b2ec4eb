// Finds the migrations folder and reads it as it lies in the work tree, which is how the kit would read it.
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { messageOf } from '../../errors.ts'
import { EXIT, Failure } from '../call.ts'
import type { FileHere, FilesHere } from './types.ts'

const DEFAULT_NAME = 'migrations'

/**
 * @param given a path from the current folder; without one, the nearest `migrations` on the way up to the repository's root
 * @throws Failure where there is none
 */
export function findFolder(given: string | undefined): string {
  const found = given === undefined ? nearestFolder(process.cwd()) : resolve(given)
  if (found !== undefined && isFolder(found)) return found
  throw new Failure(EXIT.usage, `There is no folder ${given ?? DEFAULT_NAME} here.`, [
    'Name it: --migrations FOLDER.',
  ])
}

function nearestFolder(from: string): string | undefined {
  if (isFolder(join(from, DEFAULT_NAME))) return join(from, DEFAULT_NAME)
  const parent = dirname(from)
  return parent === from || existsSync(join(from, '.git')) ? undefined : nearestFolder(parent)
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** @throws Failure where the folder, or a file in it, cannot be read */
export function readFolder(folder: string): FilesHere {
  const entries = read(folder, () => readdirSync(folder, { withFileTypes: true }))
  return new Map(
    entries.map((entry): [string, FileHere] => {
      const path = join(folder, entry.name)
      const { name } = entry
      if (entry.isFile()) return [name, { name, kind: 'file', bytes: read(path, () => readFileSync(path)) }]
      if (entry.isSymbolicLink())
        return [name, { name, kind: 'link', bytes: read(path, () => Buffer.from(readlinkSync(path))) }]
      return [name, { name, kind: 'folder', bytes: Buffer.alloc(0) }]
    }),
  )
}

function read<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    // What stands for bytes that are no text is not what the file is called.
    const help = path.includes('\uFFFD') ? ['Its name is not UTF-8; ls -b shows it as it is. Rename it.'] : []
    throw new Failure(EXIT.failed, `${path} cannot be read: ${messageOf(error)}.`, help)
  }
}
