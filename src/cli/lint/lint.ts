// A lint from end to end: find the folder, read it, read what it is compared with, judge. SCHEMA rules, no SQL, no server.
import { realpathSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { byVersion, checksumOf, formatSums, SUMS, versionOf } from '../../migration-files.ts'
import { type Call, EXIT, Failure } from '../call.ts'
import { quoted } from '../shell.ts'
import { findFolder, readFolder } from './folder.ts'
import { followMove, keepsLineEnds, openRepository, readBase, readIndex } from './git.ts'
import { judge } from './rules.ts'
import type { FilesHere, LintResult } from './types.ts'

export interface LintOptions {
  /** A path from the current folder; without one, the nearest `migrations` on the way up. */
  migrations: string | undefined
  /** A branch, or `none`; without one `origin/main`, and none outside of a repository. */
  base: string | undefined
  /** Look at the index and not at the work tree. */
  staged: boolean
  /** First write `SUMS` from the files. */
  writeSums: boolean
  env: Call['env']
}

const DEFAULT_BASE = 'origin/main'
const NO_BASE = 'none'

/** @throws Failure with exit code 2 where there is nothing to lint, or to compare with */
export async function lint(options: LintOptions): Promise<LintResult> {
  const path = realpathSync(findFolder(options.migrations))
  const wanted = wantedBase(options)
  const repository =
    wanted === NO_BASE && !options.staged ? undefined : await openRepository(path, options.env)
  if (repository === undefined && needsGit(options)) throw notARepository(path)
  if (options.writeSums) writeSums(path)
  const [files, here, areKept] = await Promise.all([
    repository && options.staged ? readIndex(repository) : readFolder(path),
    repository && wanted !== NO_BASE ? readBase(repository, wanted) : undefined,
    repository ? keepsLineEnds(repository, options.staged) : true,
  ])
  const base = repository && here && (await followMove(repository, here, files, options.staged))
  const folder = relative(realpathSync(process.cwd()), path) || '.'
  const findings = judge({
    folder,
    files,
    base,
    keepsLineEnds: areKept,
    writeSums: writeSumsCall(options),
  })
  return {
    ok: findings.every(({ severity }) => severity === 'warning'),
    folder,
    migrations: scriptsOf(files).length,
    base: base?.ref ?? null,
    findings,
  }
}

function wantedBase({ base = DEFAULT_BASE }: LintOptions): string {
  if (base !== '' && !base.startsWith('-')) return base
  throw new Failure(EXIT.usage, `--base takes the name of a branch, not ${base || 'nothing'}.`)
}

const needsGit = ({ base, staged }: LintOptions): boolean =>
  staged || (base !== undefined && base !== NO_BASE)

const notARepository = (path: string): Failure =>
  new Failure(EXIT.usage, `${path} is in no git repository.`, [
    'Without --base and --staged, the rules run that need none.',
  ])

const scriptsOf = (files: FilesHere) =>
  [...files.values()].flatMap(({ name, kind, bytes }) => {
    const version = versionOf(name)
    return version === undefined || kind !== 'file' ? [] : [{ version, name, checksum: checksumOf(bytes) }]
  })

function writeSums(path: string): void {
  writeFileSync(join(path, SUMS), formatSums(scriptsOf(readFolder(path)).sort(byVersion)))
}

function writeSumsCall({ migrations, base }: LintOptions): string {
  const given = Object.entries({ migrations, base }).flatMap(([flag, value]) =>
    value === undefined ? [] : [`--${flag} ${quoted(value)}`],
  )
  return ['slotgate lint --write-sums', ...given].join(' ')
}
