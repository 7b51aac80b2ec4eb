// The start of slotgate: the pointer comes from the journal, what still runs is taken over, a live release that does not
// run is brought up again, and on an empty journal the `first` release goes through the gate. Nothing is ever flipped
// here because of what a status says.
import { SLOTS, type SlotName } from '../contract.ts'
import { messageOf } from '../errors.ts'
import type { Occupant } from '../slots/occupants.ts'
import { waitFor } from '../wait.ts'
import { askable, decide } from './ask.ts'
import type { Progress } from './lock.ts'
import { promote } from './promote.ts'
import { SELF } from './say.ts'
import { idleSlot, recorded, type Service } from './service.ts'
import { stage } from './stage.ts'
import { takeOver } from './take-over.ts'
import { tidy } from './tidy.ts'

const FIRST_AGAIN_MS = 1_000
const LONGEST_WAIT_MS = 30_000

/**
 * Puts the pointer and the slots where the journal left them. Nothing is booted yet; what still runs is taken over and
 * served at once: the front door opens after this, so that it never says that nothing is live when something is.
 *
 * @throws SlotgateError `journal_write_failed`
 */
export async function restore(service: Service): Promise<void> {
  const { table, dataPlane, index } = service
  const { generation, live, slots } = recorded(service)
  if (live) {
    dataPlane.begin({ service: index, generation, ...live })
    table.restore(index, { generation, slot: live.slot })
  }
  await service.pause.restore()
  for (const slot of SLOTS) {
    const release = slots[slot]
    if (release !== undefined) await restoreSlot(service, release, slot)
  }
  const idle = idleSlot(service)
  service.preview?.restore(idle, service.occupants.get(idle))
}

async function restoreSlot(service: Service, release: string, slot: SlotName): Promise<void> {
  const { occupants, table, index } = service
  const occupant = occupants.create(release, await takeOver(service, release, slot))
  const pointer = table.pointer(index)
  if (slot === pointer.slot) occupant.generations.push(pointer.generation)
  occupants.place(slot, occupant)
  await occupants.announce(slot)
}

/** Begins to boot what is live and does not run, or else the `first` release; does not wait for it. */
export function resume(service: Service): void {
  tidy(service)
  const { table, index, occupants, config } = service
  const { slot } = table.pointer(index)
  const occupant = slot && occupants.get(slot)
  // What was taken over and died since is started again already.
  if (slot && occupant?.state === 'stopped') void bringUp(service, slot, occupant)
  if (!slot && config.first !== undefined) void promoteFirst(service, config.first)
}

/** Requests that come before the release is up fail, and that is no fault of the release. */
async function bringUp(service: Service, slot: SlotName, occupant: Occupant): Promise<void> {
  const { table, dataPlane, index, occupants } = service
  const { generation } = table.pointer(index)
  const soFar = () => dataPlane.exchanges(index, generation)
  service.early = { generation, counts: soFar }
  await occupants.revive(slot, occupant)
  const early = soFar()
  service.early = { generation, counts: () => early }
}

/**
 * Stages the `first` release and promotes it as soon as the gate allows it, unless somebody promotes before. A boot that
 * fails is tried again with back-off, so that an operator finds the lock free.
 */
async function promoteFirst(service: Service, first: string): Promise<void> {
  const { lock, log, name, closing, table, index } = service
  // What it names is found once, so that a branch which moves meanwhile is not staged over and over.
  let release: string | undefined
  const attempt = async (progress: Progress): Promise<Attempt> => {
    release ??= await service.driver.identify(first)
    return tryFirst(service, release, progress)
  }
  let said = ''
  let waitMs = FIRST_AGAIN_MS
  while (!closing.aborted && table.pointer(index).generation === 0) {
    const request = {
      service: name,
      operation: 'first' as const,
      release: release ?? first,
      actor: SELF.actor,
    }
    const { problem, failed } = lock.current
      ? { problem: null, failed: false }
      : await lock.run(request, attempt).catch(failure)
    if (problem && problem !== said)
      log.warn({ service: name, release }, `${first} is not live yet: ${problem}`)
    said = problem ?? said
    waitMs = failed ? Math.min(2 * waitMs, LONGEST_WAIT_MS) : FIRST_AGAIN_MS
    await waitFor(waitMs, closing)
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
