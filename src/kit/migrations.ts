// Reads a release's migrations folder: the numbered scripts, the range the code declares, and what is wrong with them.
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Range } from '../contract.ts'
import { type Reason, reason, SlotgateError } from '../errors.ts'

/** One numbered script. */
export interface MigrationFile {
  version: number
  /** The file's name, `043_add_notes.sql`. */
  name: string
  sql: string
  /** SHA-256 of the file's bytes, in hex. */
  checksum: string
  /** False when the first line is `-- no-transaction`. */
  transactional: boolean
}

/** A release's migrations, as they were when it started. */
export interface Migrations {
  /** By number. */
  files: readonly MigrationFile[]
  /** What `compat.json` declares; without it, exactly the newest file's number. */
  range: Range
  /** The highest number, 0 without files. */
  newest: number
  /** What is wrong with the folder: `bad_name`, `duplicate_number`, `sums_mismatch`. */
  problems: readonly Reason[]
}

const NAME = /^(\d{3,})_[a-z0-9_]+\.sql$/
const NO_TRANSACTION = /^--\s*no-transaction\s*$/
const COMPAT = 'compat.json'
const SUMS = 'SUMS'

/**
 * Reads a migrations folder once; a release's scripts do not change while it runs.
 *
 * @param folder holds `NNN_name.sql` files and perhaps `compat.json` and `SUMS`; dot files are ignored
 * @throws SlotgateError `compat_invalid` when `compat.json` cannot be understood; without a range there is no status
 * @see DESIGN.md §9
 */
export async function loadMigrations(folder: string | URL): Promise<Migrations> {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder
  const { files, strangers } = await readScripts(path)
  const newest = files.at(-1)?.version ?? 0
  const compat = await readIfThere(join(path, COMPAT))
  const sums = await readIfThere(join(path, SUMS))
  return {
    files,
    newest,
    range: compat === undefined ? { min: newest, max: newest } : parseCompat(compat),
    problems: [
      ...strangers.map((file) => reason('bad_name', { file })),
      ...findDuplicates(files),
      ...(sums === undefined ? [] : compareSums(sums, files)),
    ],
  }
}

/**
 * Writes `SUMS`, which `sha256sum -c SUMS` also understands. Two branches that add a migration each then conflict in git.
 *
 * @returns the text written
 */
export async function writeSums(folder: string | URL): Promise<string> {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder
  const { files } = await readScripts(path)
  const text = files.map(({ checksum, name }) => `${checksum}  ${name}\n`).join('')
  await writeFile(join(path, SUMS), text)
  return text
}

async function readScripts(folder: string): Promise<{ files: MigrationFile[]; strangers: string[] }> {
  const entries = await readdir(folder, { withFileTypes: true })
  const shown = entries.filter(({ name }) => !name.startsWith('.') && name !== COMPAT && name !== SUMS)
  const isScript = (entry: (typeof shown)[number]) => entry.isFile() && versionOf(entry.name) !== undefined
  const files = await Promise.all(shown.filter(isScript).map(({ name }) => readScript(folder, name)))
  return {
    files: files.sort((a, b) => a.version - b.version || (a.name < b.name ? -1 : 1)),
    strangers: shown.filter((entry) => !isScript(entry)).map(({ name }) => name),
  }
}

async function readScript(folder: string, name: string): Promise<MigrationFile> {
  const bytes = await readFile(join(folder, name))
  const sql = bytes.toString('utf8')
  return {
    version: versionOf(name) ?? 0,
    name,
    sql,
    checksum: createHash('sha256').update(bytes).digest('hex'),
    transactional: !NO_TRANSACTION.test(sql.split(/\r?\n/, 1)[0] ?? ''),
  }
}

/** 0 is what an empty database is at, so no script may have it. */
function versionOf(name: string): number | undefined {
  const version = Number(NAME.exec(name)?.[1])
  return Number.isSafeInteger(version) && version > 0 ? version : undefined
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parseCompat(text: string): Range {
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
  const isVersion = (entry: unknown): entry is number => Number.isSafeInteger(entry) && Number(entry) >= 0
  if (!isVersion(min) || !isVersion(max) || min > max) {
    throw new SlotgateError('compat_invalid', {
      detail: 'it must be {"min": …, "max": …}, whole numbers of 0 or more, min not above max',
    })
  }
  return { min, max }
}

/** 88 and 088 are the same number. */
function findDuplicates(files: readonly MigrationFile[]): Reason[] {
  return [...Map.groupBy(files, ({ version }) => version)]
    .filter(([, group]) => group.length > 1)
    .map(([version, group]) => reason('duplicate_number', { version, files: group.map(({ name }) => name) }))
}

function compareSums(text: string, files: readonly MigrationFile[]): Reason[] {
  const listed = new Map<string, string>()
  for (const line of text.split(/\r?\n/).filter(Boolean)) {
    const [, checksum = '', name = line] = /^([0-9a-f]{64}) [ *](.+)$/.exec(line) ?? []
    listed.set(name, checksum)
  }
  const present = new Map(files.map(({ name, checksum }) => [name, checksum]))
  return [...new Set([...present.keys(), ...listed.keys()])]
    .filter((name) => present.get(name) !== listed.get(name))
    .map((file) => reason('sums_mismatch', { file }))
}
