// An upgraded connection: checked before it is joined, idle together, closed together.
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RelayConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import type { Reply } from './ask.ts'
import type { Exchange } from './exchange.ts'
import { listOf, switchFields, valuesOf } from './fields.ts'

/** When one side has closed its half, the other has so long between two bytes. */
const HALF_CLOSED_MS = 10_000

/** How long what was written last may take to leave, once a tunnel is over. */
const FLUSH_MS = 1_000

/** The switch must be to what the client asked for, and by an app that speaks it (RFC 6455 §4.2.2). */
function check({ statusCode, rawHeaders }: IncomingMessage): void {
  const protocols = listOf(rawHeaders, 'upgrade')
  const agreed =
    protocols.length === 1 &&
    protocols[0] === 'websocket' &&
    listOf(rawHeaders, 'connection').includes('upgrade')
  const accepted = valuesOf(rawHeaders, 'sec-websocket-accept').length === 1
  if (statusCode !== 101 || !agreed || !accepted) throw new SlotgateError('upstream_invalid')
}

/** Sends what is written, then a FIN, then no longer waits. */
function closeSoon(socket: Socket): void {
  if (socket.destroyed) return
  socket.destroySoon()
  setTimeout(() => socket.destroy(), FLUSH_MS).unref()
}

/** Whatever ends one side ends the other; a reset is passed on at once. */
function bind(one: Socket, other: Socket): void {
  one.once('error', () => other.destroy())
  one.once('close', () => closeSoon(other))
}

const closed = (socket: Socket): Promise<unknown> | undefined =>
  socket.closed ? undefined : once(socket, 'close')

/**
 * Carries a tunnel until both of its sockets are closed. Bytes are not looked at.
 *
 * @throws SlotgateError upstream_invalid if the app switched to something else; nothing was sent to the client then
 * @see HTTP.md §4.1
 */
export async function carry(
  exchange: Exchange,
  { answer, socket: app, join }: Extract<Reply, { kind: 'switch' }>,
  config: RelayConfig,
): Promise<void> {
  const { client, response, signal, known } = exchange
  try {
    if (!exchange.early) throw new SlotgateError('upstream_invalid')
    check(answer)
  } catch (error) {
    app.destroy()
    throw error
  }
  known.status = 101
  response.detachSocket(client)
  bind(client, app)
  bind(app, client)
  const idle = (withinMs: number) => exchange.expect(withinMs, () => 'tunnel_idle', { within_ms: withinMs })
  idle(config.tunnelIdleMs)
  answer.headers = switchFields(answer.rawHeaders)
  join()
  for (const socket of [client, app]) {
    socket.on('data', () => exchange.progress())
    socket.once('end', () => idle(HALF_CLOSED_MS))
  }
  app.on('data', (chunk: Buffer) => {
    exchange.bytes += chunk.length
  })
  signal.addEventListener('abort', () => [client, app].forEach(closeSoon), { once: true })
  await Promise.all([closed(client), closed(app)])
  signal.throwIfAborted()
}
