// The door of a service as it is now: from recorded ranges, and from what the former release says while it still runs.
import { type Door, doorOf, type Misfit } from '../gate/door.ts'
import type { Reading } from '../gate/judge.ts'
import { urlOf } from '../slots/ask.ts'
import { fitOf } from './fit.ts'
import { idleSlot, recorded, rollbackTargets, type Service } from './service.ts'

/**
 * @param current where the live release reads that the schema is; null when it could not be asked
 * @param idle what the release in the idle slot says; null where nothing runs there
 */
export function doorNow(service: Service, current: number | null, idle: Reading | null): Door {
  const previous = rollbackTargets(service)
  return doorOf({
    previous,
    ranges: recorded(service).ranges,
    current,
    schemaOff: service.config.schema === 'off',
    misfit: misfitOf(service, previous, idle),
  })
}

/** What a release that a rollback could go to says itself against that, while it still runs. */
function misfitOf(service: Service, previous: readonly string[], idle: Reading | null): Misfit | null {
  const { release, instance } = service.occupants.get(idleSlot(service)) ?? {}
  if (!idle || !instance || !release || !previous.includes(release)) return null
  const reason = fitOf({ release, internalUrl: urlOf(instance.internal), reading: idle })?.reason
  return reason ? { release, reason } : null
}
