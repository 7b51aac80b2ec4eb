// The audit log of the admin door: one line per decision.
import type { Logger } from '../log.ts'

/** One decision. What was done afterwards, and to which generation it led, is in the journal under the same key id. */
export interface AuditLine {
  decision: 'accepted' | 'refused' | 'replayed'
  /** The operation id of the route; null if none was reached. */
  action: string | null
  /** As claimed, where the signature was not accepted. */
  key_id: string | null
  peer: string
  request_id: string
  method: string
  /** The request target, cut to a few hundred characters. */
  target: string
  /** The Content-Digest as sent. */
  digest: string | null
  code?: string
  /** Why; the caller is told less. */
  reason?: string
}

/** Refusals cost the caller nothing, so only this many a second are written. */
const REFUSED_PER_SECOND = 20

/**
 * @param write for tests and other logs; by default a line of the log
 * @returns a function that writes a decision; refusals beyond the limit are counted and told with the next one written
 */
export function createAudit(
  log: Logger,
  now: () => number,
  write: (line: AuditLine & { suppressed?: number }) => void = (line) => writeTo(log, line),
): (line: AuditLine) => void {
  let second = 0
  let written = 0
  let suppressed = 0
  return (line) => {
    if (line.decision === 'accepted') return write(line)
    const present = Math.floor(now() / 1000)
    if (present !== second) {
      second = present
      written = 0
    }
    if (++written > REFUSED_PER_SECOND) {
      suppressed++
      return
    }
    write(suppressed > 0 ? { ...line, suppressed } : line)
    suppressed = 0
  }
}

function writeTo(log: Logger, line: AuditLine): void {
  if (line.decision === 'accepted') log.info({ audit: true, ...line }, 'admin call accepted')
  else log.warn({ audit: true, ...line }, `admin call ${line.decision}`)
}
