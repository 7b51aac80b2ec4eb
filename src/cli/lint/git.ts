// What git knows of the migrations folder, in few processes: the tip of the base, where this branch left it, the index.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve as absolute, dirname, join } from 'node:path'
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
}

const MAX_ANSWER_BYTES = 256 * 1024 * 1024

/**
 * @returns undefined where there is no repository
 * @throws Failure where there is one and git does not answer: then a lint without a base would be too little
 */
export async function openRepository(folder: string, env: Call['env']): Promise<Repository | undefined> {
  if (!env.GIT_DIR && !isWithinRepository(folder)) return undefined
  const git = gitIn(folder, environmentIn(process.cwd(), env))
  const { exitCode, stdout, stderr } = await git(['rev-parse', '--is-shallow-repository'])
  if (exitCode === 0) return { git, isShallow: stdout.toString().trim() === 'true' }
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
  const [tip, fork] = await Promise.all([git(listing(ref)), git(['merge-base', ref, 'HEAD'])])
  if (tip.exitCode !== 0) throw unknownBase(ref)
  const commit = fork.stdout.toString().trim()
  const forked = commit === '' ? undefined : parseTree(await ask(git, listing(commit)))
  const unknown = isShallow ? undefined : new Map<string, string>()
  return { ref, tip: parseTree(tip.stdout), fork: forked ?? unknown }
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
