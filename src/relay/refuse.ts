// slotgate's own answers: a small page or a problem document, or the end of a connection that is past answering.
import type { Socket } from 'node:net'
import { finished } from 'node:stream/promises'
import { SlotgateError, toProblem } from '../errors.ts'
import { linger } from './client.ts'
import type { Exchange } from './exchange.ts'
import { valuesOf } from './fields.ts'

const RETRY_AFTER_S = '2'

/** For `Allow`. */
export const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escapeHtml = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character] ?? '')

const page = (error: SlotgateError, status: number, requestId: string): string => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${status} ${escapeHtml(error.code.replaceAll('_', ' '))}</title>
<style>body{font:1rem/1.5 system-ui;max-width:34rem;margin:20vh auto;padding:0 1rem}small{color:#666}</style>
<h1>${status}</h1><p>${escapeHtml(error.message)}</p><p><small>Request ${escapeHtml(requestId)}</small></p></html>
`

interface Answer {
  status: number
  fields: Record<string, string>
  body: string
}

/**
 * @param accept the client's `Accept`: a page for who names text/html, a problem document for everybody else
 * @returns the answer; it never holds an address, a path of this machine or a cause
 * @see RFC 9457
 */
function answerOf(error: SlotgateError, accept: string, requestId: string): Answer {
  const status = error.entry.status || 500
  const html = /\btext\/html\b/i.test(accept)
  // The hints are for whoever operates this, and who asks here is anybody.
  const { hint: _, ...problem } = toProblem(error)
  const body = html
    ? page(error, status, requestId)
    : `${JSON.stringify({ ...problem, request_id: requestId })}\n`
  return {
    status,
    body,
    fields: {
      'content-type': html ? 'text/html; charset=utf-8' : 'application/problem+json',
      'content-length': String(Buffer.byteLength(body)),
      'cache-control': 'no-store',
      ...(status === 503 && { 'retry-after': RETRY_AFTER_S }),
      ...(status === 405 && { allow: METHODS }),
    },
  }
}

/** Whatever was thrown, as an error of the table. */
export const asSlotgateError = (error: unknown, requestId: string): SlotgateError =>
  error instanceof SlotgateError
    ? error
    : new SlotgateError('internal_error', { detail: 'see the log', request_id: requestId }, { cause: error })

/**
 * Ends a connection in the middle of an answer so that nobody takes the answer for complete (RFC 9112 §8). To
 * HTTP/1.1 it has a length or chunks and is visibly cut off by any end; to HTTP/1.0 it may need a reset.
 */
function breakOff({ request, client }: Exchange): void {
  if (request.httpVersion === '1.1') client.destroy()
  else client.resetAndDestroy()
}

/** Client statuses after which the connection cannot be trusted to be in step, or is of no use. */
const CLOSES = new Set([400, 405, 408, 413, 417, 431, 501, 505])

/** The exit of every failed exchange. */
export async function refuse(exchange: Exchange, thrown: unknown): Promise<void> {
  const { request, response, client, requestId, known } = exchange
  const error = asSlotgateError(thrown, requestId)
  known.error = error
  if (client.destroyed) return
  const unanswerable = error.entry.status === 0 || error.code === 'client_closed'
  if (response.headersSent || unanswerable) return breakOff(exchange)
  const { status, fields, body } = answerOf(error, valuesOf(request.rawHeaders, 'accept').join(), requestId)
  known.status = status
  exchange.bytes = Buffer.byteLength(body)
  if (CLOSES.has(status) || !request.complete) response.shouldKeepAlive = false
  response.writeHead(status, fields)
  response.write(body)
  // After a message that could not be read there is nothing to read on for.
  if (error.code !== 'bad_request') await linger(exchange)
  response.end()
  await finished(response).catch(() => {})
}

/** Answers on a socket that the parser has given up on; there is no request to speak of. */
export function refuseSocket(client: Socket, error: SlotgateError, requestId: string): void {
  if (!client.writable) {
    client.destroy()
    return
  }
  const { status, fields, body } = answerOf(error, '', requestId)
  const head = Object.entries({ ...fields, connection: 'close' }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  )
  client.end(`HTTP/1.1 ${status} ${error.code}\r\n${head.join('')}\r\n${body}`)
}
