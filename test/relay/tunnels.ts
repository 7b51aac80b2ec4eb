// Helpers of the tests about upgrades: an upgrade request as octets, the answer that switches, and both ends of a tunnel.
import { WebSocketServer } from 'ws'
import {
  type App,
  type Bench,
  collect,
  dial,
  type Options,
  type RawApp,
  type Scope,
  startApp,
  startRawApp,
  startRelay,
  type Wire,
} from './support.ts'

export const UPGRADE =
  'GET /ws?a=b HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nOrigin: http://a.test\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
export const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'

export interface Ends {
  bench: Bench
  backend: RawApp
  client: Wire
  /** The app's side of the connection that the request came on. */
  app: Wire
}

/** A relay, a client that sent these bytes, and the app's side of it, which said nothing yet. */
export async function begin(t: Scope, sent = UPGRADE, part: Options['relay'] = {}): Promise<Ends> {
  const bench = await startRelay(t, { relay: part })
  const asked = Promise.withResolvers<Wire>()
  const backend = await startRawApp(t, (socket) => {
    socket.allowHalfOpen = true
    const wire = collect(socket)
    socket.once('data', () => asked.resolve(wire))
  })
  await bench.promote(backend.address)
  const client = dial(t, bench.port, sent)
  return { bench, backend, client, app: await asked.promise }
}

/** The same with an app that has switched. */
export async function open(t: Scope, part: Options['relay'] = {}): Promise<Ends> {
  const ends = await begin(t, UPGRADE, part)
  ends.app.socket.write(SWITCHED)
  await ends.client.until((text) => text.endsWith('\r\n\r\n'))
  return ends
}

export interface Echo extends App {
  /** With which code each WebSocket ended that has. */
  codes: number[]
}

/** An app on `ws` that echoes; it answers plain requests, except for `/slow`. */
export async function startEcho(t: Scope): Promise<Echo> {
  const app = await startApp(t, (request, response) => {
    if (request.url !== '/slow') response.end('done')
  })
  const codes: number[] = []
  const server = new WebSocketServer({ server: app.server })
  server.on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }))
    socket.on('close', (code) => codes.push(code))
  })
  return { ...app, codes }
}
