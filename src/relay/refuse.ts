// slotgate's own answers: a small page or a problem document. Pure.

import { SlotgateError, toProblem } from '../errors.ts'
import { STATUS_CODES } from '../http.ts'
import { dateField } from './http1/outgoing.ts'
import { previewField } from './mark.ts'
import { fieldLine, type Notice } from './pages.ts'
import type { Route } from './route.ts'

const RETRY_AFTER_S = '2'

/** For `Allow`. */
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

/** To an `OPTIONS` that goes no further. */
export const localAnswer = (): string => `HTTP/1.1 204 No Content\r\n${dateField()}Allow: ${METHODS}\r\n`

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '')

/** For whoever has not written one. */
const PAGE = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{status} {title}</title>
<style>body{font:1rem/1.5 system-ui;max-width:34rem;margin:20vh auto;padding:0 1rem}small{color:#666}</style>
<h1>{status}</h1><p>{sentence}</p><p><small>Request {request_id}</small></p></html>
`

/** The page of the service for this code, or else for its status. What else stands in braces there is its own. */
function pageOf({ code, message }: SlotgateError, status: number, { requestId, route }: Refused): string {
  const own = route?.service.errorPages ?? {}
  const facts: Record<string, string> = {
    code,
    status: String(status),
    title: code.replaceAll('_', ' '),
    sentence: message,
    request_id: requestId,
  }
  return (own[code] ?? own[status] ?? PAGE).replace(
    /\{(code|status|title|sentence|request_id)\}/g,
    (_, name) => escapeHtml(facts[name] ?? ''),
  )
}

/** Whose request it is that is refused. */
export interface Refused {
  /** The client's `Accept`: a page for who names text/html, a problem document for everybody else. */
  readonly accept: string
  readonly requestId: string
  /** null: its service was not found yet. */
  readonly route: Route | null
  /** Whose release it would have been for; absent: of none. */
  readonly release: string | undefined
}

export interface Answer {
  status: number
  /** Status line and fields, each with its line end; the connection's own are missing. */
  head: string
  body: string
}

/**
 * @param notice what a page says while the app is developed
 * @returns the answer; it never holds an address, a path of this machine or a cause
 * @see RFC 9457
 */
export function answerTo(error: SlotgateError, refused: Refused, notice: Notice | null = null): Answer {
  const status = error.entry.status || 500
  const html = /\btext\/html\b/i.test(refused.accept)
  // The hints are for whoever operates this, and who asks here is anybody.
  const { hint: _, ...problem } = toProblem(error)
  const body = html
    ? pageOf(error, status, refused) + (notice?.appendix ?? '')
    : `${JSON.stringify({ ...problem, request_id: refused.requestId })}\n`
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    `Content-Type: ${html ? 'text/html; charset=utf-8' : 'application/problem+json'}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    ...(status === 503 ? [`Retry-After: ${RETRY_AFTER_S}`] : []),
    ...(status === 405 ? [`Allow: ${METHODS}`] : []),
  ]
  const preview = refused.route?.isPreview && refused.release ? previewField(refused.release) : ''
  const told = preview + (notice === null ? '' : fieldLine(notice.field))
  return { status, body, head: `${lines.join('\r\n')}\r\n${dateField()}${told}` }
}

const PAUSED = 'paused\n'

/** To a health check while a service is paused: a load balancer must not take that for an outage. */
export const pausedAnswer = (): Answer => ({
  status: 200,
  head: `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${PAUSED.length}\r\nCache-Control: no-store\r\n${dateField()}`,
  body: PAUSED,
})

/** To the script of a page that is developed. */
export const jsonAnswer = (body: string): Answer => ({
  status: 200,
  head: `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nCache-Control: no-store\r\n${dateField()}`,
  body,
})

/** Whatever was thrown, as an error of the table. */
export const asSlotgateError = (error: unknown, requestId: string): SlotgateError =>
  error instanceof SlotgateError
    ? error
    : new SlotgateError('internal_error', { detail: 'see the log', request_id: requestId }, { cause: error })

const REFUSED = new Set(['ECONNREFUSED', 'ENOENT', 'EACCES', 'EHOSTUNREACH', 'ENETUNREACH'])

/** Why an app gave no answer, by the code of its connection's error. */
export function upstreamFailure(code: string, cause: unknown): SlotgateError {
  if (REFUSED.has(code)) return new SlotgateError('upstream_refused', {}, { cause })
  return new SlotgateError(code.startsWith('HPE_') ? 'upstream_invalid' : 'upstream_failed', {}, { cause })
}

/** Client statuses after which the connection cannot be trusted to be in step, or is of no use. */
export const CLOSES: ReadonlySet<number> = new Set([400, 405, 408, 413, 414, 417, 431, 501, 505, 508])
