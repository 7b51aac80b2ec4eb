// Stage: boot a release into the idle slot. Nobody is routed to it.

import { urlOf } from '../slots/ask.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import { bootAloud } from './boot.ts'
import { readyToPreview } from './flip.ts'
import { retire } from './leave.ts'
import type { Progress } from './lock.ts'
import { idleSlot, type Service } from './service.ts'
import type { CallContext, StageResult } from './types.ts'

/**
 * Boots the release first and only then replaces what was in the slot: a boot that fails leaves the slot as it was.
 *
 * @param release its id, as the driver identified it
 * @throws SlotgateError `unknown_release`, `setup_failed`, `setup_timeout`, `target_boot_failed`, `data_plane_not_ready`,
 *   and why a commit could not be checked out
 */
export async function stage(
  service: Service,
  release: string,
  context: CallContext,
  progress: Progress,
): Promise<StageResult> {
  const started = performance.now()
  const slot = idleSlot(service)
  progress('booting')
  const signal = context.signal ? AbortSignal.any([service.closing, context.signal]) : service.closing
  const instance = await bootAloud(service, { release, slot, rehearsal: false, signal })
  await moveIn(service, instance, context)
  service.log.info(
    { service: service.name, slot, release, actor: context.actor },
    `${release} is staged in ${slot}`,
  )
  return {
    service: service.name,
    operation: 'stage',
    slot,
    release,
    boot_id: instance.bootId,
    pid: instance.pid,
    public_urls: instance.publicAddresses.map(urlOf),
    internal_url: urlOf(instance.internal),
    generation: service.table.pointer(service.index).generation,
    took_ms: Math.round(performance.now() - started),
  }
}

/** Makes a booted release the occupant of the idle slot; the former one finishes what it still answers, then ends. */
async function moveIn(service: Service, instance: Instance, { actor }: CallContext): Promise<void> {
  const slot = idleSlot(service)
  const { release, bootId } = instance
  const occupant = service.occupants.create(release, instance)
  try {
    await readyToPreview(service, release)
    await service.journal.append({
      event: 'staged',
      service: service.name,
      generation: service.table.pointer(service.index).generation,
      actor,
      slot,
      release,
      ...(bootId !== null && { boot_id: bootId }),
    })
  } catch (error) {
    await service.occupants.stop(occupant, 'it could not be staged')
    throw error
  }
  const enter = async () => {
    const former = service.occupants.place(slot, occupant)
    await service.occupants.announce(slot)
    return former
  }
  const former = await (service.preview ? service.preview.during(slot, occupant, enter) : enter())
  if (former) void retire(service, former, slot)
}
