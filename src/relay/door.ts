// One thread's front door: listens, relays, counts its claims in its own cells, cuts and closes what is its own.
// Runs in the main thread or in each worker thread.
import { once } from 'node:events'
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import type { LineSink, Logger } from '../log.ts'
import { listenError } from '../ports.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind, Table } from '../slots/table.ts'
import { Claims } from './claims.ts'
import { createTrust } from './forwarded.ts'
import { createRouter } from './route.ts'
import { createFrontServer } from './server.ts'
import { Upstreams } from './upstream.ts'
import { within } from './within.ts'

export interface DoorOptions {
  relay: RelayConfig
  /** In the order in which the table counts them. */
  services: readonly ServiceConfig[]
  table: Table
  /** Whose claim cells it counts in. */
  worker: number
  log: Logger
  /** Where the log goes, for lines that are built by hand. */
  lines: LineSink
}

/** The front door as one thread has it. */
export interface Door {
  /**
   * @returns the address that is listened on, with the port the system chose where 0 was asked for
   * @throws SlotgateError port_in_use or listen_failed
   */
  listen(at: ListenAddress, options: { reusePort: boolean }): Promise<ListenAddress>
  /** From the next claim of that slot on; null: the slot holds nothing. */
  setBackend(service: number, slot: SlotName, backend: Backend | null): void
  /** Ends what is still open of these generations in this thread; returns how many exchanges that were. */
  cut(service: number, generations: readonly number[], kind: ClaimKind): number
  /** Drops the kept connections to a retired release's addresses. */
  forget(addresses: readonly Address[]): void
  /** No new connections; open exchanges may finish within the time, then they are cut. */
  close(withinMs: number): Promise<void>
}

/** How long exchanges that were cut may take to end. */
const CUT_MS = 2_000

export function createDoor({ relay: config, services, table, worker, log }: DoorOptions): Door {
  const claims = new Claims(table, worker)
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
    async listen({ host, port }, { reusePort }) {
      try {
        server.listen({ host, port, reusePort })
        await once(server, 'listening')
        // Out of file descriptors, for one: that connection is lost, the door stays open.
        server.on('error', (error) => log.error({ err: error }, 'accepting a connection failed'))
      } catch (error) {
        throw await listenError(error, { host, port, what: 'listen, the front door' })
      }
      const address = server.address()
      return { host, port: typeof address === 'object' && address ? address.port : port }
    },
    setBackend: (service, slot, backend) => upstreams.set(service, slot, backend),
    cut: (service, generations, kind) => claims.cut(service, generations, kind),
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
