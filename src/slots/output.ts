// The output of a booted process: a file of its own, so that it outlives slotgate without a broken pipe. Every line goes
// into the log, the last ones are kept for the moment a boot fails, and the file is kept short while it grows.
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { OutputLines, type OutputLinesOptions } from './output-lines.ts'

/** How often the file is looked at, and how much of it is read in one go. */
const LOOK_MS = 50
const CHUNK_BYTES = 256 * 1024
/** What was read is cut off once there is this much of it. */
const SHORT_BYTES = 1024 * 1024
/** An app that writes faster than its lines can be logged loses some, and the disk is not filled. */
const LONGEST_BYTES = 8 * 1024 * 1024
/** How much of what an earlier slotgate had logged is looked at again for the last lines. */
const TAIL_BYTES = 64 * 1024

export interface OutputOptions extends OutputLinesOptions {
  stateDir: string
  /** Names the file: the boot id, or any other id that no other process has. */
  id: string
}

export const outputFolder = (stateDir: string): string => join(stateDir, 'output')

/** Removes the files of every process but these; what wrote to them is gone. */
export function removeOutputs(stateDir: string, keep: ReadonlySet<string>): void {
  const folder = outputFolder(stateDir)
  const names = existing(folder).filter((name) => !keep.has(name.slice(0, name.lastIndexOf('.'))))
  for (const name of names) rmSync(join(folder, name), { force: true })
}

function existing(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

export class Output {
  readonly #file: string
  /** Where the next line to be logged begins; on the disk, so that the next slotgate goes on there. */
  readonly #mark: string
  readonly #onLine: (line: string) => void
  readonly #lines: OutputLines
  #fd: number | null = null
  #at = 0
  #timer: NodeJS.Timeout | undefined

  private constructor({ stateDir, id, mask, onLine }: OutputOptions) {
    this.#file = join(outputFolder(stateDir), `${id}.log`)
    this.#mark = join(outputFolder(stateDir), `${id}.read`)
    this.#onLine = onLine
    this.#lines = new OutputLines({ mask, onLine })
  }

  /**
   * Makes the file and follows it.
   *
   * @returns also a descriptor for the process to write to, which the caller closes; null where a disk that is full
   *   takes no file, which must not keep a release from being booted
   */
  static create(options: OutputOptions): { output: Output; writeFd: number | null } {
    const output = new Output(options)
    let writeFd: number | null = null
    try {
      mkdirSync(outputFolder(options.stateDir), { recursive: true, mode: 0o700 })
      writeFd = openSync(output.#file, 'ax', 0o600)
      output.#fd = openSync(output.#file, 'r+')
      output.#look()
    } catch (error) {
      options.onLine(`its output is lost: ${error}`)
    }
    return { output, writeFd }
  }

  /** Goes on where an earlier slotgate ended; without a file there is nothing to follow. */
  static resume(options: OutputOptions): Output {
    const output = new Output(options)
    try {
      output.#fd = openSync(output.#file, 'r+')
      output.#rememberTail(Number(readFileSync(output.#mark, 'utf8')) || 0)
    } catch {
      // Without the mark everything is logged once more: better twice than never.
    }
    output.#look()
    return output
  }

  /** The last lines, oldest first, up to what was written a moment ago. */
  get lines(): string[] {
    this.#readOn(LONGEST_BYTES)
    return this.#lines.kept
  }

  /** Reads what is left and removes the file: the process is gone. */
  close(): void {
    if (this.#fd === null) return
    clearTimeout(this.#timer)
    this.#readOn(LONGEST_BYTES)
    this.#lines.end()
    closeSync(this.#fd)
    this.#fd = null
    for (const file of [this.#file, this.#mark]) rmSync(file, { force: true })
  }

  /** Stops following, and leaves the file to the next slotgate. */
  letGo(): void {
    clearTimeout(this.#timer)
    if (this.#fd !== null) closeSync(this.#fd)
    this.#fd = null
  }

  #look(): void {
    this.#readOn(CHUNK_BYTES)
    if (this.#fd === null) return
    this.#timer = setTimeout(() => this.#look(), LOOK_MS).unref()
  }

  #rememberTail(mark: number): void {
    const from = Math.max(0, mark - TAIL_BYTES)
    const lines = this.#readAt(from, mark - from)
      .toString('utf8')
      .split('\n')
    this.#lines.remember(lines.slice(from === 0 ? 0 : 1, -1))
    this.#at = mark
  }

  /** Reads at most this many bytes and keeps the file short. A failing disk must not end the front door. */
  #readOn(limit: number): void {
    if (this.#fd === null) return
    try {
      const { size } = fstatSync(this.#fd)
      // Somebody else may have cut it.
      if (size < this.#at) this.#at = 0
      if (size === this.#at) return
      const chunk = this.#readAt(this.#at, Math.min(limit, size - this.#at))
      this.#at += chunk.length
      this.#lines.add(chunk)
      this.#keepShort(this.#fd)
      this.#writeMark()
    } catch (error) {
      this.#onLine(`the output cannot be read: ${error}`)
      this.letGo()
    }
  }

  #writeMark(): void {
    try {
      writeFileSync(this.#mark, String(Math.max(0, this.#at - this.#lines.restBytes)), { mode: 0o600 })
    } catch {
      // On a full disk the next slotgate may log some lines once more.
    }
  }

  #readAt(position: number, length: number): Buffer {
    const chunk = Buffer.allocUnsafe(length)
    return chunk.subarray(0, this.#fd === null ? 0 : readSync(this.#fd, chunk, 0, length, position))
  }

  /** The process appends, so that it goes on at the new end. What it writes between the look and the cut is lost. */
  #keepShort(fd: number): void {
    const { size } = fstatSync(fd)
    const isRead = size === this.#at
    if (!(isRead && size > SHORT_BYTES) && size - this.#at < LONGEST_BYTES) return
    ftruncateSync(fd, 0)
    if (!isRead) this.#onLine(`${size - this.#at} bytes of output were not read: it writes too fast`)
    this.#at = 0
  }
}
