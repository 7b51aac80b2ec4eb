// A disk that stands between the journal and the real one: it records every call that changes something, and can fail at
// any of them. From what it recorded, the folder can be made as a power cut at any moment may have left it.
import type { FileHandle } from 'node:fs/promises'
import * as real from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Disk } from '../../src/journal/rotate.ts'

const TEARS = 10

/** What was asked of the disk, in its order. Files are numbers (inodes), as their names move. */
export type Call =
  | { kind: 'create'; file: number; name: string }
  | { kind: 'append'; file: number; bytes: Buffer }
  | { kind: 'truncate'; file: number; size: number }
  | { kind: 'sync'; file: number }
  | { kind: 'link'; from: string; name: string }
  | { kind: 'rename'; from: string; name: string }
  | { kind: 'unlink'; name: string }
  | { kind: 'syncFolder' }

/** What a call that fails had done before: nothing, half of its bytes, or, as some do, all of it. */
export type Failing = { at: number; code: 'ENOSPC' | 'EIO'; done: 'nothing' | 'half' | 'all' }

export class RecordingDisk implements Disk {
  readonly calls: Call[] = []
  #failing: Failing | null = null
  #count = 0

  link: Disk['link'] = (from, to) =>
    this.#act({ kind: 'link', from: nameOf(from), name: nameOf(to) }, () => real.link(from, to))
  rename: Disk['rename'] = (from, to) =>
    this.#act({ kind: 'rename', from: nameOf(from), name: nameOf(to) }, () => real.rename(from, to))
  unlink: Disk['unlink'] = async (path) => {
    // To look for what is not there changes nothing.
    await real.access(path)
    return this.#act({ kind: 'unlink', name: nameOf(path) }, () => real.unlink(path))
  }
  stat = real.stat
  readFile = real.readFile
  readdir = real.readdir

  open: Disk['open'] = async (path, flags, mode) => {
    const handle = await real.open(path, flags, mode)
    const stat = await handle.stat()
    const [isFolder, file] = [stat.isDirectory(), stat.ino]
    if (!isFolder && stat.size === 0) {
      await this.#act({ kind: 'create', file, name: nameOf(path) }, async () => {}).catch(async (error) => {
        await handle.close()
        throw error
      })
    }
    return this.#wrap(handle, file, isFolder)
  }

  /** The next calls, counted from 0, fail at one of them; null: none does. @returns how many calls there were before */
  failAt(failing: Failing | null): number {
    const count = this.#count
    this.#count = 0
    this.#failing = failing
    return count
  }

  async #act<Result>(call: Call, act: () => Promise<Result>, half?: () => Promise<unknown>): Promise<Result> {
    const failing = this.#count++ === this.#failing?.at ? this.#failing : null
    if (failing?.done === 'half') await half?.()
    if (failing && failing.done !== 'all') throw failure(failing.code)
    const result = await act()
    this.calls.push(call)
    if (failing) throw failure(failing.code)
    return result
  }

  #wrap(handle: FileHandle, file: number, isFolder: boolean): FileHandle {
    const append = (bytes: Buffer) =>
      this.#act(
        { kind: 'append', file, bytes },
        () => handle.appendFile(bytes),
        () => handle.appendFile(bytes.subarray(0, bytes.length / 2)),
      )
    const sync = () =>
      this.#act(isFolder ? { kind: 'syncFolder' } : { kind: 'sync', file }, () => handle.sync())
    const wrapped: Partial<FileHandle> = {
      stat: handle.stat.bind(handle),
      readFile: handle.readFile.bind(handle),
      close: () => handle.close(),
      appendFile: (data) => append(Buffer.from(String(data))),
      truncate: (size = 0) => this.#act({ kind: 'truncate', file, size }, () => handle.truncate(size)),
      datasync: sync,
      sync,
    }
    return wrapped as FileHandle
  }
}

const failure = (code: string) => Object.assign(new Error(`${code}: the test says so`), { code })
const nameOf = (path: unknown) => basename(String(path))

