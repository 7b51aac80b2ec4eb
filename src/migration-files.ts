// How a migrations folder is laid out: names and numbers of its scripts, the range in compat.json, the checksums in SUMS.
// The kit, which runs migrations, and `slotgate lint`, which looks at them before they are merged, must not differ in it.
import { createHash } from 'node:crypto'
import type { Range } from './contract.ts'
import { SlotgateError } from './errors.ts'

export const COMPAT = 'compat.json'
export const SUMS = 'SUMS'

const NAME = /^(\d{3,})_[a-z0-9_]+\.sql$/

/**
 * @returns the number in the name of a script, undefined where it is not named like one.
 * 0 is what an empty database is at, so no script may have it.
 */
export function versionOf(name: string): number | undefined {
  const version = Number(NAME.exec(name)?.[1])
  return Number.isSafeInteger(version) && version > 0 ? version : undefined
}

/** @returns whether an entry of the folder is none of a migration's business */
export const isAside = (name: string): boolean => name.startsWith('.') || name === COMPAT || name === SUMS

export const byVersion = (a: Numbered, b: Numbered): number =>
  a.version - b.version || (a.name < b.name ? -1 : 1)

interface Numbered {
  version: number
  name: string
}

/** @returns groups of scripts that share a number: 088 and 0088 are the same */
export const duplicatesAmong = <T extends { version: number }>(scripts: Iterable<T>): [number, T[]][] =>
  [...Map.groupBy(scripts, ({ version }) => version)].filter(([, group]) => group.length > 1)

/**
 * Parses `compat.json`.
 *
 * @returns the declared range, whose min may be above its max
 * @throws SlotgateError `compat_invalid` for anything but two whole numbers of 0 or more
 */
export function parseCompat(text: string): Range {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SlotgateError('compat_invalid', { detail: (error as Error).message })
  }
  const { min, max, ...others } = (value ?? {}) as Record<string, unknown>
  const unknown = Object.keys(others)
  if (unknown.length > 0) {
    throw new SlotgateError('compat_invalid', {
      detail: `it has ${unknown.join(', ')}, and knows only min and max`,
    })
  }
  if (isVersion(min) && isVersion(max)) return { min, max }
  throw new SlotgateError('compat_invalid', { detail: COMPAT_SHAPE })
}

export const COMPAT_SHAPE = 'it must be {"min": …, "max": …}, whole numbers of 0 or more, min not above max'

const isVersion = (entry: unknown): entry is number => Number.isSafeInteger(entry) && Number(entry) >= 0

export const checksumOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

interface Summed {
  name: string
  /** SHA-256 of the bytes, in hex. */
  checksum: string
}

/** @returns the text of `SUMS`, which `sha256sum -c SUMS` also understands */
export const formatSums = (scripts: readonly Summed[]): string =>
  scripts.map(({ checksum, name }) => `${checksum}  ${name}\n`).join('')

/** @returns the names for which `SUMS` and the folder differ: changed, added, gone, or a line that cannot be read */
export function differingFromSums(text: string, scripts: readonly Summed[]): string[] {
  const listed = new Map<string, string>()
  for (const line of text.split(/\r?\n/).filter(Boolean)) {
    const [, checksum = '', name = line] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? []
    listed.set(name, checksum)
  }
  const present = new Map(scripts.map(({ name, checksum }) => [name, checksum]))
  return [...new Set([...present.keys(), ...listed.keys()])].filter(
    (name) => present.get(name) !== listed.get(name),
  )
}
