// A git repository with an origin, a branch in it, and somebody in front of it who lints and types what they are told.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import root, { type Test } from 'tap'
import type { Finding, LintResult } from '../../src/cli/lint/types.ts'
import { COMPILED } from '../support/compiled.ts'
import { type Ended, newFolder, run } from './terminal.ts'

/** Paths from the root of the repository to contents; null: the file is deleted. */
export type Changes = Record<string, string | Buffer | null>

const bin = join(import.meta.dirname, '..', '..', 'src', 'bin.ts')

const script = (number: number): string => String(number).padStart(3, '0')

/** Scripts 001 to `newest`, in the folder `migrations`. */
export const scripts = (newest: number): Changes =>
  Object.fromEntries(
    Array.from({ length: newest }, (_, index) => [
      `migrations/${script(index + 1)}_step.sql`,
      `SELECT ${index + 1};\n`,
    ]),
  )

/** What `sha256sum` prints of the scripts. */
const sumsOf = (files: Changes): string =>
  Object.entries(files)
    .filter(([path, content]) => path.endsWith('.sql') && content !== null)
    .map(([path, content]) => {
      const checksum = createHash('sha256')
        .update(content ?? '')
        .digest('hex')
      return `${checksum}  ${path.replace('migrations/', '')}\n`
    })
    .join('')

/** The files with all that a lint wants to see beside them. */
export const sealed = (files: Changes, min: number, max: number): Changes => ({
  '.gitattributes': '* text=auto eol=lf\n',
  ...files,
  'migrations/compat.json': `{"min": ${min}, "max": ${max}}\n`,
  'migrations/SUMS': sumsOf(files),
})

/** A good main: scripts 001 to `newest`, sealed. */
export const good = (newest: number): Changes => sealed(scripts(newest), newest, newest)

/** Work trees by what is on their main: many tests begin alike, and a copy costs less than git. */
const begun = new Map<string, string>()

export class Repository {
  readonly folder: string
  readonly env: Record<string, string>
  readonly #home: string

  /** @param main what is on origin/main; the branch `agent`, in the work tree, begins there */
  constructor(t: Test, main: Changes, { objects = 'sha1' } = {}) {
    this.#home = realpathSync(newFolder(t))
    this.folder = join(this.#home, 'work')
    this.env = this.#environment()
    const beginning = JSON.stringify({ main, objects })
    const alike = begun.get(beginning)
    if (alike !== undefined) {
      cpSync(alike, this.folder, { recursive: true })
      return
    }
    mkdirSync(this.folder)
    this.git('init', '--quiet', '--template=', `--object-format=${objects}`, '--initial-branch=main')
    this.commit(main)
    this.git('update-ref', 'refs/remotes/origin/main', 'HEAD')
    this.git('checkout', '--quiet', '-b', 'agent')
    const copy = newFolder(root)
    cpSync(this.folder, copy, { recursive: true })
    begun.set(beginning, copy)
  }

  /** @returns the URL of an origin that has what this clone has */
  publish(): string {
    const origin = join(this.#home, 'origin.git')
    const url = `file://${origin}`
    this.git('clone', '--quiet', '--bare', '--template=', '.', origin)
    this.git('remote', 'add', 'origin', url)
    return url
  }

  /** Nobody's own settings, and a `slotgate` on the path. */
  #environment(): Record<string, string> {
    const tools = join(this.#home, 'tools')
    mkdirSync(tools)
    writeFileSync(join(tools, 'slotgate'), `#!/bin/sh\nexec '${process.execPath}' '${bin}' "$@"\n`)
    chmodSync(join(tools, 'slotgate'), 0o755)
    const who = Object.fromEntries(
      ['AUTHOR', 'COMMITTER'].flatMap((role) => [
        [`GIT_${role}_NAME`, 'Ada'],
        [`GIT_${role}_EMAIL`, 'ada@example.org'],
      ]),
    )
    const quiet = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' }
    // Each commit would start another git that looks whether there is something to tidy up.
    const untidied = {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: 'maintenance.auto',
      GIT_CONFIG_VALUE_0: 'false',
    }
    return {
      PATH: `${tools}:${process.env.PATH}`,
      HOME: this.#home,
      ...who,
      ...quiet,
      ...untidied,
      ...COMPILED,
    }
  }

  write(changes: Changes): void {
    for (const [path, content] of Object.entries(changes)) {
      const file = join(this.folder, path)
      rmSync(file, { force: true })
      if (content === null) continue
      mkdirSync(dirname(file), { recursive: true })
      writeFileSync(file, content)
    }
  }

  commit(changes: Changes): void {
    this.write(changes)
    this.git('add', '--all')
    this.git('commit', '--quiet', '--allow-empty', '--message', 'a change')
  }

  /** Somebody else's commit is on origin/main, and this clone has heard of it. */
  commitOnMain(changes: Changes): void {
    this.git('checkout', '--quiet', 'main')
    this.commit(changes)
    this.git('update-ref', 'refs/remotes/origin/main', 'HEAD')
    this.git('checkout', '--quiet', 'agent')
  }

  git(...args: string[]): string {
    return this.type('git', args)
  }

  /** Types a command line into a shell in the work tree. */
  shell(line: string): string {
    return this.type('sh', ['-c', line])
  }

  /** Does what a finding says; a lint by itself needs no process, and may end with what is left to mend. */
  async follow({ remedy }: Finding): Promise<void> {
    // Without the condition under which it should be done.
    const command = remedy.replace(/^If [^:]+: /, '')
    const [, flags] = /^slotgate lint((?: --[a-z-]+)*)$/.exec(command) ?? []
    if (flags === undefined) {
      this.shell(command)
      return
    }
    const { code, stderr } = await this.lint(flags.split(' ').filter(Boolean))
    if (code > 1) throw new Error(`${command} ended with ${code}: ${stderr}`)
  }

  type(command: string, args: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd: this.folder,
      env: this.env,
      encoding: 'utf8',
    })
    if (status === 0) return stdout
    throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stdout}${stderr}`)
  }

  /** `slotgate lint`, called in the root of the work tree or below it. */
  async lint(argv: readonly string[] = [], from = '.'): Promise<Ended> {
    const before = process.cwd()
    process.chdir(join(this.folder, from))
    try {
      return await run(['lint', ...argv], { env: this.env })
    } finally {
      process.chdir(before)
    }
  }

  async result(argv: readonly string[] = [], from = '.'): Promise<LintResult> {
    return JSON.parse((await this.lint([...argv, '--json'], from)).stdout)
  }

  async findings(argv: readonly string[] = [], from = '.'): Promise<Finding[]> {
    return (await this.result(argv, from)).findings
  }
}
