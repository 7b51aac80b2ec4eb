// The journal on disk: append-only, one JSON line per event, each carrying the hash of the line before. What is
// appended is on the disk before the promise resolves; what cannot be written leaves the file as it was.
import * as realDisk from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, SlotgateError } from '../errors.ts'
import { fold, hashLine, type JournalEvent, type JournalRecord, type JournalState } from './record.ts'
import { type Recovered, recover, withoutState } from './recover.ts'
import {
  beside,
  type Disk,
  formerFiles,
  keepUnderNumber,
  nextFile,
  removeIfThere,
  replace,
  syncFolder,
} from './rotate.ts'

/** How many records stay in memory to answer `history`; the files keep all. */
const REMEMBERED = 10_000
/** A file that has grown by this much is full: reading it is most of what a start takes. */
const LONGEST_BYTES = 8 * 1024 * 1024

export interface JournalOptions {
  now?: () => Date
  longestBytes?: number
  disk?: Disk
}

interface Opened extends Required<JournalOptions> {
  file: string
  handle: realDisk.FileHandle
  recovered: Recovered
}

export class Journal {
  readonly file: string
  /** What a torn last line had; said in the log at start. */
  readonly tornBytes: number
  readonly #now: () => Date
  readonly #longestBytes: number
  readonly #disk: Disk
  readonly #state: JournalState
  readonly #records: JournalRecord[]
  #handle: realDisk.FileHandle
  #seq: number
  #prev: string
  #size: number
  /** Of the size, what the file began with. */
  #carriedBytes: number
  /** The file before this one. */
  #former: string | null
  /** Taken, and not told to those who follow yet. */
  #untold: JournalRecord[] = []
  readonly #followers: ((record: JournalRecord) => void)[] = []
  /** Set while the file may hold half a line that could not be taken back. */
  #dirtyTail = false
  /** Set while a power cut could still bring the full file back in place of this one. */
  #dirtyName = false
  #queue: Promise<unknown> = Promise.resolve()

  private constructor({ file, handle, recovered, now, longestBytes, disk }: Opened) {
    this.file = file
    this.tornBytes = recovered.tornBytes
    this.#now = now
    this.#longestBytes = longestBytes
    this.#disk = disk
    this.#state = recovered.state
    this.#records = recovered.records.slice(-REMEMBERED)
    this.#handle = handle
    this.#seq = recovered.seq
    this.#prev = recovered.prev
    this.#size = recovered.size
    this.#carriedBytes = recovered.carriedBytes
    this.#former = recovered.former
  }

  /**
   * Opens or creates a journal and takes its state from it. A torn last line is cut off.
   *
   * @throws SlotgateError `journal_broken`, `state_dir_unusable`
   */
  static async open(
    file: string,
    { now = () => new Date(), longestBytes = LONGEST_BYTES, disk = realDisk }: JournalOptions = {},
  ): Promise<Journal> {
    let handle: realDisk.FileHandle
    try {
      handle = await disk.open(file, 'a+', 0o600)
    } catch (error) {
      throw unusable(file, error)
    }
    try {
      // A device or a pipe may never end.
      if (!(await handle.stat()).isFile()) throw new Error('journal.jsonl is not a file')
      const recovered = recover(await handle.readFile(), file)
      if (recovered.seq === 0) await refuseLoss(disk, file)
      if (recovered.tornBytes > 0) await handle.truncate(recovered.size)
      await removeIfThere(disk, nextFile(file))
      await syncFolder(disk, dirname(file))
      return new Journal({ file, handle, recovered, now, longestBytes, disk })
    } catch (error) {
      await handle.close()
      throw error instanceof SlotgateError ? error : unusable(file, error)
    }
  }

  /** The fold of everything appended so far; it changes in place with each append, so it is read at each use. */
  get state(): JournalState {
    return this.#state
  }

  /** The remembered records, oldest first. */
  get records(): readonly JournalRecord[] {
    return this.#records
  }

