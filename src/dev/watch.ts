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

export interface WatchOptions {
  /** Absolute. */
  folder: string
  /** @param paths of what changed, from the folder, in the order in which it did */
  onChange(paths: readonly string[]): void
  onError(error: unknown): void
}

export interface Watch {
  /** Resolves when everything in the folder is watched; what changes before may go unseen. */
  ready: Promise<void>
  close(): Promise<void>
}

export function watchFolder({ folder, onChange, onError }: WatchOptions): Watch {
  let watcher = open()
  let timer: NodeJS.Timeout | undefined
  let sinceMs = 0
  const changes = new Set<string>()
  /** When what was said to have changed was modified; 0: it cannot be told. */
  const said = new Map<string, number>()
  const looks = new Set<NodeJS.Timeout>()

  function open(): FSWatcher {
    const ignored = new Ignored(folder)
    return watchFiles(folder, {
      cwd: folder,
      ignoreInitial: true,
      // A folder that others may not read is theirs.
      ignorePermissionErrors: true,
      followSymlinks: false,
      // The debounce below does what this would, and sooner.
      atomic: false,
      ignored: (path, stats) => path !== folder && ignored.has(path, stats?.isDirectory() ?? false),
    })
      .on('add', changed)
      .on('change', changed)
      .on('unlink', changed)
      .on('error', onError)
  }

  function changed(path: string): void {
    note(path)
    // Other rules: what was passed over has to be looked at, and the other way round.
    if (isRules(path)) reopen(path)
  }

  function note(path: string): void {
    const nowMs = performance.now()
    if (changes.size === 0) sinceMs = nowMs
    changes.add(path)
    clearTimeout(timer)
    timer = setTimeout(settled, Math.max(0, Math.min(SETTLED_MS, sinceMs + AT_LATEST_MS - nowMs)))
  }

  /** What is saved until everything is watched again goes unseen, so the change counts once more then. */
  function reopen(path: string): void {
    const former = watcher
    watcher = open().once('ready', () => note(path))
    // It takes note of what it watches after it has said that it is there; closed before, it would leave that open.
    setImmediate(() => void former.close())
  }

  function settled(): void {
    const paths = [...changes]
    changes.clear()
    for (const path of paths) said.set(path, modifiedMs(join(folder, path)))
    onChange(paths)
    const look = setTimeout(() => {
      looks.delete(look)
      for (const path of paths) if (modifiedMs(join(folder, path)) !== said.get(path)) changed(path)
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

function modifiedMs(file: string): number {
  try {
    return statSync(file).mtimeMs
  } catch {
    // Gone, or a link to itself, or in a folder that may no longer be read.
    return 0
  }
}
