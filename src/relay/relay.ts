// The front door as the rest of slotgate sees it, whatever its threads are: listen, point a slot at a release, drain,
// close. Main thread.
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { LineSink, Logger } from '../log.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane } from '../switch/data-plane.ts'
import { Counter } from './counter.ts'
import { createDoor } from './door.ts'
import { whenDrained } from './drained.ts'
import { Meter } from './meter.ts'
import type { Pages } from './pages.ts'
import { measure } from './traffic.ts'
import { Workers } from './workers.ts'

/** The front door: the data plane of a switch, and what its owner does with it. */
export interface Relay extends DataPlane {
  /** How many worker threads it has; 0: it is served by the main thread. Known once it listens. */
  readonly threads: number
  /** What all threads have counted. */
  readonly meter: Meter
  /**
   * @returns the address that is listened on, with the port the system chose if the config said 0
   * @throws SlotgateError port_in_use or listen_failed
   */
  listen(): Promise<ListenAddress>
  /** Takes over what a reload has changed of the services. */
  setServices(services: readonly ServiceConfig[]): void
  /** Drops the kept connections to a retired release's addresses. */
  forget(addresses: readonly Address[]): void
  /** No new connections; open exchanges may finish within the time, then they are cut. No thread is left behind. */
  close(withinMs: number): Promise<void>
}

export interface RelayOptions {
  listen: ListenAddress
  /** Worker threads; 0: it is served by the main thread. */
  threads: number
  relay: RelayConfig
  /** In the order in which the table counts them. */
  services: readonly ServiceConfig[]
  /** What passes are made with; null: nothing can be previewed. */
  passSecret?: Uint8Array | null
  /** Laid out for `workersOf(threads)` and for the services and their previews. */
  table: Table
  log: Logger
  /** Takes what spans are made of, a line for each. */
  spans?: LineSink | null
  /** Only where the main thread serves it. */
  pages?: Pages | null
}

/** How many workers count their claims in the table: the main thread is one where there is no other. */
export const workersOf = (threads: number): number => Math.max(1, threads)

export function createRelay(options: RelayOptions): Relay {
  const { threads, table, services, passSecret = null } = options
  const meter = new Meter(table.layout, services.length)
  const doors =
    threads === 0 ? doorOfMainThread(options, meter) : new Workers({ ...options, passSecret, meter })
  return {
    get threads() {
      return doors.threads
    },
    meter,
    listen: () => doors.listen(),
    setBackend: (service, slot, backend) => doors.setBackend(service, slot, backend),
    setServices: (changed) => doors.setServices(changed),
    letIn: (service) => doors.letIn(service),
    begin: (era) => meter.begin(era),
    exchanges: (service, generation) => meter.exchanges(service, generation),
    measure: () => measure(meter, services.length),
    cut: (service, generations, kind) => doors.cut(service, generations, kind),
    whenDrained: (service, generations, kind, signal) =>
      whenDrained(table, service, generations, kind, signal),
    forget: (addresses) => doors.forget(addresses),
    close: (withinMs) => doors.close(withinMs),
  }
}

type Doors = Omit<Relay, 'meter' | 'begin' | 'exchanges' | 'measure' | 'whenDrained'>

function doorOfMainThread(
  { listen, relay, services, passSecret = null, table, log, spans = null, pages = null }: RelayOptions,
  meter: Meter,
): Doors {
  const counter = new Counter(meter.buffer, table.layout, 0)
  const door = createDoor({
    relay,
    services,
    passSecret,
    table,
    worker: 0,
    counter,
    log,
    lines: log.lines,
    spans,
    pages,
  })
  return {
    threads: 0,
    listen: () => door.listen(listen, { reusePort: false }),
    setBackend: async (service, slot, backend) => door.setBackend(service, slot, backend),
    setServices: (changed) => door.setServices(changed),
    letIn: (service) => door.letIn(service),
    cut: async (service, generations, kind) => door.cut(service, generations, kind),
    forget: (addresses) => door.forget(addresses),
    close: (withinMs) => door.close(withinMs),
  }
}
