// Runs a release's pending migrations when somebody asks for it, and refuses whenever the outcome could surprise.
import { type Code, type Reason, SlotgateError } from '../errors.ts'
import { type Acceptance, type AdviceOptions, askSlotgate } from './advice.ts'
import { apply, closeAttempts, createTables, type Place, record, underLock } from './attempt.ts'
import { unavailable } from './database.ts'
import type { MigrationFile, Migrations } from './migrations.ts'
import { type Report, readReport, readReportInside } from './report.ts'
import { currentVersion, findProblems, isRunning, partialAttempts, pendingFiles } from './status.ts'

/** The body of `POST /migrations/run`; every field may be left out. */
export interface RunRequest extends Acceptance {
  /** The version to migrate to; the newest file's by default. */
  to?: number
  /** Refuse unless the database is at this version. */
  expected_current?: number
  /** Refuse what would be refused, run nothing. */
  dry_run?: boolean
}

/** The versions before and after, and the files that ran, in order. */
export interface RunResult {
  from: number
  to: number
  applied: string[]
  /** In a dry run: the files that would run. */
  would_apply?: string[]
}

/** What an operator did by hand about a migration that was applied in part. */
export interface ClearRequest {
  version: number
  /** `applied`: the rest was carried out, record it as applied. `undone`: the part was taken back, it may run again. */
  as: 'applied' | 'undone'
}

/**
 * Runs pending migrations up to `to`, each in its own transaction and under the lock, and stops at the first failure.
 *
 * @param place connections that may change the schema, at least two at a time
 * @param advice whether slotgate is asked first, and what holds when it does not answer
 * @throws SlotgateError 409 `migration_running`, `expected_current_mismatch`, `outside_range`, `dirty`, and what slotgate's
 * advice speaks against (see `askSlotgate`); 422 for each problem of
 * the files or the history, and `migration_failed` with `from` and `applied` beside its own facts; 503 as in `readStatus`
 * @see SCHEMA.md §5.5
 */
export async function runMigrations(
  place: Place,
  migrations: Migrations,
  request: RunRequest = {},
  advice: AdviceOptions = {},
): Promise<RunResult> {
  const to = request.to ?? migrations.newest
  const report = await readReport(place.pool)
  if (isRunning(report)) throw new SlotgateError('migration_running')
  refuse(report, migrations, to, request.expected_current)
  const files = pendingFiles(report, migrations.files).filter(({ version }) => version <= to)
  const from = currentVersion(report)
  if (files.length > 0) await askSlotgate(reached(from, files), request, advice)
  if (request.dry_run) return { from, to: reached(from, files), applied: [], would_apply: files.map(nameOf) }
  if (files.length > 0 && !report.prepared) await createTables(place.pool)
  const applied = await applyAll(place, migrations, files, { from, to, expected: request.expected_current })
  return { from, to: reached(from, files), applied }
}

const nameOf = ({ name }: MigrationFile) => name

const reached = (from: number, files: readonly MigrationFile[]) => files.at(-1)?.version ?? from

interface Course {
  from: number
  to: number
  expected: number | undefined
}

/** What others did meanwhile is seen under the lock: a file that somebody else applied is passed over. */
async function applyAll(
  place: Place,
  migrations: Migrations,
  files: MigrationFile[],
  course: Course,
): Promise<string[]> {
  const applied: string[] = []
  let { expected } = course
  for (const file of files) {
    const recheck = (report: Report) => {
      refuse(report, migrations, course.to, expected)
      return !report.applied.some(({ version }) => version === file.version)
    }
    try {
      if (await apply(place, file, recheck)) applied.push(file.name)
    } catch (error) {
      const { code, facts } = unavailable(error)
      throw new SlotgateError(code, { ...facts, from: course.from, applied }, { cause: error })
    }
    if (expected !== undefined) expected = file.version
  }
  return applied
}

/** Throws the first reason not to run; the database comes before the files, so that `dirty` is never hidden. */
function refuse(report: Report, migrations: Migrations, to: number, expected: number | undefined): void {
  const [partial] = partialAttempts(report)
  if (partial) throw new SlotgateError('dirty', { version: partial.version, file: partial.name })
  const problems = findProblems(report, migrations)
  if (problems[0]) throw refusal(problems[0], problems)
  const current = currentVersion(report)
  if (expected !== undefined && expected !== current) {
    throw new SlotgateError('expected_current_mismatch', { current, expected_current: expected })
  }
  const { min, max } = migrations.range
  if (to > max || to > migrations.newest) {
    throw new SlotgateError('outside_range', { min, max, newest: migrations.newest, to })
  }
}

function refusal({ code, sentence: _, hint: __, ...facts }: Reason, problems: Reason[]): SlotgateError {
  return new SlotgateError(code as Code, { ...facts, problems })
}

/**
 * Declares a partly applied migration resolved, after the database was mended by hand.
 *
 * @throws SlotgateError 409 `attempt_not_open` when that version is not applied in part, `migration_running`; 422
 * `applied_not_in_release` when it is to be recorded as applied but this release has no such file
 */
export async function clearAttempt(
  place: Place,
  migrations: Migrations,
  { version, as }: ClearRequest,
): Promise<void> {
  const { prepared } = await readReport(place.pool)
  if (!prepared) throw new SlotgateError('attempt_not_open', { version })
  await underLock(place.pool, async (client) => {
    const report = { ...(await readReportInside(client)), locked: false } // locked, but by this very call
    const attempts = partialAttempts(report).filter((attempt) => attempt.version === version)
    if (attempts.length === 0) throw new SlotgateError('attempt_not_open', { version })
    if (as === 'applied') await record(client, fileOf(migrations, version))
    await closeAttempts(
      client,
      attempts.map(({ id }) => id),
      'cleared',
    )
  })
}

function fileOf({ files }: Migrations, version: number): MigrationFile {
  const file = files.find((candidate) => candidate.version === version)
  if (!file) throw new SlotgateError('applied_not_in_release', { version, applied: version })
  return file
}