  /** The number of the last record; 0 while there is none. */
  get seq(): number {
    return this.#seq
  }

  /** @param told is given each record once it is on the disk, before whoever appended it hears of that */
  follow(told: (record: JournalRecord) => void): void {
    this.#followers.push(told)
  }

  /**
   * The records after this one, oldest first, up to the last one there is when it ends. What is not remembered is read
   * from the files; what somebody has moved away is left out.
   */
  async *after(seq: number): AsyncGenerator<JournalRecord> {
    let last = seq
    while (last < this.#seq) {
      const remembered = this.#records[0]?.seq ?? this.#seq
      if (last + 1 < remembered) {
        for await (const record of this.#filedAfter(last)) {
          // The last line may be of a write that is not over yet.
          if (record.seq <= last || record.seq > this.#seq) continue
          yield record
          last = record.seq
        }
        // What no file had now, none will have at the next look.
        last = Math.max(last, remembered - 1)
      }
      const record = this.#records[last + 1 - (this.#records[0]?.seq ?? 1)]
      if (record) yield record
      last += 1
    }
  }

  async *#filedAfter(seq: number): AsyncGenerator<JournalRecord> {
    // Held open it is the same file, by whatever name it goes when its turn comes.
    const current = await this.#disk.open(this.file, 'r')
    try {
      for (const file of await this.#before(current, seq)) yield* this.#linesOf(file)
      yield* linesIn(current)
    } finally {
      await current.close()
    }
  }

  /** The files before the current one that have records after this one, oldest first. */
  async #before(current: realDisk.FileHandle, seq: number): Promise<string[]> {
    const files: string[] = []
    let first = await firstOf(linesIn(current))
    while (first?.event === 'rotated' && first.seq > seq + 1) {
      const file = beside(this.file, String(first.file))
      first = await firstOf(this.#linesOf(file))
      files.unshift(file)
    }
    return files
  }

  async *#linesOf(file: string): AsyncGenerator<JournalRecord> {
    const handle = await this.#disk.open(file, 'r').catch(() => null)
    if (!handle) return
    try {
      yield* linesIn(handle)
    } finally {
      await handle.close()
    }
  }

  /** Every record there is, newest first; what is not remembered is read from the files, one after the other. */
  async *backwards(): AsyncGenerator<JournalRecord> {
    let oldest = Number.POSITIVE_INFINITY
    for (const record of this.#records.toReversed()) {
      yield record
      oldest = record.seq
    }
    let file: string | null = this.file
    while (file !== null && oldest > 1) {
      const records = await this.#recordsOf(file)
      for (const record of records.toReversed()) {
        if (record.seq >= oldest) continue
        yield record
        oldest = record.seq
      }
      const former: unknown = records[0]?.event === 'rotated' ? records[0].file : null
      file = typeof former === 'string' ? beside(this.file, former) : null
    }
  }

