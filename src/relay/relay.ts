// The front door as the rest of slotgate sees it: listen, point a slot at a release, drain, close. Main thread.
import { once } from 'node:events'
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { Logger } from '../log.ts'
import { listenError } from '../ports.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane } from '../switch/data-plane.ts'
import { Claims } from './claims.ts'
import { createTrust } from './forwarded.ts'
import { createRouter } from './route.ts'
import { createFrontServer } from './server.ts'
import { Upstreams } from './upstream.ts'
import { within } from './within.ts'

/** The front door: the data plane of a switch, and what its owner does with it. */
export interface Relay extends DataPlane {
  /**
   * @returns the address that is listened on, with the port the system chose if the config said 0
   * @throws SlotgateError port_in_use or listen_failed
   */
  listen(): Promise<ListenAddress>
  /** Drops the kept connections to a retired release's addresses. */
  forget(addresses: readonly Address[]): void
  /** No new connections; open exchanges may finish within the time, then they are cut. */
  close(withinMs: number): Promise<void>
}

/** How long exchanges that were cut may take to end. */
const CUT_MS = 2_000

export interface RelayOptions {
  listen: ListenAddress
  relay: RelayConfig
  /** In the order in which the table counts them. */
  services: readonly ServiceConfig[]
  table: Table
  log: Logger
}

export function createRelay({ listen, relay: config, services, table, log }: RelayOptions): Relay {
  const claims = new Claims(table)
  const upstreams = new Upstreams(config.upstreamIdleMs)
  let closing = false
  const server = createFrontServer(
    {
      config,
      route: createRouter(services),
      isTrusted: createTrust(config.trustedProxies),
      claims,
      upstreams,
      log,
    },
    () => closing,
  )

  return {
    async listen() {
      try {
        server.listen(listen.port, listen.host)
        await once(server, 'listening')
        // Out of file descriptors, for one: that connection is lost, the door stays open.
        server.on('error', (error) => log.error({ err: error }, 'accepting a connection failed'))
      } catch (error) {
        throw await listenError(error, { ...listen, what: 'listen, the front door' })
      }
      const address = server.address()
      return { host: listen.host, port: typeof address === 'object' && address ? address.port : listen.port }
    },
    async setBackend(service, slot, backend) {
      upstreams.set(service, slot, backend)
    },
    async cut(service, generations, kind) {
      return claims.cut(service, generations, kind)
    },
    whenDrained: (service, generations, kind, signal) =>
      claims.whenDrained(service, generations, kind, signal),
    forget: (addresses) => upstreams.forget(addresses),
    async close(withinMs) {
      closing = true
      // Answers that have not begun say `Connection: close`; idle connections are closed by `server.close`.
      for (const { response } of claims.open) if (!response.headersSent) response.shouldKeepAlive = false
      const closed = server.listening ? once(server, 'close') : undefined
      server.close()
      await within(withinMs, (signal) => claims.whenEmpty(signal))
      for (const exchange of claims.open) exchange.abandon('drain_cut')
      // Each has its exit now; what is still open is a connection without a request.
      await within(CUT_MS, (signal) => claims.whenEmpty(signal))
      server.closeAllConnections()
      upstreams.close()
      await closed
    },
  }
}
