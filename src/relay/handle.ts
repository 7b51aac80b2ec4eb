// A request's journey, told from top to bottom. Each step returns or throws; what is thrown becomes the answer.
import { finished } from 'node:stream/promises'
import type { RelayConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { logExchange } from './access.ts'
import { ask, type Reply } from './ask.ts'
import type { Claims } from './claims.ts'
import { deliver, isEventStream } from './deliver.ts'
import type { Exchange } from './exchange.ts'
import { type RequestFields, requestFields, valuesOf } from './fields.ts'
import { clientOf, plainAddress, type Trust } from './forwarded.ts'
import { METHODS, refuse } from './refuse.ts'
import type { Route } from './route.ts'
import { type Head, screen } from './screen.ts'
import { carry } from './tunnel.ts'
import type { App, Upstreams } from './upstream.ts'

/** What every journey needs; made once. */
export interface Front {
  config: RelayConfig
  route: (head: Head) => Route
  isTrusted: Trust
  claims: Claims
  upstreams: Upstreams
  log: Logger
}

/**
 * Takes one request from its head to its last byte, in both directions. Never throws.
 *
 * @param exchange its head was read; nothing was answered
 */
export async function handle(exchange: Exchange, front: Front): Promise<void> {
  front.claims.begin(exchange)
  try {
    exchange.signal.throwIfAborted()
    const head = screen(exchange.request, front.config)
    if (head.local) return await answerLocally(exchange)
    const { index, service } = front.route(head)
    exchange.known.service = service.name
    const app = claim(exchange, index, front)
    const reply = await forward(exchange, head, app, front)
    if (reply.kind === 'switch' || isEventStream(reply.answer)) front.claims.toTunnel(exchange)
    if (reply.kind === 'switch') await carry(exchange, reply, front.config)
    else await deliver(exchange, reply.answer, front.config)
  } catch (error) {
    await refuse(exchange, error)
  } finally {
    settle(exchange, front)
  }
}

/** The final recipient of an `OPTIONS` that is not to go further is the front door itself. */
async function answerLocally({ response, known }: Exchange): Promise<void> {
  known.status = 204
  response.writeHead(204, { allow: METHODS }).end()
  await finished(response)
}

/** From here on the exchange counts in the slot that was live at this moment, whatever is switched meanwhile. */
function claim(exchange: Exchange, service: number, { claims, upstreams }: Front): App {
  const { known } = exchange
  if (!claims.claim(exchange, service) || !known.claim) throw new SlotgateError('nothing_live')
  const app = upstreams.pick(known.claim)
  known.release = app.release
  return app
}

function forward(exchange: Exchange, head: Head, app: App, front: Front): Promise<Reply> {
  const fields = fieldsFor(exchange, head, front)
  if (head.awaitsContinue) exchange.response.writeContinue()
  return ask(exchange, head, app, fields, front.config)
}

function fieldsFor(exchange: Exchange, head: Head, { config, isTrusted }: Front): RequestFields {
  const { request, client, requestId, known } = exchange
  const peer = plainAddress(client.remoteAddress ?? '')
  known.client = clientOf(peer, valuesOf(request.rawHeaders, 'x-forwarded-for'), isTrusted)
  return requestFields(request.rawHeaders, {
    ...head,
    upgrade: exchange.early !== null,
    requestId,
    peer,
    trusted: isTrusted(peer),
    forwarded: config.forwarded,
  })
}

/** The only place where an exchange ends: its claim is given back, whoever waits for a drain is told. */
function settle(exchange: Exchange, { claims, log }: Front): void {
  exchange.stopTimer()
  claims.end(exchange)
  logExchange(log, exchange)
}
