// The start of slotgate: the pointer comes from the journal, the live release is brought up again, and on an empty
// journal the `first` release goes through the gate. Nothing is ever flipped here because of what a status says.
import { setTimeout as pause } from 'node:timers/promises'
import { otherSlot } from '../contract.ts'
import { messageOf } from '../errors.ts'
import { askable, decide } from './ask.ts'
import type { Progress } from './lock.ts'
import { promote } from './promote.ts'
import { idleSlot, recorded, type Service } from './service.ts'
import { stage } from './stage.ts'

const FIRST_AGAIN_MS = 1_000
const LONGEST_WAIT_MS = 30_000
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

/**
 * Stages the `first` release and promotes it as soon as the gate allows it, unless somebody promotes before. A boot that
 * fails is tried again with back-off, so that an operator finds the lock free.
 */
async function promoteFirst(service: Service, release: string): Promise<void> {
  const { lock, log, name, closing, table, index } = service
  let said = ''
  let waitMs = FIRST_AGAIN_MS
  while (!closing.aborted && table.pointer(index).generation === 0) {
    const request = { service: name, operation: 'first' as const, release, actor: SELF.actor }
    const { problem, failed } = lock.current
      ? { problem: null, failed: false }
      : await lock.run(request, (progress) => tryFirst(service, release, progress)).catch(failure)
    if (problem && problem !== said)
      log.warn({ service: name, release }, `${release} is not live yet: ${problem}`)
    said = problem ?? said
    waitMs = failed ? Math.min(2 * waitMs, LONGEST_WAIT_MS) : FIRST_AGAIN_MS
    await pause(waitMs, undefined, { signal: closing }).catch(() => {})
  }
}

/** What stands in the way of the `first` release, null once it is live; and whether trying again costs a boot. */
interface Attempt {
  problem: string | null
  failed: boolean
}

const failure = (error: unknown): Attempt => ({ problem: messageOf(error), failed: true })

/** Only a promotion that may pass is begun and journaled; a release that somebody staged meanwhile is left alone. */
async function tryFirst(service: Service, release: string, progress: Progress): Promise<Attempt> {
  const occupant = () => service.occupants.get(idleSlot(service))
  const staged = occupant()
  if (staged?.instance && staged.release !== release) {
    return { problem: `${staged.release} is staged in its place`, failed: false }
  }
  if (!staged?.instance) await stage(service, release, SELF, progress)
  const instance = occupant()?.instance
  if (!instance) return failure(`${release} ended`)
  progress('asking')
  const verdict = await decide(service, 'promote', askable(service, instance, 'idle'))
  if (!verdict.allowed) {
    return { problem: verdict.reasons.map(({ sentence }) => sentence).join(' '), failed: false }
  }
  await promote(service, 'promote', SELF, progress)
  return { problem: null, failed: false }
}