/** What a power cut may have left in a folder. */
export type Image = Map<string, Buffer>

interface Content {
  /** On the disk for certain. */
  synced: Buffer
  /** Every state since then that the disk may have reached, newest last. */
  since: Buffer[]
}

/** Names and what they stand for. */
type Names = Map<string, number>

/**
 * Every image that a power cut after these calls may leave: of each file any state since its last sync, the last write also
 * in parts and as zeros; of the names any of the changes since the folder was synced, each made or not.
 */
export function* imagesAfter(calls: readonly Call[]): Generator<Image> {
  const contents = new Map<number, Content>()
  let names: Names = new Map()
  let renamings: ((names: Names) => void)[] = []
  for (const call of calls) {
    if (call.kind === 'create') contents.set(call.file, { synced: Buffer.alloc(0), since: [] })
    if ('file' in call) foldContent(contents, call)
    const renaming = renamingOf(call)
    if (renaming) renamings.push(renaming)
    if (call.kind !== 'syncFolder') continue
    names = named(names, renamings)
    renamings = []
  }
  const seen = new Set<string>()
  for (const made of subsetsOf(renamings)) {
    for (const image of withContents([...named(names, made)], contents)) {
      const key = [...image].map(([name, bytes]) => `${name} ${bytes.toString('base64')}`).join('\n')
      if (!seen.has(key)) yield image
      seen.add(key)
    }
  }
}

function foldContent(contents: Map<number, Content>, call: Call & { file: number }): void {
  const content = contents.get(call.file)
  if (!content) return
  const now = content.since.at(-1) ?? content.synced
  if (call.kind === 'truncate') content.since.push(now.subarray(0, call.size))
  if (call.kind === 'append') {
    for (const part of partsOf(call.bytes)) content.since.push(Buffer.concat([now, part]))
  }
  if (call.kind !== 'sync') return
  content.synced = now
  content.since = []
}

/** Torn after any of some octets, without its beginning, without anything, and whole. */
function partsOf(bytes: Buffer): Buffer[] {
  const { length } = bytes
  const cuts = Array.from({ length: TEARS }, (_, at) => Math.ceil((at / TEARS) * (length - 1)))
  const torn = [...cuts, length - 1].map((cut) => bytes.subarray(0, cut))
  const half = Math.floor(length / 2)
  return [...torn, Buffer.concat([Buffer.alloc(half), bytes.subarray(half)]), Buffer.alloc(length), bytes]
}

function renamingOf(call: Call): ((names: Names) => void) | null {
  if (call.kind === 'create') return (names) => names.set(call.name, call.file)
  if (call.kind === 'unlink') return (names) => names.delete(call.name)
  if (call.kind !== 'link' && call.kind !== 'rename') return null
  return (names) => {
    const file = names.get(call.from)
    if (file === undefined) return
    names.set(call.name, file)
    if (call.kind === 'rename') names.delete(call.from)
  }
}

function named(before: Names, renamings: readonly ((names: Names) => void)[]): Names {
  const names = new Map(before)
  for (const rename of renamings) rename(names)
  return names
}

function* subsetsOf<Item>(items: readonly Item[]): Generator<Item[]> {
  for (let bits = 0; bits < 2 ** items.length; bits++) yield items.filter((_, at) => bits & (1 << at))
}

function* withContents(names: [string, number][], contents: Map<number, Content>): Generator<Image> {
  const [first, ...rest] = names
  if (!first) return yield new Map()
  const [name, file] = first
  const { synced, since } = contents.get(file) ?? { synced: Buffer.alloc(0), since: [] }
  // Two names of one file show the same, but to let them differ only adds images that are worse.
  for (const others of withContents(rest, contents)) {
    for (const bytes of [synced, ...since]) yield new Map([[name, bytes], ...others])
  }
}

/** Makes the folder of an image. */
export async function make(image: Image, folder: string): Promise<void> {
  await real.rm(folder, { recursive: true, force: true })
  await real.mkdir(folder)
  for (const [name, bytes] of image) await real.writeFile(join(folder, name), bytes)
}
