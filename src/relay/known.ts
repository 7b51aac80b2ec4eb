// What is known of an exchange when it is over; its log line is made of it. Runs in the thread of the exchange.
import type { SlotgateError } from '../errors.ts'
import type { Claim } from '../slots/table.ts'
import type { Trace } from './trace.ts'

/** What the log line of an exchange is made of, and what is counted of it. */
export interface Known {
  readonly requestId: string
  /** null: nobody wants to know of traces. */
  readonly trace: Trace | null
  readonly method: string
  readonly target: string
  /** Who the client is, by the trusted proxies' word. */
  readonly client: string
  readonly ageMs: number
  readonly service: string | undefined
  /** Its place in the table; below 0: none was found. */
  readonly serviceIndex: number
  readonly claim: Claim | null
  /** It was for what is in the idle slot; its generation is that of the preview. */
  readonly isPreview: boolean
  readonly release: string | undefined
  readonly status: number
  /** Of the body to the client. */
  readonly bytes: number
  /** From asking the app to the head of its answer; below 0: it was not asked, or did not answer. */
  readonly upstreamMs: number
  /** How long it waited until its service took requests. */
  readonly heldMs: number
  readonly error: SlotgateError | undefined
}
