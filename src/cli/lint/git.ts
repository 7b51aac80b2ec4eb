// What git knows of the migrations folder, in few processes: the tip of the base, where this branch left it, the index.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve as absolute, dirname, join, posix } from 'node:path'
import { versionOf } from '../../migration-files.ts'
import { type Call, EXIT, Failure } from '../call.ts'
import type { Base, FileHere, FilesHere, Listing } from './types.ts'

interface Answer {
  /** 0 is well; undefined where git could not be started. */
  exitCode: number | undefined
  stdout: Buffer
  stderr: string
}

/** Runs git in the migrations folder; what it lists is relative to that. */
export type Git = (args: readonly string[], input?: string) => Promise<Answer>

export interface Repository {
  git: Git
  isShallow: boolean
  /** The way from the root of the repository to the folder; empty in the root. */
  prefix: string
}

const MAX_ANSWER_BYTES = 256 * 1024 * 1024

/**
 * @returns undefined where there is no repository
 * @throws Failure where there is one and git does not answer: then a lint without a base would be too little
 */
export async function openRepository(folder: string, env: Call['env']): Promise<Repository | undefined> {
  if (!env.GIT_DIR && !isWithinRepository(folder)) return undefined
  const git = gitIn(folder, environmentIn(process.cwd(), env))
  const { exitCode, stdout, stderr } = await git(['rev-parse', '--is-shallow-repository', '--show-prefix'])
  const [isShallow, prefix = ''] = stdout.toString().split('\n')
  if (exitCode === 0) return { git, isShallow: isShallow === 'true', prefix }
  throw new Failure(EXIT.usage, `git cannot be asked about ${folder}: ${firstLine(stderr)}`, [
    '--base none leaves out the rules that need it.',
  ])
}

/**
 * A hook of a linked worktree is given GIT_DIR, with which git takes the folder it is started in for the root of the work
 * tree. That is true of the hook, and no longer where we start git.
 */
function environmentIn(root: string, env: Call['env']): Call['env'] {
  if (!env.GIT_DIR || env.GIT_WORK_TREE) return env
  return { ...env, GIT_DIR: absolute(root, env.GIT_DIR), GIT_WORK_TREE: root }
}

const gitIn =
  (cwd: string, env: Call['env']): Git =>
  (args, input) =>
    new Promise((resolve) => {
      const options = { cwd, env, encoding: 'buffer', maxBuffer: MAX_ANSWER_BYTES } as const
      const child = execFile('git', args, options, (error, stdout, stderr) => {
        if (error === null) return resolve({ exitCode: 0, stdout, stderr: '' })
        const { code } = error
        const hasRun = typeof code === 'number'
        resolve({ exitCode: hasRun ? code : undefined, stdout, stderr: hasRun ? `${stderr}` : error.message })
      })
      // One that ended early says so by its exit code.
      child.stdin?.on('error', () => {}).end(input)
    })

/** @throws Failure where git fails at what can only fail in a repository that is broken */
async function ask(git: Git, args: readonly string[], input?: string): Promise<Buffer> {
  const { exitCode, stdout, stderr } = await git(args, input)
  if (exitCode === 0) return stdout
  throw new Failure(EXIT.failed, `git ${args[0]} failed: ${firstLine(stderr)}`)
}

const firstLine = (text: string): string => text.split('\n', 1)[0] || 'no reason given.'

function isWithinRepository(folder: string): boolean {
  if (existsSync(join(folder, '.git'))) return true
  const parent = dirname(folder)
  return parent !== folder && isWithinRepository(parent)
}

/** @throws Failure where there is no such branch in this clone */
export async function readBase({ git, isShallow }: Repository, ref: string): Promise<Base> {
  const [tip, commit] = await Promise.all([git(listing(ref)), forkOf(git, ref)])
  if (tip.exitCode !== 0) throw unknownBase(ref)
  const forked = commit === undefined ? undefined : parseTree(await ask(git, listing(commit)))
  const unknown = isShallow ? undefined : new Map<string, string>()
  return { ref, tip: parseTree(tip.stdout), fork: forked ?? unknown }
}

/** The commit where this branch left the base, if it did and this clone knows. */
async function forkOf(git: Git, ref: string): Promise<string | undefined> {
  const { stdout } = await git(['merge-base', ref, 'HEAD'])
  return stdout.toString().trim() || undefined
}

/**
 * Where the base has no migrations in this place, but in one that this branch has not, the folder has moved, and what it
 * holds is no newer for that.
 *
 * @returns the base as it is in its own place of the folder; as it was given where nothing has moved
 */
