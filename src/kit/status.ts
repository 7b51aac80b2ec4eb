// Judges a database report against a release's own files: the answer of `/schema/status`.
import { createHash } from 'node:crypto'
import { ENV, type SchemaStatus } from '../contract.ts'
import { type Reason, reason } from '../errors.ts'
import type { Pool } from './database.ts'
import type { MigrationFile, Migrations } from './migrations.ts'
import { type AppliedMigration, type OpenAttempt, type Report, readReport } from './report.ts'

/** The problems of a folder whose every file drifted would not fit into a status of 64 KiB. */
const PROBLEMS_SHOWN = 50

/** A status as the kit gives it. */
export interface KitStatus extends SchemaStatus {
  pending_migrations: string[]
  dirty: boolean
  migration_running: boolean
  database_id: string
  schema_digest: string
  problems: Reason[]
  /** Applied above what this code needs, by name: a list that keeps growing means abandoned columns. */
  applied_not_required: string[]
  applied_not_in_release: string[]
}

/**
 * Answers `/schema/status`: one statement, no cache, no write.
 *
 * @param pool on the primary
 * @throws SlotgateError `database_unavailable` or `not_primary`, both to be answered with 503
 * @see SCHEMA.md §5.1, §5.2
 */
export async function readStatus(pool: Pool, migrations: Migrations): Promise<KitStatus> {
  return describe(await readReport(pool), migrations)
}

/** The status a report amounts to. */
function describe(report: Report, migrations: Migrations): KitStatus {
  const { [ENV.bootId]: bootId, [ENV.release]: release } = process.env
  const current = currentVersion(report)
  const { files, range } = migrations
  const shipped = new Set(files.map(({ version }) => version))
  const problems = findProblems(report, migrations)
  const names = (rows: readonly AppliedMigration[]) => rows.map(({ name }) => name)
  return {
    current_schema_version: current,
    code_min_schema_version: range.min,
    code_max_schema_version: range.max,
    compatible: current >= range.min && current <= range.max && problems.length === 0,
    pending_migrations: pendingFiles(report, files).map(({ name }) => name),
    dirty: partialAttempts(report).length > 0,
    migration_running: isRunning(report),
    database_id: hash(`${report.system_identifier}:${report.database_oid}`),
    schema_digest: hash(report.applied.map((row) => `${row.version}:${row.name}:${row.checksum}\n`).join('')),
    problems: problems.slice(0, PROBLEMS_SHOWN),
    applied_not_required: names(report.applied.filter(({ version }) => version > range.min)),
    applied_not_in_release: names(report.applied.filter(({ version }) => !shipped.has(version))),
    ...(bootId && { boot_id: bootId }),
    ...(release && { release }),
  }
}

/** A function of the database alone, so that two releases with different files agree about it. */
export const currentVersion = ({ applied }: Report): number => applied.at(-1)?.version ?? 0

/** By number, holes included. */
export function pendingFiles({ applied }: Report, files: readonly MigrationFile[]): MigrationFile[] {
  const versions = new Set(applied.map(({ version }) => version))
  return files.filter(({ version }) => !versions.has(version))
}

export const isRunning = ({ locked, attempts }: Report): boolean =>
  locked || attempts.some(({ state }) => state === 'in progress')

/** An aborted transaction left nothing; one that committed without its row, or whose end nobody knows, may have. */
export function partialAttempts({ locked, attempts }: Report): OpenAttempt[] {
  const isPartial: Record<OpenAttempt['state'], boolean> = {
    'in progress': false,
    aborted: false,
    'no transaction': !locked,
    committed: true,
    unknown: true,
    partial: true,
  }
  return attempts.filter(({ state }) => isPartial[state])
}

/** Everything that makes the release incompatible whatever the numbers say; what needs a hand in the database comes first. */
export function findProblems(report: Report, migrations: Migrations): Reason[] {
  return [
    ...partialAttempts(report).map(({ version, name }) =>
      reason('partial_migration', { version, file: name }),
    ),
    ...migrations.problems,
    ...compareHistory(report.applied, migrations),
    ...findHoles(report, migrations.files),
  ]
}

/** Up to the newest file, what ran must be what this release ships. */
function compareHistory(applied: readonly AppliedMigration[], { files, newest }: Migrations): Reason[] {
  const byVersion = Map.groupBy(files, ({ version }) => version)
  return applied
    .filter(({ version }) => version <= newest)
    .flatMap((row) => compareOne(row, byVersion.get(row.version) ?? []))
}

/** With two files of one number there is no telling which is meant; that is a problem of its own. */
function compareOne({ version, name, checksum }: AppliedMigration, [file, twin]: MigrationFile[]): Reason[] {
  if (twin) return []
  if (!file) return [reason('applied_not_in_release', { version, applied: name })]
  if (file.name !== name)
    return [reason('different_migration', { version, applied: name, release: file.name })]
  return file.checksum === checksum ? [] : [reason('checksum_drift', { version, file: name })]
}

function findHoles(report: Report, files: readonly MigrationFile[]): Reason[] {
  const current = currentVersion(report)
  return pendingFiles(report, files)
    .filter(({ version }) => version < current)
    .map(({ version, name }) => reason('hole', { version, file: name }))
}

const hash = (text: string) => createHash('sha256').update(text).digest('hex')
