// What a repository is made with, told by its lockfiles: how a checkout is set up there, and how the app is started.
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { basename, join } from 'node:path'
import { judgeServiceName } from '../../config/names.ts'

export interface Stack {
  name: string
  lockfile: string
  setup: readonly string[]
  command: readonly string[]
}

interface Kind {
  name: string
  lockfiles: readonly string[]
  setup(folder: string): string[]
  command(folder: string): string[]
}

/** The first one that is found starts the app; all of them are set up. */
const KINDS: readonly Kind[] = [
  {
    name: 'Bundler',
    lockfiles: ['Gemfile.lock'],
    setup: () => ['bundle', 'install'],
    command: (folder) =>
      has(folder, 'config/puma.rb')
        ? ['bundle', 'exec', 'puma', '-C', 'config/puma.rb']
        : ['bundle', 'exec', 'ruby', oneOf(folder, ['app.rb', 'server.rb', 'main.rb'])],
  },
  {
    name: 'uv',
    lockfiles: ['uv.lock'],
    setup: () => ['uv', 'sync', '--frozen'],
    command: (folder) => [
      'uv',
      'run',
      '--no-sync',
      'python',
      oneOf(folder, ['main.py', 'app.py', 'server.py']),
    ],
  },
  {
    name: 'Go',
    lockfiles: ['go.mod'],
    setup: (folder) => ['go', 'build', '-o', 'bin/app', mainPackage(folder)],
    command: () => ['bin/app'],
  },
  {
    name: 'bun',
    lockfiles: ['bun.lock', 'bun.lockb'],
    setup: () => ['bun', 'install', '--frozen-lockfile'],
    command: (folder) => nodeCommand(folder, 'bun'),
  },
  {
    name: 'npm',
    lockfiles: ['package-lock.json', 'npm-shrinkwrap.json'],
    setup: () => ['npm', 'ci'],
    command: (folder) => nodeCommand(folder, 'npm'),
  },
]

/** @returns what the repository is made with, the one that starts the app first; empty where no lockfile is known */
export function stacksOf(folder: string): Stack[] {
  return KINDS.flatMap(({ name, lockfiles, setup, command }) => {
    const lockfile = lockfiles.find((file) => has(folder, file))
    return lockfile === undefined ? [] : [{ name, lockfile, setup: setup(folder), command: command(folder) }]
  })
}

const has = (folder: string, file: string): boolean => existsSync(join(folder, file))

/** The first that is there; where none is, the first, for somebody to correct. */
const oneOf = (folder: string, files: readonly [string, ...string[]]): string =>
  files.find((file) => has(folder, file)) ?? files[0]

/** Go programs are in the root or, by habit, alone in a folder of cmd/. */
function mainPackage(folder: string): string {
  const commands = has(folder, 'cmd') ? readdirSync(join(folder, 'cmd')) : []
  return commands.length === 1 && !has(folder, 'main.go') ? `./cmd/${commands[0]}` : '.'
}

function nodeCommand(folder: string, runner: 'npm' | 'bun'): string[] {
  const { scripts, main } = packageOf(folder)
  if (scripts.includes('start')) return runner === 'npm' ? ['npm', 'start'] : ['bun', 'run', 'start']
  const file = main ?? oneOf(folder, ['server.ts', 'server.js', 'index.ts', 'index.js'])
  return [runner === 'npm' ? 'node' : 'bun', file]
}

/** What a package.json says that matters here; a broken one says nothing. */
export function packageOf(folder: string): { name?: string; main?: string; scripts: string[] } {
  const text = has(folder, 'package.json') ? readFileSync(join(folder, 'package.json'), 'utf8') : '{}'
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return { scripts: [] }
  }
  if (typeof parsed !== 'object' || parsed === null) return { scripts: [] }
  const { name, main, scripts } = parsed as Record<string, unknown>
  return {
    ...(typeof name === 'string' && { name }),
    ...(typeof main === 'string' && { main }),
    scripts: typeof scripts === 'object' && scripts !== null ? Object.keys(scripts) : [],
  }
}

/** The name of the package or of the folder, as a service may be called. */
export function serviceNameOf(folder: string): string {
  const name = (packageOf(folder).name ?? basename(realpathSync(folder)))
    .replace(/^@[^/]*\//, '')
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 63)
  return judgeServiceName(name) ? 'app' : name
}
