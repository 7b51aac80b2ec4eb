// Delivering the app's answer to the client as it comes, and knowing a broken one from a complete one.
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { finished } from 'node:stream/promises'
import type { RelayConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { linger } from './client.ts'
import type { Exchange } from './exchange.ts'
import { responseFields, valuesOf } from './fields.ts'

/** Well below the number from which node:http's parser cuts the list and says nothing (nodejs/node#65010). */
const FIELD_LIMIT = 500

/** What the parser lets pass and no client should get. */
function check({ statusCode = 0, httpVersion, rawHeaders }: IncomingMessage): void {
  const codings = valuesOf(rawHeaders, 'transfer-encoding')
  const chunked =
    codings.length === 0 || (codings.length === 1 && codings[0]?.trim().toLowerCase() === 'chunked')
  const http1 = httpVersion === '1.1' || (httpVersion === '1.0' && codings.length === 0)
  if (statusCode < 200 || !chunked || !http1 || rawHeaders.length / 2 > FIELD_LIMIT)
    throw new SlotgateError('upstream_invalid')
}

/** The reason phrase may hold bytes that node:http refuses to write. */
const phraseOf = ({ statusMessage = '' }: IncomingMessage): string =>
  statusMessage.replace(/[^\t\x20-\x7e\x80-\xff]/g, '')

export const isEventStream = ({ rawHeaders }: IncomingMessage): boolean =>
  /^\s*text\/event-stream\s*(;|$)/i.test(valuesOf(rawHeaders, 'content-type')[0] ?? '')

/**
 * Relays an answer: head, body with back-pressure, end.
 *
 * @throws SlotgateError upstream_invalid before anything was sent; upstream_failed, client_closed or upstream_timeout
 *   in the middle, when the client's connection can only be broken off
 */
export async function deliver(
  exchange: Exchange,
  answer: IncomingMessage,
  config: RelayConfig,
): Promise<void> {
  const { request, response, signal, known } = exchange
  try {
    check(answer)
    known.status = answer.statusCode ?? 0
    const limitMs = known.claim?.kind === 'tunnels' ? config.tunnelIdleMs : config.stallTimeoutMs
    // RFC 9112 §9.3: no lasting connection with an HTTP/1.0 client through a proxy; §9.6: an unread body ends it.
    if (request.httpVersion === '1.0' || !request.complete) response.shouldKeepAlive = false
    const fields = responseFields(answer.rawHeaders, known.status)
    response.writeHead(known.status, phraseOf(answer), fields)
    // Without a length nobody knows when the first byte comes; the head does not wait for it.
    if (valuesOf(fields, 'content-length').length === 0) response.flushHeaders()
    exchange.expect(limitMs, () => (response.writableNeedDrain ? 'client_closed' : 'upstream_timeout'))
    answer.on('data', (chunk: Buffer) => {
      exchange.bytes += chunk.length
      exchange.progress()
    })
    response.on('drain', () => exchange.progress())
    answer.pipe(response, { end: false })
    await once(answer, 'end', { signal })
    if (!request.complete) {
      // The app has answered without the rest of the body, as nginx takes it too.
      answer.socket.destroy()
      await linger(exchange)
    }
    response.end()
    await finished(response, { signal })
  } catch (error) {
    // Fault of http-proxy: it leaves the client hanging when the app's connection breaks in the middle of a body.
    answer.destroy()
    if (signal.aborted) throw signal.reason
    throw error instanceof SlotgateError ? error : new SlotgateError('upstream_failed', {}, { cause: error })
  }
}
