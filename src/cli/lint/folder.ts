// Finds the migrations folder and reads it as it lies in the work tree, which is how the kit would read it.
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
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

export function readFolder(folder: string): FilesHere {
  const entries = readdirSync(folder, { withFileTypes: true })
  return new Map(
    entries.map((entry): [string, FileHere] => {
      const path = join(folder, entry.name)
      const { name } = entry
      if (entry.isFile()) return [name, { name, kind: 'file', bytes: readFileSync(path) }]
      if (entry.isSymbolicLink())
        return [name, { name, kind: 'link', bytes: Buffer.from(readlinkSync(path)) }]
      return [name, { name, kind: 'folder', bytes: Buffer.alloc(0) }]
    }),
  )
}