  /** A former file that somebody has moved away is no harm: only looking back ends there. */
  async #recordsOf(file: string): Promise<JournalRecord[]> {
    const text = await this.#disk.readFile(file, 'utf8').catch(() => '')
    return text.split('\n').flatMap(parseWhole)
  }

  /**
   * Appends one event and waits until the disk has it. Calls are carried out one after the other.
   *
   * @throws SlotgateError `journal_write_failed`; then the file and the state are as before
   */
  append(event: JournalEvent): Promise<JournalRecord> {
    const written = this.#queue.then(() => this.#write(event))
    this.#queue = written.catch(() => {})
    return written
  }

  async #write(event: JournalEvent): Promise<JournalRecord> {
    try {
      if (this.#dirtyTail) await this.#cutTail()
      if (this.#dirtyName) await this.#syncName()
      if (!(await this.#isInPlace())) throw new Error('the file was deleted or moved away')
      if (this.#size - this.#carriedBytes >= this.#longestBytes) await this.#rotate()
      const { record, line } = this.#next(event)
      this.#dirtyTail = true
      await this.#handle.appendFile(line)
      await this.#handle.datasync()
      this.#dirtyTail = false
      this.#took(record, line)
      this.#tell()
      return record
    } catch (error) {
      await this.#cutTail().catch(() => {})
      throw new SlotgateError(
        'journal_write_failed',
        { file: this.file, detail: messageOf(error) },
        { cause: error },
      )
    }
  }

  /** What is written to a file that has lost its name is gone with the next start, and with it the pointer. */
  async #isInPlace(): Promise<boolean> {
    const own = await this.#handle.stat()
    const named = await this.#disk.stat(this.file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    return named?.ino === own.ino && named.dev === own.dev
  }

  /** The record that comes next, and its line with the newline. */
  #next(event: JournalEvent): { record: JournalRecord; line: string } {
    const time = this.#now().toISOString()
    const record: JournalRecord = { seq: this.#seq + 1, time, ...event, prev: this.#prev }
    return { record, line: `${JSON.stringify(record)}\n` }
  }

  #took(record: JournalRecord, line: string): void {
    this.#size += Buffer.byteLength(line)
    this.#seq = record.seq
    this.#prev = hashLine(line.slice(0, -1))
    fold(this.#state, record)
    const remembered = withoutState(record)
    this.#untold.push(remembered)
    this.#records.push(remembered)
    if (this.#records.length > REMEMBERED) this.#records.shift()
  }

  /** Whatever was taken is on the disk by now: a rotation too, since its new name is synced before anything else is written. */
  #tell(): void {
    for (const record of this.#untold.splice(0)) for (const told of this.#followers) told(record)
  }

  /** Goes on in a new file. What fails before the rename leaves the full one as it was. */
  async #rotate(): Promise<void> {
    const former = await keepUnderNumber(this.#disk, this.file, this.#former)
    const { record, line } = this.#next({
      event: 'rotated',
      actor: 'slotgate',
      file: former,
      state: this.#state,
    })
    const handle = await replace(this.#disk, this.file, line)
    const full = this.#handle
    this.#handle = handle
    this.#former = former
    this.#size = 0
    this.#took(record, line)
    this.#carriedBytes = this.#size
    this.#dirtyName = true
    await full.close().catch(() => {})
    await this.#syncName()
  }

  async #syncName(): Promise<void> {
    await syncFolder(this.#disk, dirname(this.file))
    this.#dirtyName = false
  }

  /** Takes back what a failed append may have left, or the next line would be glued to half a line. */
  async #cutTail(): Promise<void> {
    await this.#handle.truncate(this.#size)
    await this.#handle.datasync()
    this.#dirtyTail = false
  }

  async close(): Promise<void> {
    await this.#queue
    await this.#handle.close()
  }
}

/** Makes what the system says of the file, or of its folder, a sentence about the folder. */
const unusable = (file: string, error: unknown): SlotgateError =>
  new SlotgateError(
    'state_dir_unusable',
    { state_dir: dirname(file), detail: messageOf(error) },
    { cause: error },
  )

/** A journal that was lost must not be taken for one that never was: the pointer would be lost with it. */
async function refuseLoss(disk: Disk, file: string): Promise<void> {
  const former = await formerFiles(disk, file)
  if (former.length === 0) return
  const detail = `it is empty, and there is ${former.sort().join(', ')} from before`
  throw new SlotgateError('journal_broken', { file, line: 1, detail })
}

/** The records in an open file, from its first line on. */
async function* linesIn(handle: realDisk.FileHandle): AsyncGenerator<JournalRecord> {
  for await (const line of handle.readLines({ start: 0, autoClose: false })) yield* parseWhole(line)
}

async function firstOf(records: AsyncIterable<JournalRecord>): Promise<JournalRecord | null> {
  for await (const record of records) return record
  return null
}

/** For reading back only: a line that is not whole yet is nobody's. */
function parseWhole(line: string): JournalRecord[] {
  try {
    return [withoutState(JSON.parse(line))]
  } catch {
    return []
  }
}
