// One thread's front door: listens, relays, counts its claims in its own cells, cuts and closes what is its own.
// Runs in the main thread or in each worker thread.
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import type { LineSink, Logger } from '../log.ts'
import { listenError } from '../ports.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind, Table } from '../slots/table.ts'
import { Admission } from './admission.ts'
import { Clock } from './clock.ts'
import type { Counter } from './counter.ts'
import { createTrust } from './forwarded.ts'
import type { Front } from './front.ts'
import { Buffers } from './http1/buffers.ts'
import { ClientConnection } from './http1/client.ts'
import { HeadReader } from './http1/head.ts'
import type { Journey } from './journey.ts'
import type { Pages } from './pages.ts'
import { Passes } from './preview.ts'
import { createRouter } from './route.ts'
import { until } from './until.ts'
import { createUpgrades } from './upgrade/server.ts'
import { Upstreams } from './upstream.ts'
import { WaitingRoom } from './waiting.ts'

export interface DoorOptions {
  relay: RelayConfig
  /** In the order in which the table counts them. */
  services: readonly ServiceConfig[]
  /** What passes are made with; null: nothing can be previewed. */
  passSecret: Uint8Array | null
  table: Table
  /** Whose claim cells it counts in. */
  worker: number
  counter: Counter
  log: Logger
  /** Where the log goes, for lines that are built by hand. */
  lines: LineSink
  /** Takes what spans are made of. */
  spans?: LineSink | null
  /** Absent: pages are told nothing. */
  pages?: Pages | null
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
  /** Takes over what a reload has changed of the services, for requests from now on. */
  setServices(services: readonly ServiceConfig[]): void
  /** Lets in who waits for this service, if it takes requests. */
  letIn(service: number): void
  /** Ends what is still open of these generations in this thread, tunnels one after the other; returns how many. */
  cut(service: number, generations: readonly number[], kind: ClaimKind): number
  /** Drops the kept connections to a retired release's addresses. */
  forget(addresses: readonly Address[]): void
  /** No new connections; open exchanges may finish within the time, then they are cut. */
  close(withinMs: number): Promise<void>
}

/** How long exchanges that were cut may take to end. */
const CUT_MS = 2_000

/** Tunnels are cut one after the other, since each of their clients will come back at once. */
const CUT_APART_MS = 5
const CUT_ALL_MS = 2_000

const limitsOf = (config: RelayConfig, services: readonly ServiceConfig[]): number[] => [
  ...services.flatMap(({ hold, limits }) => [hold.withinMs, limits.upstreamTimeoutMs ?? hold.withinMs]),
  config.headTimeoutMs,
  config.keepAliveTimeoutMs,
  config.stallTimeoutMs,
  config.connectTimeoutMs,
  config.upstreamTimeoutMs,
  config.upstreamIdleMs,
]

function cutApart(tunnels: readonly Journey[]): void {
  const apartMs = Math.min(CUT_APART_MS, CUT_ALL_MS / tunnels.length)
  for (const [at, tunnel] of tunnels.entries()) {
    if (at === 0) tunnel.cut()
    else setTimeout(() => tunnel.isSettled || tunnel.cut(), at * apartMs).unref()
  }
}

/** How much may wait to be written to a client before its app is no longer read. */
const WRITE_AHEAD_BYTES = 16 * 1024

export function createDoor({
  relay: config,
  services,
  passSecret,
  table,
  worker,
  counter,
  log,
  lines,
  spans = null,
  pages = null,
}: DoorOptions): Door {
  const clients = new Set<ClientConnection>()
  const clock = new Clock(limitsOf(config, services), tick)
  const buffers = new Buffers()
  const upstreams = new Upstreams({
    idleMs: config.upstreamIdleMs,
    reuse: config.upstreamReuse,
    headLimitBytes: config.headLimitBytes,
    buffers,
    nowMs: () => clock.nowMs,
  })
  const waiting = new WaitingRoom(table, worker)
  const upgrades = createUpgrades(() => front, config)
  let route = createRouter(services, config)
  let closing = false
  const front: Front = {
    config,
    route: (request) => route(request),
    passes: passSecret && new Passes(passSecret, table),
    isTrusted: createTrust(config.trustedProxies),
    table,
    worker,
    upstreams,
    waiting,
    heads: new HeadReader(config),
    buffers,
    clock,
    counter,
    log,
    lines,
    spans,
    pages,
    isClosing: () => closing,
    admits: (socket, address) => admission.admitsClient(socket, address),
    upgrade: (socket, unread, from) => upgrades.take(socket, unread, from),
  }
  const admission = new Admission(front)
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, highWaterMark: WRITE_AHEAD_BYTES },
    (socket: Socket) => {
      if (admission.admitsPeer(socket)) clients.add(new ClientConnection(socket, front, left))
    },
  )

  const left = (client: ClientConnection): void => void clients.delete(client)

  function tick(nowMs: number, lateMs: number): void {
    counter.late(lateMs)
    upstreams.tick(clock.nowMs)
    for (const client of clients) client.tick(nowMs)
  }

  const open = (): Journey[] => [
    ...[...clients].flatMap(({ exchange }) => exchange ?? []),
    ...upgrades.tunnels,
  ]
  const isEmpty = () => clients.size === 0 && upgrades.tunnels.size === 0

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
    setServices(changed) {
      route = createRouter(changed, config)
    },
    letIn: (service) => waiting.letIn(service),
    cut(service, generations, kind) {
      const cut = open().filter((one) => one.isOf(service, generations, kind))
      if (kind === 'tunnels') cutApart(cut)
      else for (const one of cut) one.cut()
      return cut.length
    },
    forget: (addresses) => upstreams.forget(addresses),
    async close(withinMs) {
      closing = true
      const closed = server.listening ? once(server, 'close') : undefined
      server.close()
      for (const client of clients) client.closeIdle()
      waiting.close()
      await until(isEmpty, withinMs)
      for (const one of open()) one.cut()
      await until(isEmpty, CUT_MS)
      for (const client of clients) client.destroy()
      clock.stop()
      upstreams.close()
      await closed
    },
  }
}
