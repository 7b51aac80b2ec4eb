// What switching needs from others, and the state of one service that its steps work on.
import type { ServiceConfig } from '../config/types.ts'
import { otherSlot, type SlotName } from '../contract.ts'
import type { Journal } from '../journal/file.ts'
import type { ServiceState } from '../journal/record.ts'
import { emptyService } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import type { Driver } from '../slots/drivers/driver.ts'
import type { Backend, Occupants } from '../slots/occupants.ts'
import type { ClaimKind, Table } from '../slots/table.ts'
import type { Drains } from './drain.ts'
import type { Lock } from './lock.ts'

/** The front door, as far as a switch concerns it. */
export interface DataPlane {
  /** Resolves when every worker would send new claims of that slot to these addresses. */
  setBackend(service: number, slot: SlotName, backend: Backend | null): Promise<void>
  /** Ends what is still open of these generations; returns how many exchanges that were. */
  cut(service: number, generations: readonly number[], kind: ClaimKind): Promise<number>
  /** Resolves as soon as no claim of these generations is left, or when the signal calls the waiting off. */
  whenDrained(
    service: number,
    generations: readonly number[],
    kind: ClaimKind,
    signal: AbortSignal,
  ): Promise<void>
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
  readonly lock: Lock
  readonly drains: Drains
  readonly log: Logger
  /** Ends background work of the service when slotgate stops. */
  readonly closing: AbortSignal
}

/** What the journal says of the service. */
export const recorded = ({ journal, name }: Service): ServiceState =>
  journal.state.services[name] ?? emptyService()

/**
 * The slot that is not live. While nothing is, the first candidate goes to blue, or where something else runs the
 * slots, to the one that `first` names.
 */
export function idleSlot({ table, index, config }: Service): SlotName {
  const { slot } = table.pointer(index)
  if (slot !== null) return otherSlot(slot)
  return config.slots && config.first === 'green' ? 'green' : 'blue'
}