export async function followMove(
  { git, prefix }: Repository,
  base: Base,
  files: FilesHere,
  isStaged: boolean,
): Promise<Base> {
  const { ref, tip, fork } = base
  if (hasMigrations(tip.keys()) || !hasMigrations(files.keys())) return base
  const by = fork && hasMigrations(fork.keys()) ? 'base' : 'branch'
  const commit = by === 'branch' ? await forkOf(git, ref) : undefined
  const folder = likeliestFolder(await missingHere(git, commit ?? ref, isStaged), files)
  if (folder === undefined) return base
  const list = async (from: string) =>
    parseTree((await git([...listing(`${from}:${folder}`), '--full-tree'])).stdout)
  return {
    ref,
    tip: await list(ref),
    fork: commit === undefined ? fork : await list(commit),
    moved: { there: posix.relative(prefix, folder), by },
  }
}

const hasMigrations = (names: Iterable<string>): boolean =>
  [...names].some((name) => versionOf(name) !== undefined)

/** Scripts of a commit, anywhere in the repository, that are not where they were. */
async function missingHere(git: Git, commit: string, isStaged: boolean): Promise<string[]> {
  const from = isStaged ? ['--cached'] : []
  const how = ['--name-only', '--no-renames', '--no-relative', '--diff-filter=D']
  return records(await ask(git, ['diff', ...from, '-z', ...how, commit, '--', ':(top)*.sql']))
}

/** @returns the folder with the most migrations of the names here; empty: the root; undefined: none has any */
function likeliestFolder(paths: readonly string[], files: FilesHere): string | undefined {
  const alike = paths
    .map((path) => posix.parse(path))
    .filter(({ base }) => versionOf(base) !== undefined && files.has(base))
  const folders = [...Map.groupBy(alike, ({ dir }) => dir)]
  return folders.toSorted(([, some], [, others]) => others.length - some.length)[0]?.[0]
}

const listing = (commit: string): string[] => ['ls-tree', '-z', commit]

function unknownBase(ref: string): Failure {
  const [, remote, branch] = /^([^/]+)\/(.+)$/.exec(ref) ?? []
  return new Failure(EXIT.usage, `There is no ${ref} in this clone to compare with.`, [
    ...(remote ? [`Fetch it: git fetch ${remote} +refs/heads/${branch}:refs/remotes/${ref}`] : []),
    'Or name the branch that this one will be merged into: --base BRANCH. Without one: --base none.',
  ])
}

const records = (stdout: Buffer): string[] => stdout.toString().split('\0').filter(Boolean)

/** `100644 blob 1a2b…` TAB name. */
function parseTree(stdout: Buffer): Listing {
  return new Map(
    records(stdout).map((record) => {
      const [meta = '', name = ''] = record.split('\t')
      return [name, meta.split(' ')[2] ?? '']
    }),
  )
}

/** Whether git leaves the line ends of a script of this folder as they are. */
export async function keepsLineEnds({ git }: Repository, isStaged: boolean): Promise<boolean> {
  const from = isStaged ? ['--cached'] : []
  const stdout = await ask(git, ['check-attr', ...from, '-z', 'eol', 'text', '--', '044_add_notes.sql'])
  const [, , eol, , , text] = records(stdout)
  return eol === 'lf' || text === 'unset'
}

/** The folder as it is in the index, which is what a commit takes. */
export async function readIndex({ git }: Repository): Promise<FilesHere> {
  const stdout = await ask(git, ['ls-files', '--stage', '-z', '--', '.'])
  const entries = records(stdout).map((record) => {
    const [meta = '', path = ''] = record.split('\t')
    const [mode = '', id = ''] = meta.split(' ')
    return { mode, id, path }
  })
  const contents = await readBlobs(git, entries)
  return new Map(
    entries.map(({ mode, id, path }) => {
      const [name = '', ...deeper] = path.split('/')
      const kind = deeper.length > 0 ? 'folder' : mode.startsWith('100') ? 'file' : 'link'
      const file: FileHere = { name, kind, bytes: contents.get(id) ?? Buffer.alloc(0) }
      return [name, file]
    }),
  )
}

/** All contents from one process: a line `id blob size`, the bytes, a newline, and so on. */
async function readBlobs(git: Git, entries: readonly { id: string }[]): Promise<Map<string, Buffer>> {
  const ids = [...new Set(entries.map(({ id }) => id))]
  const stdout = await ask(git, ['cat-file', '--batch'], ids.map((id) => `${id}\n`).join(''))
  const contents = new Map<string, Buffer>()
  for (let at = 0; at < stdout.length; ) {
    const lineEnd = stdout.indexOf('\n', at)
    const [id = '', , size] = stdout.toString('latin1', at, lineEnd).split(' ')
    const start = lineEnd + 1
    const end = start + (Number(size) || 0)
    contents.set(id, stdout.subarray(start, end))
    at = size === undefined ? start : end + 1
  }
  return contents
}
