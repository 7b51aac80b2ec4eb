// Screening a response's head: is it one that may be relayed, and how its body ends. Pure.
import type { Framing } from './body.ts'
import { type HeadReader, Malformed } from './head.ts'
import { numberOf } from './names.ts'
import { declaredFraming } from './request.ts'

const UNTIL_CLOSE: Framing = { kind: 'close' }
const NO_BODY: Framing = { kind: 'none' }

/** What an app has said of its answer. */
export interface Response {
  /** How the body ends on the connection to the app. */
  readonly framing: Framing
  /** What the client is told of it: to HEAD and in a 304 the length of a body that does not come. */
  readonly declared: Framing
}

const hasNoBody = (method: string, status: number): boolean =>
  method === 'HEAD' || status === 204 || status === 304

/**
 * @param method of the request that it answers
 * @throws Malformed if where it ends cannot be told for certain, or if it is no final response
 * @see RFC 9112 §6.3, RFC 9110 §8.6
 */
export function screenResponse(head: HeadReader, method: string): Response {
  if (head.status < 200) throw new Malformed('its status is not that of an answer')
  const declared = declaredFraming(head)
  if (hasNoBody(method, head.status)) {
    // RFC 9110 §8.6: no length in a 204; RFC 9112 §6.1: and no coding either.
    const told = head.status !== 204 && declared?.kind === 'length' ? declared : NO_BODY
    return { framing: NO_BODY, declared: told }
  }
  const framing = declared ?? UNTIL_CLOSE
  return { framing, declared: framing }
}

const CONTENT_TYPE = numberOf('content-type')
const EVENT_STREAM = 'text/event-stream'

export function isEventStream(head: HeadReader): boolean {
  const first = head.first(CONTENT_TYPE)
  if (first < 0 || head.valueEnd(first) - head.valueStart(first) < EVENT_STREAM.length) return false
  const [type = ''] = head.value(first).split(';', 1)
  return type.trimEnd().toLowerCase() === EVENT_STREAM
}
