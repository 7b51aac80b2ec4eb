// A git repository for one test: commits that hold a release of the fixture app, made as a person makes them.
import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Manners } from './world.ts'

const run = promisify(execFile)

const SETTINGS = [
  ...['-c', 'user.name=Test', '-c', 'user.email=test@example.com', '-c', 'commit.gpgsign=false'],
  // Each commit would start another git that looks whether there is something to tidy up.
  ...['-c', 'maintenance.auto=false'],
]

export class Repository {
  readonly folder: string
  #commits = 0

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(folder: string): Promise<Repository> {
    const repository = new Repository(folder)
    await mkdir(folder, { recursive: true })
    await repository.git('init', '--quiet', '--template=', '--initial-branch=main')
    return repository
  }

  async git(...args: string[]): Promise<string> {
    const { stdout } = await run('git', ['-C', this.folder, ...SETTINGS, ...args])
    return stdout.trim()
  }

  /** Makes many commits on a branch of their own, at once, and returns their hashes. */
  async commitMany(count: number, branch: string): Promise<string[]> {
    const commits = Array.from({ length: count }, (_, number) => {
      const message = String(number)
      return `commit refs/heads/${branch}\ncommitter Test <test@example.com> 0 +0000\ndata ${message.length}\n${message}\n`
    })
    const imported = run('git', ['-C', this.folder, 'fast-import', '--quiet'])
    imported.child.stdin?.end(commits.join(''))
    await imported
    return (await this.git('rev-list', branch)).split('\n')
  }

  async write(path: string, content: string): Promise<void> {
    const file = join(this.folder, path)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
  }

  /** Commits a release with these manners and files to the branch `main`, and returns its hash. */
  async commit(manners: Manners, files: Record<string, string> = {}): Promise<string> {
    this.#commits += 1
    const all = { 'release.json': JSON.stringify(manners), count: String(this.#commits), ...files }
    for (const [path, content] of Object.entries(all)) await this.write(path, content)
    await this.git('add', '--all')
    await this.git('commit', '--quiet', '--message', `release ${this.#commits}`)
    return (await readFile(join(this.folder, '.git/refs/heads/main'), 'utf8')).trim()
  }
}
