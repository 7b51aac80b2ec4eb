// Trace context (W3C Trace Context, Level 1): which trace a request belongs to, and its own span in it. Runs in the thread of
// the exchange.
import { randomBytes } from 'node:crypto'

/** Ids in lower-case hex. */
export interface Trace {
  readonly traceId: string
  /** Of this exchange; what the app does for it comes below it. */
  readonly spanId: string
  /** Whoever sent the request; null: the trace begins here. */
  readonly parentId: string | null
  /** Whether it is told to the collector; whoever began the trace decides. */
  readonly sampled: boolean
}

/** Version, trace, parent and flags; of a version to come, what this one knows of it (§3.2.4). */
const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/

const SAMPLED = 0b1

/**
 * @param received every `traceparent` of the request; one that is none, or more than one, counts as none
 * @param share which share of the traces that begin here are sampled
 */
export function traceOf(received: readonly string[], share: number): Trace {
  const spanId = randomBytes(8).toString('hex')
  const [version, traceId, parentId, flags, more] =
    TRACEPARENT.exec(received.length === 1 ? (received[0] ?? '') : '')?.slice(1) ?? []
  if (!traceId || !parentId || (version === '00' && more !== undefined)) {
    const begun = randomBytes(16).toString('hex')
    return { traceId: begun, spanId, parentId: null, sampled: Math.random() < share }
  }
  return { traceId, spanId, parentId, sampled: (Number.parseInt(flags ?? '0', 16) & SAMPLED) !== 0 }
}

/** What the app is told. */
export const traceparentOf = ({ traceId, spanId, sampled }: Trace): string =>
  `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
