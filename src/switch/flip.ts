// The flip: the one store that moves traffic, and what becomes of the releases that lose their place by it.
import { otherSlot, type SlotName } from '../contract.ts'
import type { Occupant } from '../slots/occupants.ts'
import { leaveBehind, retire } from './leave.ts'
import { idleSlot, type Service } from './service.ts'

/**
 * Makes the occupant live, in the idle slot, where it already is or moves in now. What follows the store only tidies up.
 */
export function flip(service: Service, occupant: Occupant): { generation: number; slot: SlotName } {
  const { table, index, occupants, drains } = service
  const slot = idleSlot(service)
  const displaced = occupants.place(slot, occupant)
  // While the journal was written, who was in the slot may have died, and the front door was told so.
  void occupants.announce(slot)
  const { generation } = table.flip(index, slot)
  occupant.generations.push(generation)
  drains.callOff(occupant)
  if (!occupant.instance) void occupants.revive(slot, occupant)
  if (displaced) void retire(service, displaced, slot)
  const left = occupants.get(otherSlot(slot))
  if (left) void leaveBehind(service, left, otherSlot(slot))
  return { generation, slot }
}
