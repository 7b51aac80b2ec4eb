// What becomes of a release that lost its place: it finishes what it still answers, bounded, then stays up or ends.
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { SlotName } from '../contract.ts'
import type { Occupant } from '../slots/occupants.ts'
import type { Service } from './service.ts'
import { tidy } from './tidy.ts'

/** After a flip: drains the occupant that is no longer live; it stays up as the quickest way back unless told not to. */
export async function leaveBehind(service: Service, occupant: Occupant, slot: SlotName): Promise<void> {
  const { drains, config, lock, table, index, occupants, preview } = service
  // What is going to end is not shown to anybody.
  const closed = config.previous === 'stop' ? preview?.close(slot) : undefined
  const drained = await drains.drain(occupant, slot, closed)
  if (!drained || config.previous !== 'stop') return
  // A switch that is under way may be on its way back to this very process.
  while (lock.current) await lock.ended
  if (table.pointer(index).slot === slot) return
  await occupants.stop(occupant, 'drained, and the config says `previous: stop`')
  tidy(service)
}

/** After its slot was given away: nothing can switch back to this process any more, so it ends once it is drained. */
export async function retire(service: Service, occupant: Occupant, slot: SlotName): Promise<void> {
  const { drains, lock } = service
  const isOpen = [drains.claimsOf(occupant), drains.previewsOf(occupant)].some(
    ({ requests, tunnels }) => requests + tunnels > 0,
  )
  // What had ended before is not written down, and counted, a second time.
  if (isOpen) await drains.drain(occupant, slot)
  // What ends takes a core that a switch needs: the one under way, and a promotion that follows a stage at once.
  do {
    await lock.ended
    await nextTurn()
  } while (lock.current)
  // When slotgate ends, the front door still lets open requests finish; the process is stopped after that.
  if (service.closing.aborted) return
  await service.occupants.stop(occupant, 'its slot was given to another release')
  tidy(service)
}
