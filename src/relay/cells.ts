// Where the front door's counts are in the SharedArrayBuffer that its threads and the main thread have in common. Each
// cell has one writer, the thread it belongs to, so that nothing waits for a lock.
import { type Code, ERRORS } from '../errors.ts'
import { GENERATION_CELLS, type Layout } from '../slots/table.ts'
import { BUCKETS } from './latency.ts'

/** What an app made of an exchange: it answered, or it failed: a 5xx, no connection, no answer, too late; or it had no say. */
export const OUTCOMES = ['answered', 'failed', 'none'] as const
export type Outcome = (typeof OUTCOMES)[number]

const REGISTERED = '100-103 200-208 226 300-305 307 308 400-418 421-426 428 429 431 451 499 500-508 510 511'

/**
 * The registered status codes, and 499 for a client that went away. Any other is counted by its first digit: what there
 * is to count must not grow with what an app makes up.
 */
export const STATUSES: readonly string[] = [
  ...REGISTERED.split(' ').flatMap((span) => {
    const [from = 0, to = from] = span.split('-').map(Number)
    return Array.from({ length: to - from + 1 }, (_, at) => String(from + at))
  }),
  ...['1xx', '2xx', '3xx', '4xx', '5xx', 'other'],
]

/** Why an exchange can end otherwise than with the app's answer. */
export const CAUSES = (Object.keys(ERRORS) as Code[]).filter(
  (code) => ERRORS[code].stage === 'relay' || code === 'drain_cut' || code === 'internal_error',
)

/** The durations by bucket, and their sum. */
const HISTOGRAM = BUCKETS + 1

/** A block: where its counts of exchanges are, by outcome and status; of causes; and its histograms, in milliseconds. */
export const EXCHANGES = 0
export const ENDS = OUTCOMES.length * STATUSES.length
/** From the head of a request to the end of its answer. */
export const WHOLE = ENDS + CAUSES.length
/** … and to the head of the app's answer. */
export const HEAD = WHOLE + HISTOGRAM
export const BLOCK = HEAD + HISTOGRAM

/** A service has a block for what reached no slot of it, and one for each generation, used in turn as the table's cells are. */
const BLOCKS = 1 + GENERATION_CELLS

/** Behind the services one for what reached none of them, and how late the thread's clock ticked. */
const cellsPerWorker = (services: number): number => (services * BLOCKS + 1) * BLOCK + HISTOGRAM

/** @returns the buffer that each thread opens */
export const createCells = ({ services, workers }: Layout): SharedArrayBuffer =>
  new SharedArrayBuffer(workers * cellsPerWorker(services) * Float64Array.BYTES_PER_ELEMENT)

/** @returns the cells that one worker writes */
export function cellsOf(buffer: SharedArrayBuffer, { services }: Layout, worker: number): Float64Array {
  const length = cellsPerWorker(services)
  return new Float64Array(buffer, worker * length * Float64Array.BYTES_PER_ELEMENT, length)
}

/** Where the block of a generation begins. */
export const blockOf = (service: number, generation: number): number =>
  (service * BLOCKS + 1 + (generation % GENERATION_CELLS)) * BLOCK

/** … and of what reached a service but no slot of it; for the number of services: of what reached none of them. */
export const blockWithout = (service: number): number => service * BLOCKS * BLOCK

export const lateness = ({ length }: Float64Array): number => length - HISTOGRAM
