// How a client leaves: still sending, half closed, or gone without a word.
import { once } from 'node:events'
import type { RelayConfig } from '../config/types.ts'
import type { Exchange } from './exchange.ts'
import { within } from './within.ts'

/** How long a client that is still sending may go on after the whole answer was written. */
const LINGER_MS = 1_000

/**
 * Reads on while the client sends a body that nobody wants, so that closing does not reset the connection before the
 * client has read the answer (RFC 9112 §9.6); not for ever.
 */
export async function linger(exchange: Exchange): Promise<void> {
  const { request, response } = exchange
  if (request.complete) return
  exchange.stopTimer()
  response.shouldKeepAlive = false
  request.unpipe()
  request.resume()
  await within(LINGER_MS, (signal) => once(request, 'close', { signal })).catch(() => {})
}

/** After a client has closed its half in the middle of an answer, an app that is silent for so long has lost it. */
const GONE_MS = 50

/**
 * What a client's FIN means. Most clients are gone; a few have only said all they had to say (RFC 9112 §9.5), and
 * from here the two look the same until something is sent.
 */
export function clientEnded(exchange: Exchange, { stallTimeoutMs }: RelayConfig): void {
  const { request, response, known } = exchange
  if (exchange.early) {
    // Nobody half-closes a connection that is about to become a tunnel.
    if (known.status !== 101) exchange.abandon('client_closed')
    return
  }
  if (!request.complete || response.writableEnded) return
  if (!response.headersSent) {
    exchange.halfClosed = true
    if (request.httpVersion === '1.1') probe(exchange, FIRST_PROBE_MS)
  } else if (known.claim?.kind === 'tunnels') {
    exchange.abandon('client_closed')
  } else if (!exchange.halfClosed) {
    exchange.expect(GONE_MS, () => {
      if (!response.writableNeedDrain) return 'client_closed'
      // The app is not silent, the client is slow: the next write that arrives tells whether it is there.
      exchange.expect(stallTimeoutMs, () => 'client_closed')
    })
  }
}

const FIRST_PROBE_MS = 10

/**
 * Sends interim answers, which every client must be able to read (RFC 9110 §15.2); 100, because some know no other.
 * The machine of a client that is gone answers the first with a reset, and the second finds that out; the exchange
 * then ends as any aborted one.
 */
function probe(exchange: Exchange, againMs: number): void {
  const { response, signal } = exchange
  if (response.headersSent || signal.aborted) return
  response.writeContinue()
  setTimeout(() => probe(exchange, againMs * 2), againMs).unref()
}
