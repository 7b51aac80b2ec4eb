// Where connections go whose next request asks for an upgrade: a node:http server that never listens and reads nothing
// but that one request. Runs in the thread of the connections.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { RelayConfig } from '../../config/types.ts'
import { createServer } from '../../http.ts'
import type { Peer } from '../forwarded.ts'
import type { Front } from '../front.ts'
import { Tunnel } from './tunnel.ts'

export interface Upgrades {
  /** From their upgrade request until they count no more and their client's socket is closed. */
  readonly tunnels: ReadonlySet<Tunnel>
  /** Takes a connection as if nothing had been read from it. */
  take(socket: Socket, unread: Buffer, from: Peer): void
}

const optionsOf = (config: RelayConfig) => ({
  // Pinned: NODE_OPTIONS must not be able to make the parser lenient.
  insecureHTTPParser: false,
  // The head was found good already; this reader must not be the narrower one.
  maxHeaderSize: 2 * config.headLimitBytes,
  requestTimeout: 0,
  headersTimeout: 0,
  connectionsCheckingInterval: 2 ** 30,
  requireHostHeader: false,
  joinDuplicateHeaders: false,
  shouldUpgradeCallback: () => true,
})

/** Lives as long as the door. */
export function createUpgrades(front: () => Front, config: RelayConfig): Upgrades {
  const tunnels = new Set<Tunnel>()
  /** Those whose request is not yet read for the second time. */
  const waiting = new Map<Socket, Tunnel>()
  const server = createServer(optionsOf(config))
  server.maxHeadersCount = 0
  server.on('upgrade', (request: IncomingMessage, _stream: unknown, early: Buffer) => {
    const tunnel = waiting.get(request.socket)
    waiting.delete(request.socket)
    if (!tunnel) return void request.socket.destroy()
    void tunnel.carry(request, early).finally(() => tunnels.delete(tunnel))
  })
  // Neither can come: the request was read before, and it is an upgrade.
  server.on('request', (request) => request.socket.destroy())
  server.on('clientError', (_, socket) => socket.destroy())
  return {
    tunnels,
    take(socket, unread, from) {
      const tunnel = new Tunnel(front(), socket, from)
      tunnels.add(tunnel)
      waiting.set(socket, tunnel)
      socket.once('close', () => {
        if (waiting.delete(socket)) tunnels.delete(tunnel)
      })
      // Nobody half-closes a connection that is about to become a tunnel.
      if (socket.readableEnded) return void socket.destroy()
      socket.unshift(unread)
      server.emit('connection', socket)
      // Its pause was ours, and only we can end it.
      socket.resume()
    },
  }
}
