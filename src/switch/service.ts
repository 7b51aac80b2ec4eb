// One service, as the steps of a switch see it.
import type { ServiceConfig } from '../config/types.ts'
import { otherSlot, type SlotName } from '../contract.ts'
import type { Journal } from '../journal/file.ts'
import { type ServiceState, stateOf } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import type { Driver, Instance } from '../slots/drivers/driver.ts'
import type { Occupants } from '../slots/occupants.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane, ExchangeCounts } from './data-plane.ts'
import type { Drains } from './drain.ts'
import type { Feed } from './feed.ts'
import type { Lock } from './lock.ts'
import type { Pause } from './pause.ts'
import type { Preview } from './preview.ts'

/** What came before the live release was up after a start of slotgate; nobody holds that against the release. */
export interface Early {
  readonly generation: number
  counts(): ExchangeCounts
}

/** One service and everything that a switch of it may touch. */
export interface Service {
  /** Its place in the table. */
  readonly index: number
  readonly name: string
  readonly config: ServiceConfig
  readonly table: Table
  readonly driver: Driver
  readonly occupants: Occupants
  readonly dataPlane: DataPlane
  readonly journal: Journal
  readonly feed: Feed
  readonly lock: Lock
  readonly drains: Drains
  readonly pause: Pause
  /** null: nobody may see what is in the idle slot. */
  readonly preview: Preview | null
  readonly log: Logger
  /** Ends background work of the service when slotgate stops. */
  readonly closing: AbortSignal
  /** Absent where the live release was up from the start. */
  early?: Early
}

/** What the journal says of the service. */
export const recorded = ({ journal, name }: Service): ServiceState => stateOf(journal.state, name)

/**
 * The slot that is not live. While nothing is, the first candidate goes to blue, or where something else runs the
 * slots, to the one that `first` names.
 */
export function idleSlot({ table, index, config }: Service): SlotName {
  const { slot } = table.pointer(index)
  if (slot !== null) return otherSlot(slot)
  return config.slots && config.first === 'green' ? 'green' : 'blue'
}

/**
 * What a rollback could go to, newest first: any release that was live before, or, where none of them can be booted
 * again, the one that still runs.
 */
export function rollbackTargets(service: Service): string[] {
  const { previous } = recorded(service)
  if (service.driver.bootsEarlier) return previous
  const running = service.occupants.get(idleSlot(service))?.instance?.release
  return previous.filter((release) => release === running)
}

/** What runs in the idle slot, if a rollback could go to it; it can be asked itself whether it fits. */
export function formerRunning(service: Service): Instance | null {
  const instance = service.occupants.get(idleSlot(service))?.instance
  return instance && rollbackTargets(service).includes(instance.release) ? instance : null
}
