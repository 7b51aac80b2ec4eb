// The door of a service as it is now: from recorded ranges, and from what the former release says while it still runs.
import { type Door, doorOf } from '../gate/door.ts'
import type { Reading } from '../gate/judge.ts'
import { urlOf } from '../slots/ask.ts'
import { fitOf } from './fit.ts'
import { idleSlot, recorded, rollbackTargets, type Service } from './service.ts'

/**
 * @param current where the live release reads that the schema is; null when it could not be asked
 * @param idle what the release in the idle slot says; null where nothing runs there
 */
export function doorNow(service: Service, current: number | null, idle: Reading | null): Door {
  const door = doorOf({
    previous: rollbackTargets(service),
    ranges: recorded(service).ranges,
    current,
    schemaOff: service.config.schema === 'off',
  })
  const occupant = service.occupants.get(idleSlot(service))
  if (!door.open || !idle || !occupant?.instance || occupant.release !== door.to) return door
  const { release, instance } = occupant
  const misfit = fitOf({ release, internalUrl: urlOf(instance.internal), reading: idle })?.reason
  return misfit
    ? { ...door, open: false, code: misfit.code, sentence: misfit.sentence, evidence: 'probed' }
    : door
}
