// Reads a release's migrations folder: the numbered scripts, the range the code declares, and what is wrong with them.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Range } from '../contract.ts'
import { type Reason, reason, SlotgateError } from '../errors.ts'
import {
  byVersion,
  COMPAT,
  checksumOf,
  differingFromSums,
  duplicatesAmong,
  formatSums,
  isAside,
  parseCompat,
  SUMS,
  versionOf,
} from '../migration-files.ts'

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

const NO_TRANSACTION = /^--\s*no-transaction\s*$/

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
    range: compat === undefined ? { min: newest, max: newest } : rangeIn(compat),
    problems: [
      ...strangers.map((file) => reason('bad_name', { file })),
      ...duplicatesAmong(files).map(([version, group]) =>
        reason('duplicate_number', { version, files: group.map(({ name }) => name) }),
      ),
      ...(sums === undefined ? [] : differingFromSums(sums, files)).map((file) =>
        reason('sums_mismatch', { file }),
      ),
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
  const text = formatSums(files)
  await writeFile(join(path, SUMS), text)
  return text
}

async function readScripts(folder: string): Promise<{ files: MigrationFile[]; strangers: string[] }> {
  const entries = await readdir(folder, { withFileTypes: true })
  const shown = entries.filter(({ name }) => !isAside(name))
  const isScript = (entry: (typeof shown)[number]) => entry.isFile() && versionOf(entry.name) !== undefined
  const files = await Promise.all(shown.filter(isScript).map(({ name }) => readScript(folder, name)))
  return {
    files: files.sort(byVersion),
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
    checksum: checksumOf(bytes),
    transactional: !NO_TRANSACTION.test(sql.split(/\r?\n/, 1)[0] ?? ''),
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** @throws SlotgateError `compat_invalid` */
function rangeIn(text: string): Range {
  const { min, max } = parseCompat(text)
  if (min > max)
    throw new SlotgateError('compat_invalid', { detail: `its min (${min}) is above its max (${max})` })
  return { min, max }
}
