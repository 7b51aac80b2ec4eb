// What releases share: folders in the state folder, and in each checkout a link to each of them.
import { existsSync } from 'node:fs'
import { lstat, mkdir, realpath, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { SlotgateError } from '../../errors.ts'
import type { Git } from './git-command.ts'

/** Files that only keep an otherwise empty folder in git. */
const PLACEHOLDER = /(?:^|\/)\.(?:gitkeep|keep|gitignore)$/

export interface SharedOptions {
  /** Where the shared folders are. */
  home: string
  paths: readonly string[]
}

/**
 * Links each shared path of a fresh checkout to its folder, which is made if it is missing. A folder that the commit only
 * keeps a place for gives way to the link.
 *
 * @throws SlotgateError `shared_path_tracked`: what a release has in its commit is not silently replaced
 */
export async function linkShared(
  git: Git,
  release: string,
  checkout: string,
  { home, paths }: SharedOptions,
): Promise<void> {
  for (const path of paths) {
    const tracked = await trackedFiles(git, release, path)
    const content = tracked.find((file) => !PLACEHOLDER.test(file))
    if (content !== undefined) throw trackedError(release, path, `${content} is tracked there`)
    const link = join(checkout, path)
    await mkdir(dirname(link), { recursive: true }).catch(() => {})
    if (!(await isWithin(checkout, link))) {
      throw trackedError(release, path, `${dirname(path)} is no folder in the commit`)
    }
    await rm(link, { recursive: true, force: true })
    const target = join(home, path)
    // What somebody has put there is taken as it is, also a file.
    if (!existsSync(target)) await mkdir(target, { recursive: true, mode: 0o750 })
    await symlink(target, link)
  }
}

async function trackedFiles(git: Git, release: string, path: string): Promise<string[]> {
  const { stdout } = await git(['ls-tree', '-r', '-z', '--full-tree', '--name-only', release, '--', path])
  return stdout.split('\0').filter(Boolean)
}

/** A link of the commit's own on the way there would lead out of the checkout. */
async function isWithin(checkout: string, link: string): Promise<boolean> {
  const folder = dirname(link)
  const isFolder = await lstat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  )
  return isFolder && (await realpath(folder)) === (await realpath(checkout)) + folder.slice(checkout.length)
}

const trackedError = (release: string, path: string, detail: string): SlotgateError =>
  new SlotgateError('shared_path_tracked', { release, path, detail })
