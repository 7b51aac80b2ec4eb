// Watches a folder, and says once for each save that something in it changed.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type FSWatcher, watch as watchFiles } from 'chokidar'
import { Ignored, isRules } from './ignored.ts'

/** A save is several changes: the file is emptied and written, or written beside and renamed. */
const SETTLED_MS = 15
/** chokidar says nothing more of a file for 50 ms after it has said that it changed; then it is looked at once more. */
const AGAIN_MS = 60
/** What is written to all the time must not hide what is saved meanwhile. */
const AT_LATEST_MS = 1_000

export interface Change {
  /** From the folder. */
  path: string
  /** What happened to it first. */
  kind: 'add' | 'change' | 'unlink'
}

export interface WatchOptions {
  /** Absolute. */
  folder: string
  /** @param changes in the order in which they happened */
  onChange(changes: readonly Change[]): void
  onError(error: unknown): void
  /** All of the folder is looked at, and there is no file that counts. */
  onNothing(): void
}

export interface Watch {
  /** Resolves when everything in the folder is watched; what changes before may go unseen. */
  ready: Promise<void>
  close(): Promise<void>
}

export function watchFolder({ folder, onChange, onError, onNothing }: WatchOptions): Watch {
  let watcher = open()
  let timer: NodeJS.Timeout | undefined
  let sinceMs = 0
  const changes = new Map<string, Change>()
  /** When what was said to have changed was modified; 0: it cannot be told. */
  const said = new Map<string, number>()
  const looks = new Set<NodeJS.Timeout>()

  function open(): FSWatcher {
    const ignored = new Ignored(folder)
    const opened = watchFiles(folder, {
      cwd: folder,
      ignoreInitial: true,
      // A folder that others may not read is theirs.
      ignorePermissionErrors: true,
      followSymlinks: false,
      // The debounce below does what this would, and sooner.
      atomic: false,
      ignored: (path, stats) => path !== folder && ignored.has(path, stats?.isDirectory() ?? false),
    })
    return opened
      .on('add', (path) => changed({ path, kind: 'add' }))
      .on('change', (path) => changed({ path, kind: 'change' }))
      .on('unlink', (path) => changed({ path, kind: 'unlink' }))
      .on('error', onError)
      .once('ready', () => void (isEmpty(opened) && onNothing()))
  }

  function changed(change: Change): void {
    note(change)
    // Other rules: what was passed over has to be looked at, and the other way round.
    if (isRules(change.path)) reopen(change)
  }

  function note(change: Change): void {
    const nowMs = performance.now()
    if (changes.size === 0) sinceMs = nowMs
    if (!changes.has(change.path)) changes.set(change.path, change)
    clearTimeout(timer)
    timer = setTimeout(settled, Math.max(0, Math.min(SETTLED_MS, sinceMs + AT_LATEST_MS - nowMs)))
  }

  /** What is saved until everything is watched again goes unseen, so the change counts once more then. */
  function reopen(change: Change): void {
    const former = watcher
    watcher = open().once('ready', () => note(change))
    // It takes note of what it watches after it has said that it is there; closed before, it would leave that open.
    setImmediate(() => void former.close())
  }

  function settled(): void {
    const batch = [...changes.values()]
    changes.clear()
    for (const { path } of batch) said.set(path, modifiedMs(join(folder, path)))
    onChange(batch)
    const look = setTimeout(() => {
      looks.delete(look)
      for (const { path } of batch)
        if (modifiedMs(join(folder, path)) !== said.get(path)) changed({ path, kind: 'change' })
    }, AGAIN_MS)
    looks.add(look)
  }

  return {
    ready: new Promise((resolve) => watcher.once('ready', () => resolve())),
    async close() {
      for (const one of [timer, ...looks]) clearTimeout(one)
      await watcher.close()
    },
  }
}

/** Whether there is no file but such as say what is ignored. */
function isEmpty(watcher: FSWatcher): boolean {
  const { '..': _above, ...folders } = watcher.getWatched()
  const paths = Object.entries(folders).flatMap(([parent, names]) => names.map((name) => join(parent, name)))
  return paths.every((path) => path in folders || isRules(path))
}

function modifiedMs(file: string): number {
  try {
    return statSync(file).mtimeMs
  } catch {
    // Gone, or a link to itself, or in a folder that may no longer be read.
    return 0
  }
}
