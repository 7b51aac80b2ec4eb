// The front door as the rest of slotgate sees it: listen, point a slot at a release, drain, close. Main thread.
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { Logger } from '../log.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane } from '../switch/data-plane.ts'
import { createDoor } from './door.ts'
import { whenDrained } from './drained.ts'

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

export interface RelayOptions {
  listen: ListenAddress
  relay: RelayConfig
  /** In the order in which the table counts them. */
  services: readonly ServiceConfig[]
  table: Table
  log: Logger
}

/** The only door's claims are those of worker 0. */
const WORKER = 0

export function createRelay({ listen, relay, services, table, log }: RelayOptions): Relay {
  const door = createDoor({ relay, services, table, worker: WORKER, log, lines: log.lines })
  return {
    listen: () => door.listen(listen, { reusePort: false }),
    setBackend: async (service, slot, backend) => door.setBackend(service, slot, backend),
    cut: async (service, generations, kind) => door.cut(service, generations, kind),
    whenDrained: (service, generations, kind, signal) =>
      whenDrained(table, service, generations, kind, signal),
    forget: (addresses) => door.forget(addresses),
    close: (withinMs) => door.close(withinMs),
  }
}
