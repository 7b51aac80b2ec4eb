// The door of a service as it is now: from recorded ranges, and from what the former release says while it still runs.
import { type Door, doorOf, type Misfit } from '../gate/door.ts'
import type { Party, Reading } from '../gate/judge.ts'
import { urlOf } from '../slots/ask.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import { fitOf } from './fit.ts'
import { recorded, rollbackTargets, type Service } from './service.ts'

/** What a former release said; another may have taken its slot since. */
export const asParty = ({ release, internal }: Instance, reading: Reading): Party => ({
  release,
  internalUrl: urlOf(internal),
  reading,
})

/**
 * @param current where the live release reads that the schema is; null when it could not be asked
 * @param former what `formerRunning` says itself; null where nobody was asked
 */
export function doorNow(service: Service, current: number | null, former: Party | null): Door {
  return doorOf({
    previous: rollbackTargets(service),
    ranges: recorded(service).ranges,
    current,
    schemaOff: service.config.schema === 'off',
    misfit: former && misfitOf(former),
  })
}

function misfitOf(former: Party): Misfit | null {
  const reason = fitOf(former)?.reason
  return reason ? { release: former.release, reason } : null
}
