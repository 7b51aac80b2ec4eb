// Rollback: gate an earlier release, then flip back to it. One that still runs is asked directly; any other is
// rehearsed on temporary ports first, and the very process that was asked takes the traffic.
import { SlotgateError } from '../errors.ts'
import { judgeRecorded, noPrevious, type Party, type Verdict } from '../gate/judge.ts'
import { recordedRange } from '../journal/record.ts'
import { checkHealth } from '../slots/health.ts'
import { askable, decide, liveAskable, refusal } from './ask.ts'
import { bootAloud } from './boot.ts'
import type { Candidate } from './flip.ts'
import type { Progress } from './lock.ts'
import { raise } from './say.ts'
import { idleSlot, recorded, rollbackTargets, type Service } from './service.ts'
import { switchOver } from './switch-over.ts'
import type { CallContext, SwitchResult } from './types.ts'

/**
 * @param to the release to go back to; the one that was live before when undefined
 * @throws SlotgateError `no_previous_release`, `unknown_release`, `release_not_running`, `target_boot_failed`, the
 *   gate's refusal; nothing was switched then, and a rehearsal is gone again
 */
export async function rollback(
  service: Service,
  to: string | undefined,
  context: CallContext,
  progress: Progress,
): Promise<SwitchResult> {
  const found = await findTarget(service, to, progress)
  if ('refused' in found) throw await refusal(service, found.refused, context)
  if ('running' in found) return switchOver(service, 'rollback', found.running, context, progress)
  const candidate = await rehearse(service, found.rehearse, progress)
  try {
    return await switchOver(service, 'rollback', candidate, context, progress)
  } catch (error) {
    await endRehearsal(service, candidate)
    throw error
  }
}

/** The verdict of a rollback without acting; a rehearsal is gone again before the answer. */
export async function checkRollback(
  service: Service,
  to: string | undefined,
  progress: Progress,
): Promise<Verdict> {
  const found = await findTarget(service, to, progress)
  if ('refused' in found) return found.refused
  if ('running' in found) {
    return decide(service, 'rollback', askable(service, found.running.instance, 'idle'))
  }
  const candidate = await rehearse(service, found.rehearse, progress)
  try {
    progress('asking')
    return await decide(service, 'rollback', askable(service, candidate.instance, 'rehearsal'))
  } finally {
    await endRehearsal(service, candidate)
  }
}

/** What a rollback is up against: ruled out already, a process to ask directly, or a release to boot first. */
type Found = { refused: Verdict } | { running: Candidate } | { rehearse: string }

async function findTarget(service: Service, to: string | undefined, progress: Progress): Promise<Found> {
  const { live, previous, wasLive, ranges } = recorded(service)
  const release = to ?? rollbackTargets(service)[0] ?? previous[0]
  if (release === undefined || !live) return { refused: noPrevious(null) }
  if (release === live.release) throw new SlotgateError('already_live', { service: service.name, release })
  if (!wasLive.includes(release)) {
    throw new SlotgateError('unknown_release', {
      release,
      detail: 'it was never live here, or long ago; deploy it instead',
    })
  }
  const running = await runningTarget(service, release)
  if (running) return { running }
  progress('asking')
  const range = recordedRange(ranges, release)
  const party = await liveParty(service)
  const refused = range && party && judgeRecorded(release, range, party)
  return refused ? { refused } : { rehearse: release }
}

/** The target, if its process still runs in the idle slot and is healthy; null if it has to be rehearsed. */
async function runningTarget(service: Service, release: string): Promise<Candidate | null> {
  const slot = idleSlot(service)
  const occupant = service.occupants.get(slot)
  const instance = occupant?.release === release ? occupant.instance : null
  if (occupant && instance) {
    const problem = await checkHealth(instance.internal, service.config.health, 'idle')
    if (problem === null) return { occupant, instance }
  }
  if (!service.driver.bootsEarlier)
    throw new SlotgateError('release_not_running', { service: service.name, release })
  return null
}

/**
 * Boots the target on temporary ports, only to ask it.
 *
 * @throws SlotgateError `target_boot_failed`, `schema_changed_by_rehearsal`; nothing is left running
 */
async function rehearse(service: Service, release: string, progress: Progress): Promise<Candidate> {
  progress('rehearsing')
  const before = await liveParty(service)
  const slot = idleSlot(service)
  const instance = await bootAloud(service, { release, slot, rehearsal: true, signal: service.closing })
  const candidate = { instance, occupant: service.occupants.create(release, instance) }
  const moved = movement(before, await liveParty(service))
  if (!moved) return candidate
  await endRehearsal(service, candidate)
  throw await alarm(service, release, moved)
}

async function liveParty(service: Service): Promise<Party | null> {
  const live = liveAskable(service)
  const { schema } = service.config
  return live && schema !== 'off' ? { ...live, reading: await live.read(schema.withinMs) } : null
}

interface Movement {
  before: number
  after: number
}

/** Whether the schema version changed between two readings of the live release. */
function movement(before: Party | null, after: Party | null): Movement | null {
  if (!before?.reading.ok || !after?.reading.ok) return null
  const versions = {
    before: before.reading.status.current_schema_version,
    after: after.reading.status.current_schema_version,
  }
  return versions.before === versions.after ? null : versions
}

/** A release that migrates when it boots breaks the one rule that makes a rollback safe; somebody has to know. */
async function alarm(service: Service, release: string, moved: Movement): Promise<SlotgateError> {
  const facts = { service: service.name, release, ...moved }
  await raise(service, 'schema_changed_by_rehearsal', facts)
  return new SlotgateError('schema_changed_by_rehearsal', facts)
}

async function endRehearsal(service: Service, { occupant }: Candidate): Promise<void> {
  const slot = idleSlot(service)
  if (service.occupants.get(slot) === occupant) return
  await service.occupants.announce(slot)
  await service.occupants.stop(occupant, 'it was booted only to be asked')
}
