// What a merge of this branch into the tip of its base would leave in the folder: which scripts stay, which are new, and
// which numbers the new ones should have. Git's three-way rule by whole files, so that a fix which renames passes.
import { createHash } from 'node:crypto'
import { isAside, versionOf } from '../../migration-files.ts'
import type { FileHere, FilesHere, Listing, Subject } from './types.ts'

/** A script that the base has, and that stays. */
export interface Kept {
  name: string
  number: number
}

/** A script that comes with this branch, or has to get another name. */
export interface Fresh {
  name: string
  /** Undefined in a name that begins without one. */
  number: number | undefined
  /** The number it should have. */
  next: number
}

/** A migration of the base that is not here any more. */
export interface Gone {
  name: string
  /** The new name of the same script, where it looks renamed. */
  renamedTo: string | undefined
  /** Another file that has the same number on the base and stays. */
  rival: string | undefined
}

export interface Plan {
  kept: Kept[]
  fresh: Fresh[]
  /** On the base and here, but with other contents, by this branch. */
  changed: string[]
  gone: Gone[]
  /** On the base and not here, and nobody knows why. */
  unknown: string[]
}

/** What makes the numbers unique is not what makes a good name: 88_b.sql has the number of 088_a.sql. */
export function numberOf(name: string): number | undefined {
  const digits = /^(\d+).*\.sql$/i.exec(name)?.[1]
  return versionOf(name) ?? (digits === undefined ? undefined : Number(digits))
}

const looksLikeScript = (name: string): boolean => !isAside(name) && /\.sql$/i.test(name)

export function planMerge({ files, base }: Subject): Plan {
  const scripts = [...files.values()].filter(({ name, kind }) => looksLikeScript(name) && kind !== 'folder')
  if (base === undefined) {
    const fresh = numberAlone(scripts.map(({ name }) => name))
    return { kept: [], fresh, changed: [], gone: [], unknown: [] }
  }
  const { tip } = base
  // Where nobody knows the fork, what is in both is taken to come from the base.
  const fork = base.fork ?? new Map([...tip].filter(([name]) => files.has(name)))
  const added = scripts.filter((file) => !fork.has(file.name) && !isContentOf(file, tip.get(file.name)))
  // A file with a wrong name never ran, so it may be renamed even where the base has it.
  const misnamed = scripts.filter(({ name }) => fork.has(name) && versionOf(name) === undefined)
  const gone = findGone(files, tip, fork, added)
  const repaired = new Set(gone.filter(({ rival }) => rival !== undefined).map(({ name }) => name))
  // What else is gone has to come back, so its number is taken.
  const leaves = (name: string) => repaired.has(name) || (fork.has(name) && versionOf(name) === undefined)
  const kept = numberedOf(tip).filter(({ name }) => !leaves(name))
  const restored = new Set(gone.map(({ renamedTo }) => renamedTo))
  const fresh = [...added, ...misnamed].map(({ name }) => name).filter((name) => !restored.has(name))
  return {
    kept,
    fresh: numberAfter(fresh, newestOf(kept)),
    changed: scripts.filter((file) => isChanged(file, tip, fork)).map(({ name }) => name),
    gone,
    unknown: base.fork ? [] : migrationsOf(tip).filter((name) => !files.has(name)),
  }
}

const numberedOf = (side: Listing): Kept[] =>
  [...side.keys()].filter(looksLikeScript).flatMap((name) => {
    const number = numberOf(name)
    return number === undefined ? [] : [{ name, number }]
  })

const migrationsOf = (side: Listing): string[] =>
  [...side.keys()].filter((name) => versionOf(name) !== undefined)

/** What this branch left as it was is not changed by it, whatever has become of it on the base since. */
const isChanged = (file: FileHere, tip: Listing, fork: Listing): boolean =>
  versionOf(file.name) !== undefined &&
  [tip, fork].every((side) => side.has(file.name) && !isContentOf(file, side.get(file.name)))

function findGone(files: FilesHere, tip: Listing, fork: Listing, added: readonly FileHere[]): Gone[] {
  const migrations = migrationsOf(tip)
  return migrations
    .filter((name) => fork.has(name) && !files.has(name))
    .map((name) => {
      const number = versionOf(name)
      const rival = migrations.find((other) => versionOf(other) === number && files.has(other))
      const heir =
        added.find((file) => isContentOf(file, tip.get(name))) ??
        added.find((file) => numberOf(file.name) === number)
      return { name, rival, renamedTo: rival === undefined ? heir?.name : undefined }
    })
}

export const newestOf = (scripts: readonly { number: number }[]): number =>
  scripts.reduce((newest, { number }) => Math.max(newest, number), 0)

/** Fourteen digits are a point in time; after one, any later one is the next. */
const isTimestamp = (number: number): boolean => number >= 1e13

function follows(number: number | undefined, newest: number): number is number {
  if (number === undefined || number === 0) return false
  // Where the base has none, they come from elsewhere and may begin anywhere.
  if (newest === 0 || number === newest + 1) return true
  return isTimestamp(number) && isTimestamp(newest) && number > newest
}

const byNumber = (a: string, b: string): number =>
  (numberOf(a) ?? Infinity) - (numberOf(b) ?? Infinity) || (a < b ? -1 : 1)

function numberAfter(names: readonly string[], newest: number): Fresh[] {
  let last = newest
  return names.toSorted(byNumber).map((name) => {
    const number = numberOf(name)
    last = follows(number, last) ? number : last + 1
    return { name, number, next: last }
  })
}

/** Without a base there is no order to keep; only who has no number, or that of another, needs one. */
function numberAlone(names: readonly string[]): Fresh[] {
  const taken = new Set<number>()
  let last = newestOf(names.map((name) => ({ number: numberOf(name) ?? 0 })))
  return names.toSorted(byNumber).map((name) => {
    const number = numberOf(name)
    const isFree = number !== undefined && number > 0 && !taken.has(number)
    if (isFree) taken.add(number)
    else last += 1
    return { name, number, next: isFree ? number : last }
  })
}

/** Whether a file has the contents of an id of git's; line ends that git makes when it checks out are no difference. */
export function isContentOf({ bytes }: FileHere, id: string | undefined): boolean {
  if (id === undefined) return false
  return idOf(bytes, id.length) === id || (bytes.includes('\r\n') && idOf(withLf(bytes), id.length) === id)
}

/** Whether they are the same to the byte. */
export const isExactly = ({ bytes }: FileHere, id: string | undefined): boolean =>
  id !== undefined && idOf(bytes, id.length) === id

const withLf = (bytes: Buffer): Buffer =>
  Buffer.from(bytes.toString('latin1').replaceAll('\r\n', '\n'), 'latin1')

const SHA256_HEX_LENGTH = 64

const idOf = (bytes: Buffer, length: number): string =>
  createHash(length === SHA256_HEX_LENGTH ? 'sha256' : 'sha1')
    .update(`blob ${bytes.length}\0`)
    .update(bytes)
    .digest('hex')
