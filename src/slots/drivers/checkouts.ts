// The checkouts of one service: a work tree for each commit, beside those that run. One that is not marked as complete
// is what an attempt left behind that failed or was interrupted; the next one begins anew.
import { mkdir, readdir, realpath, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf, SlotgateError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { isCommitHash, resolveCommit } from './commits.ts'
import { type Git, gitIn } from './git-command.ts'
import { linkShared, type SharedOptions } from './shared.ts'
import type { Source } from './source.ts'

export interface CheckoutsOptions {
  service: string
  repo: string
  /** How long git may take for one. */
  checkoutWithinMs: number
  /** How many complete ones stay, the newest first, besides those that are needed. */
  keep: number
  shared: readonly string[]
  stateDir: string
  log: Logger
}

/** Beside the checkout, and not in git's own folder for it: a release starts again also while its repository is away. */
const COMPLETE = '.complete'

export class Checkouts implements Source {
  readonly hasOwnFolders = true
  readonly #options: CheckoutsOptions
  readonly #git: Git
  readonly #home: string
  readonly #shared: SharedOptions
  /** What boots or runs now, and each that does. */
  readonly #held = new Map<string, Set<symbol>>()
  /** What is under way with a checkout; the next waits for it. */
  readonly #queues = new Map<string, Promise<unknown>>()
  #closed = false

  constructor(options: CheckoutsOptions) {
    const { repo, stateDir, service, shared } = options
    this.#options = options
    this.#git = gitIn(repo, stateDir)
    this.#home = join(stateDir, 'releases', service)
    this.#shared = { home: join(stateDir, 'shared', service), paths: shared }
  }

  /** What is checked out is known by its hash without the repository, which may be away, or not have it any more. */
  async identify(name: string): Promise<string> {
    if (isCommitHash(name) && (await this.#isComplete(name))) return name
    return resolveCommit(this.#git, name, this.#options.repo)
  }

  async prepare(
    release: string,
    setUp: (folder: string) => Promise<void>,
    signal: AbortSignal,
  ): Promise<string> {
    // The journal may know releases from before the config said `driver: git`.
    if (!isCommitHash(release)) {
      throw new SlotgateError('unknown_release', { release, detail: 'it is not a commit' })
    }
    return this.#alone(release, async () => {
      const folder = this.#folderOf(release)
      if (!(await this.#isComplete(release))) {
        await this.#orFail(release, async () => {
          await this.#checkOut(release, signal)
          await linkShared(this.#git, release, folder, this.#shared)
        })
        await setUp(folder)
      }
      await this.#orFail(release, () => this.#markComplete(release))
      return folder
    })
  }

  /** While it is held, a checkout is not removed. @returns what lets it go */
  hold(release: string): () => void {
    const holders = this.#held.get(release) ?? new Set()
    const holder = Symbol(release)
    this.#held.set(release, holders.add(holder))
    return () => holders.delete(holder)
  }

  #isHeld(release: string): boolean {
    return (this.#held.get(release)?.size ?? 0) > 0
  }

  /**
   * Removes, of what is not needed, what is incomplete, and of the complete ones all but the newest. What cannot be removed is
   * told, and tried again the next time.
   */
  async tidy(needed: ReadonlySet<string>): Promise<void> {
    try {
      const all = await this.#list()
      if (all === null) return
      const complete = all.filter(({ since }) => since > 0).toSorted((a, b) => b.since - a.since)
      const incomplete = all.filter(({ since }) => since === 0)
      const spare = [...incomplete, ...complete.slice(this.#options.keep)]
      for (const { release } of spare) if (!needed.has(release)) await this.#removeUnlessHeld(release)
    } catch (error) {
      const { service, log } = this.#options
      log.warn({ service, err: error }, `old checkouts were not removed: ${messageOf(error)}`)
    }
  }

  /** Removes nothing more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#queues.values())
  }

  /** One after the other for each commit. */
  #alone<Result>(release: string, work: () => Promise<Result>): Promise<Result> {
    const before = this.#queues.get(release) ?? Promise.resolve()
    const result = before.then(work, work)
    const ended = result
      .catch(() => {})
      .then(() => {
        if (this.#queues.get(release) === ended) this.#queues.delete(release)
      })
    this.#queues.set(release, ended)
    return result
  }

  #folderOf(release: string): string {
    return join(this.#home, release)
  }

  async #checkOut(release: string, signal: AbortSignal): Promise<void> {
    // Before anything is removed: what is there may be all there is, while the repository is away.
    await resolveCommit(this.#git, release, this.#options.repo)
    await this.#remove(release)
    await mkdir(this.#home, { recursive: true, mode: 0o700 })
    const folder = this.#folderOf(release)
    // Forced twice: what a crash left of it may still be known, and locked.
    const add = ['worktree', 'add', '--quiet', '--force', '--force', '--detach', folder, release]
    const { checkoutWithinMs } = this.#options
    const late = AbortSignal.timeout(checkoutWithinMs)
    const { ok, stderr } = await this.#git(add, AbortSignal.any([signal, late]))
    if (signal.aborted && signal.reason instanceof SlotgateError) throw signal.reason
    if (ok) return
    const why = late.aborted ? [`it was not done within ${checkoutWithinMs} ms`] : []
    throw this.#failed(release, [...why, ...stderr.split('\n')].filter(Boolean).join('; '))
  }

  /** Makes what the system says of a disk that is full, or not ours, a sentence about the checkout. */
  async #orFail(release: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      throw error instanceof SlotgateError ? error : this.#failed(release, messageOf(error))
    }
  }

  #failed(release: string, detail: string): SlotgateError {
    return new SlotgateError('checkout_failed', { release, repo: this.#options.repo, detail })
  }

  #markOf(release: string): string {
    return this.#folderOf(release) + COMPLETE
  }

  /** @returns when it was last made or booted, in milliseconds; 0 where it is not complete, or was removed by hand */
  async #completeSince(release: string): Promise<number> {
    const found = await Promise.all([this.#markOf(release), this.#folderOf(release)].map(statOrNull))
    return found.every((one) => one !== null) ? (found[0]?.mtimeMs ?? 0) : 0
  }

  async #isComplete(release: string): Promise<boolean> {
    return (await this.#completeSince(release)) > 0
  }

  async #markComplete(release: string): Promise<void> {
    const mark = this.#markOf(release)
    const now = new Date()
    await utimes(mark, now, now).catch(() => writeFile(mark, ''))
  }

  /** Every checkout that is on the disk or that git knows of; null where the repository is away right now. */
  async #list(): Promise<{ release: string; since: number }[] | null> {
    const known = await this.#known()
    if (known === null) return null
    const names = new Set([...(await readdir(this.#home).catch(() => [])), ...known])
    const releases = [...names].filter(isCommitHash)
    return Promise.all(
      releases.map(async (release) => ({ release, since: await this.#completeSince(release) })),
    )
  }

  /** Also those whose folder was removed by hand: git would keep what it knows of them. */
  async #known(): Promise<string[] | null> {
    const home = await realpath(this.#home).catch(() => this.#home)
    const { ok, stdout } = await this.#git(['worktree', 'list', '--porcelain'])
    if (!ok) return null
    return stdout
      .split('\n')
      .filter((line) => dirname(line) === `worktree ${home}`)
      .map((line) => line.slice(`worktree ${home}/`.length))
  }

  async #removeUnlessHeld(release: string): Promise<void> {
    await this.#alone(release, async () => {
      if (this.#closed || this.#isHeld(release)) return
      await this.#remove(release)
      const { service, log } = this.#options
      log.info({ service, release }, `removed the checkout of ${release}`)
    })
  }

  async #remove(release: string): Promise<void> {
    const folder = this.#folderOf(release)
    // First, or a removal that is interrupted would leave half a checkout that counts as whole.
    await rm(this.#markOf(release), { force: true })
    await rm(folder, { recursive: true, force: true })
    // And not `worktree prune`, which would forget the work trees of others whose disk is not there right now.
    await this.#git(['worktree', 'remove', '--force', '--force', folder])
  }
}

const statOrNull = (path: string) => stat(path).catch(() => null)
