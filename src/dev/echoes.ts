// What the app writes itself while it boots: were it a change like any other, the app would be started anew for ever.
import { dirname } from 'node:path'
import type { Change } from './watch.ts'

/** Nobody saves so often while one boot is under way, and an app that writes would never get to serve. */
const MOST_ECHOES = 5

/** Lives as long as the session. */
export class Echoes {
  readonly #tell: (text: string) => void
  /** How often each file has changed since nothing was under way. */
  readonly #times = new Map<string, number>()
  /** How often in a row new files came since then, or some went, and nothing else that had not changed before. */
  #inVain = 0
  /** What the session has seen come. */
  readonly #new = new Set<string>()
  /** Files that change at each boot. */
  readonly #files = new Set<string>()
  /** Folders that get new files at each boot. */
  readonly #folders = new Set<string>()

  /** @param tell is told what is passed over from then on, in sentences */
  constructor(tell: (text: string) => void) {
    this.#tell = tell
  }

  /**
   * @param duringBoot whether they came while something booted, or too soon after it to be somebody's
   * @returns the paths of those that are somebody's, as far as can be told
   */
  sift(changes: readonly Change[], duringBoot: boolean): string[] {
    for (const { path, kind } of changes) if (kind === 'add') this.#new.add(path)
    const isOwn = (change: Change) => this.#isOwn(change, duringBoot)
    const others = changes.filter((change) => !isOwn(change))
    if (!duringBoot) this.#forget()
    else if (others.length > 0) this.#learn(others)
    return others.filter((change) => !isOwn(change)).map(({ path }) => path)
  }

  /** Whoever creates a file may edit it later, while nothing boots. */
  #isOwn(change: Change, duringBoot: boolean): boolean {
    const { path, kind } = change
    if (this.#files.has(path)) return true
    return this.#folders.has(dirname(path)) && this.#comesOrGoes(change) && (duringBoot || kind !== 'change')
  }

  #comesOrGoes({ path, kind }: Change): boolean {
    return kind === 'unlink' || this.#new.has(path)
  }

  #forget(): void {
    this.#times.clear()
    this.#inVain = 0
  }

  #learn(changes: readonly Change[]): void {
    for (const { path } of changes) this.#count(path)
    const first = changes.filter(({ path }) => this.#timesOf(path) === 1)
    if (!first.every((change) => this.#comesOrGoes(change))) this.#inVain = 0
    else if (first.length > 0) this.#inVain += 1
    if (this.#inVain > MOST_ECHOES) this.#passOverNew(first.map(({ path }) => path))
  }

  #timesOf(path: string): number {
    return this.#times.get(path) ?? 0
  }

  #count(path: string): void {
    const times = this.#timesOf(path) + 1
    this.#times.set(path, times)
    if (times <= MOST_ECHOES) return
    this.#files.add(path)
    this.#tell(
      `${path} changes whenever the app boots; from now on it is passed over. If the app writes it, .gitignore is its place.`,
    )
  }

  #passOverNew(paths: readonly string[]): void {
    for (const [folder, [path]] of Map.groupBy(paths, dirname)) {
      this.#folders.add(folder)
      const [where, line] =
        folder === '.' ? ['here', 'a pattern of their names'] : [`in ${folder}/`, `${folder}/`]
      this.#tell(
        `New files come ${where} whenever the app boots, such as ${path}; it was called off ${this.#inVain} times for them. From now on they are passed over; if one is yours, save another file after it. If the app writes them: ${line} in .gitignore.`,
      )
    }
  }
}
