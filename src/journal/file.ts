// The journal on disk: append-only, one JSON line per event, each carrying the hash of the line before. What is
// appended is on the disk before the promise resolves; what cannot be written leaves the file as it was.
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, SlotgateError } from '../errors.ts'
import {
  emptyState,
  FIRST_PREV,
  fold,
  hashLine,
  type JournalEvent,
  type JournalRecord,
  type JournalState,
} from './record.ts'

/** How many records stay in memory to answer `history`; the file keeps all. */
const REMEMBERED = 10_000

interface Recovered {
  state: JournalState
  records: JournalRecord[]
  seq: number
  prev: string
  /** Bytes up to the end of the last whole line. */
  size: number
  /** Bytes of a torn last line that were dropped. */
  tornBytes: number
}

/**
 * Reads a journal's bytes.
 *
 * @throws SlotgateError `journal_broken` with the line's number, where a whole line does not continue the chain
 */
export function recover(bytes: Buffer, file: string): Recovered {
  const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1)
  const lines = whole.length === 0 ? [] : whole.toString('utf8').slice(0, -1).split('\n')
  const recovered: Recovered = {
    state: emptyState(),
    records: [],
    seq: 0,
    prev: FIRST_PREV,
    size: whole.length,
    tornBytes: bytes.length - whole.length,
  }
  for (const line of lines) {
    const record = parseLine(line, recovered, file)
    fold(recovered.state, record)
    recovered.records.push(record)
    recovered.seq = record.seq
    recovered.prev = hashLine(line)
  }
  return recovered
}

function parseLine(line: string, { seq, prev }: Recovered, file: string): JournalRecord {
  const broken = (detail: string) => new SlotgateError('journal_broken', { file, line: seq + 1, detail })
  let record: JournalRecord
  try {
    record = JSON.parse(line)
  } catch {
    throw broken('it is not JSON')
  }
  if (record === null || typeof record !== 'object') throw broken('it is not a record')
  if (record.seq !== seq + 1) throw broken(`its seq is ${record.seq}, not ${seq + 1}`)
  if (record.prev !== prev) throw broken('its hash of the line before does not match')
  return record
}

export class Journal {
  readonly file: string
  /** What a torn last line had; said in the log at start. */
  readonly tornBytes: number
  #handle: FileHandle
  readonly #state: JournalState
  #records: JournalRecord[]
  #seq: number
  #prev: string
  #size: number
  /** Set while the file may hold half a line that could not be taken back. */
  #dirtyTail = false
  #queue: Promise<unknown> = Promise.resolve()
  #now: () => Date

  private constructor(file: string, handle: FileHandle, recovered: Recovered, now: () => Date) {
    this.file = file
    this.tornBytes = recovered.tornBytes
    this.#handle = handle
    this.#state = recovered.state
    this.#records = recovered.records.slice(-REMEMBERED)
    this.#seq = recovered.seq
    this.#prev = recovered.prev
    this.#size = recovered.size
    this.#now = now
  }

  /**
   * Opens or creates a journal and takes its state from it. A torn last line is cut off.
   *
   * @throws SlotgateError `journal_broken`, `state_dir_unusable`
   */
  static async open(file: string, now: () => Date = () => new Date()): Promise<Journal> {
    let handle: FileHandle
    try {
      handle = await open(file, 'a+', 0o600)
    } catch (error) {
      throw new SlotgateError('state_dir_unusable', { state_dir: dirname(file), detail: messageOf(error) })
    }
    try {
      const recovered = recover(await handle.readFile(), file)
      if (recovered.tornBytes > 0) await handle.truncate(recovered.size)
      await syncFolder(dirname(file))
      return new Journal(file, handle, recovered, now)
    } catch (error) {
      await handle.close()
      throw error
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
    const record: JournalRecord = {
      seq: this.#seq + 1,
      time: this.#now().toISOString(),
      ...event,
      prev: this.#prev,
    }
    const line = JSON.stringify(record)
    try {
      if (this.#dirtyTail) await this.#cutTail()
      // What is written to a deleted file is gone with the next start, and with it the pointer.
      if ((await this.#handle.stat()).nlink === 0) throw new Error('the file was deleted')
      this.#dirtyTail = true
      await this.#handle.appendFile(`${line}\n`)
      await this.#handle.datasync()
      this.#dirtyTail = false
    } catch (error) {
      await this.#cutTail().catch(() => {})
      throw new SlotgateError(
        'journal_write_failed',
        { file: this.file, detail: messageOf(error) },
        { cause: error },
      )
    }
    this.#size += Buffer.byteLength(line) + 1
    this.#seq = record.seq
    this.#prev = hashLine(line)
    fold(this.#state, record)
    this.#records.push(record)
    if (this.#records.length > REMEMBERED) this.#records.shift()
    return record
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

/** A new file's name is durable only once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync().catch(() => {})
  await handle.close()
}
