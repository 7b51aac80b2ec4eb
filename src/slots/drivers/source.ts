// Where the files of releases come from: folders that are there already, or the commits of a repository.
import { stat } from 'node:fs/promises'
import { RELEASE_ID } from '../../config/names.ts'
import { SlotgateError } from '../../errors.ts'
import type { Journal } from '../../journal/file.ts'

/** What a driver is given to find the files of a release, and to get them ready. */
export interface Source {
  /** Whether each release has a folder of its own. */
  readonly hasOwnFolders: boolean
  /**
   * @param name what a caller calls a release
   * @returns its release id
   * @throws SlotgateError `invalid_release_id`, or why there is no such release
   */
  identify(name: string): Promise<string>
  /**
   * Gets the files of a release ready to run.
   *
   * @param setUp runs `setup` in the folder; called only where that has not ended well before
   * @param signal ends the attempt early
   * @returns the folder to run in
   * @throws SlotgateError `unknown_release`, and what `setUp` throws
   */
  prepare(release: string, setUp: (folder: string) => Promise<void>, signal: AbortSignal): Promise<string>
}

/** A release id becomes part of a path and of log lines; `..` and slashes must not. */
export async function identifyByName(name: string): Promise<string> {
  if (RELEASE_ID.test(name)) return name
  throw new SlotgateError('invalid_release_id', { got: JSON.stringify(name) })
}

/** `{release}` in what the config says stands for the release id. */
export const withRelease = (text: string, release: string): string => text.replaceAll('{release}', release)

/** Whether it differs with the release which of these is run. */
export const differWithRelease = (texts: readonly string[]): boolean =>
  texts.some((text) => text.includes('{release}'))

/**
 * Releases that somebody puts into folders.
 *
 * @param cwd absolute, with `{release}` in it; the journal says for which of them `setup` has ended well
 */
export const folderSource = (cwd: string, service: string, journal: Journal): Source => ({
  hasOwnFolders: differWithRelease([cwd]),
  identify: identifyByName,
  async prepare(release, setUp) {
    const folder = withRelease(cwd, release)
    const found = await stat(folder).catch(() => null)
    if (!found?.isDirectory()) {
      throw new SlotgateError('unknown_release', { release, detail: `${folder} is not a folder` })
    }
    if (!journal.state.services[service]?.setUp.includes(release)) await setUp(folder)
    return folder
  },
})
