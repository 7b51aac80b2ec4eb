// The start of slotgate: the pointer comes from the journal, the live release is brought up again, and on an empty
// journal the `first` release goes through the gate. Nothing is ever flipped here because of what a status says.
import { setTimeout as pause } from 'node:timers/promises'
import { otherSlot } from '../contract.ts'
import { messageOf } from '../errors.ts'
import { askable, decide } from './ask.ts'
import { promote } from './promote.ts'
import { idleSlot, recorded, type Service } from './service.ts'
import { stage } from './stage.ts'

const FIRST_AGAIN_MS = 1_000
const SELF = { actor: 'slotgate' }

/**
 * Puts the pointer and the slots where the journal left them. Nothing is booted yet, and what something else runs is
 * served at once: the front door opens after this, so that it never says that nothing is live when something is.
 */
export async function restore(service: Service): Promise<void> {
  const { table, index, occupants } = service
  const { generation, live, slots } = recorded(service)
  if (!live) return
  table.restore(index, { generation, slot: live.slot })
  const occupant = occupants.create(live.release, service.driver.attach?.(live.release, live.slot) ?? null)
  occupant.generations.push(generation)
  occupants.place(live.slot, occupant)
  const idle = otherSlot(live.slot)
  const former = slots[idle]
  if (former !== undefined) {
    occupants.place(idle, occupants.create(former, service.driver.attach?.(former, idle) ?? null))
  }
  await Promise.all([occupants.announce(live.slot), occupants.announce(idle)])
}

/** Begins to boot what is live and does not run, or else the `first` release; does not wait for it. */
export function resume(service: Service): void {
  const { table, index, occupants, config } = service
  const { slot } = table.pointer(index)
  const occupant = slot && occupants.get(slot)
  if (occupant && !occupant.instance) void occupants.revive(slot, occupant)
  if (!slot && config.first !== undefined) void promoteFirst(service, config.first)
}

/** Stages the `first` release and promotes it as soon as the gate allows it, unless somebody promotes before. */
async function promoteFirst(service: Service, release: string): Promise<void> {
  const { lock, log, name, closing, table, index } = service
  let said = ''
  while (!closing.aborted && table.pointer(index).generation === 0) {
    const request = { service: name, operation: 'first' as const, release, actor: SELF.actor }
    const problem = lock.current
      ? null
      : await lock.run(request, (progress) => tryFirst(service, release, progress)).catch(messageOf)
    if (problem && problem !== said)
      log.warn({ service: name, release }, `${release} is not live yet: ${problem}`)
    said = problem ?? said
    await pause(FIRST_AGAIN_MS, undefined, { signal: closing }).catch(() => {})
  }
}

/** @returns null once it is live, else what stands in the way; only a promotion that may pass is begun and journaled */
async function tryFirst(
  service: Service,
  release: string,
  progress: Parameters<typeof stage>[3],
): Promise<string | null> {
  const running = () => service.occupants.get(idleSlot(service))
  if (running()?.release !== release || !running()?.instance) await stage(service, release, SELF, progress)
  const instance = running()?.instance
  if (!instance) return 'it ended'
  progress('asking')
  const verdict = await decide(service, 'promote', askable(service, instance, 'idle'))
  if (!verdict.allowed) return verdict.reasons.map(({ sentence }) => sentence).join(' ')
  await promote(service, 'promote', SELF, progress)
  return null
}
