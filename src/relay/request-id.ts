// Request ids: unique over all threads and starts, and cheap, since every request gets one. Runs in the
// thread of the exchange.
import { randomBytes } from 'node:crypto'

/** Tells this thread, in this start, from every other. */
const PREFIX = randomBytes(9).toString('base64url')

let count = 0

/** @returns an id that is harmless in a log and in a header; it names a request, and nobody has to be unable to guess it */
export const createRequestId = (): string => `${PREFIX}-${(++count).toString(36)}`
