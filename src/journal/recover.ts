// What a journal's bytes say: its state, its records, and where its chain goes on. No I/O.
import { SlotgateError } from '../errors.ts'
import {
  emptyService,
  emptyState,
  FIRST_PREV,
  fold,
  hashLine,
  type JournalRecord,
  type JournalState,
  type ServiceState,
} from './record.ts'

export interface Recovered {
  state: JournalState
  records: JournalRecord[]
  seq: number
  prev: string
  /** Bytes up to the end of the last whole line. */
  size: number
  /** Bytes of a torn last line that were dropped. */
  tornBytes: number
  /** Bytes of the line that carries the state on from the file before; 0 in the first file. */
  carriedBytes: number
  /** The name of the file before; null in the first file. */
  former: string | null
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
    carriedBytes: 0,
    former: null,
  }
  lines.forEach((line, index) => {
    readLine(
      recovered,
      line,
      (detail) => new SlotgateError('journal_broken', { file, line: index + 1, detail }),
    )
  })
  return recovered
}

function readLine(recovered: Recovered, line: string, broken: (detail: string) => SlotgateError): void {
  const record = parse(line, broken)
  if (recovered.seq === 0 && record.event === 'rotated') carryOn(recovered, record, line, broken)
  else {
    if (record.seq !== recovered.seq + 1) throw broken(`its seq is ${record.seq}, not ${recovered.seq + 1}`)
    if (record.prev !== recovered.prev) throw broken('its hash of the line before does not match')
    fold(recovered.state, record)
  }
  recovered.records.push(withoutState(record))
  recovered.seq = record.seq
  recovered.prev = hashLine(line)
}

/** The first line of a file that another one went before. */
function carryOn(
  recovered: Recovered,
  record: JournalRecord,
  line: string,
  broken: (detail: string) => SlotgateError,
): void {
  const state = carriedState(record.state)
  if (!state || typeof record.file !== 'string')
    throw broken('it does not carry the state of the file before')
  recovered.state = state
  recovered.former = record.file
  recovered.carriedBytes = Buffer.byteLength(line) + 1
}

/** Reads what a `rotated` record carries; null where it is no state. An earlier slotgate may have known of less. */
function carriedState(value: unknown): JournalState | null {
  const { services, open } = (value ?? {}) as Partial<JournalState>
  if (typeof services !== 'object' || services === null) return null
  if (typeof open !== 'object' || open === null) return null
  const whole = (service: Partial<ServiceState>): ServiceState => ({ ...emptyService(), ...service })
  return {
    services: Object.fromEntries(Object.entries(services).map(([name, service]) => [name, whole(service)])),
    open,
  }
}

function parse(line: string, broken: (detail: string) => SlotgateError): JournalRecord {
  let record: JournalRecord
  try {
    record = JSON.parse(line)
  } catch {
    throw broken('it is not JSON')
  }
  if (record === null || typeof record !== 'object') throw broken('it is not a record')
  return record
}

/** What `history` tells of a record: a carried state is as large as all the rest, and says nothing new. */
export function withoutState({ state: _state, ...record }: JournalRecord): JournalRecord {
  return record
}
