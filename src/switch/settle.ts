// The moments after a flip: a migration may have run between the last look and the flip. If the new release no longer
// fits and the former one does, flip back once; if neither fits, stay and raise an alarm. Never flap.
import { setTimeout as pause } from 'node:timers/promises'
import { type Code, type Facts, reason } from '../errors.ts'
import { judge, type Verdict } from '../gate/judge.ts'
import type { Occupant } from '../slots/occupants.ts'
import { askable, liveAskable } from './ask.ts'
import { type Candidate, commitFlip, type Flipped, prepare } from './flip.ts'
import { idleSlot, type Service } from './service.ts'

/** When to look, in milliseconds after the flip. */
const LOOKS_MS = [0, 1_000, 5_000]
const SELF = { actor: 'slotgate' }

/**
 * Looks after a flip, in the background, until the last look, a newer flip, or slotgate's end.
 *
 * @param verdict what the flip was decided on
 */
export async function settle(service: Service, flipped: Flipped, verdict: Verdict): Promise<void> {
  const before = verdict.target.status?.current_schema_version
  let waitedMs = 0
  for (const lookMs of LOOKS_MS) {
    if (!(await waitFor(lookMs - waitedMs, service.closing))) return
    waitedMs = lookMs
    if (!isNewest(service, flipped)) return
    const after = await unfitVersion(service)
    if (after === null || after === before) continue
    return cure(service, flipped, before).catch((error) =>
      service.log.error({ service: service.name, err: error }, 'could not flip back'),
    )
  }
}

const waitFor = (ms: number, signal: AbortSignal): Promise<boolean> =>
  pause(ms, undefined, { signal, ref: false }).then(
    () => true,
    () => false,
  )

const isNewest = ({ table, index }: Service, { generation }: Flipped): boolean =>
  table.pointer(index).generation === generation

/** @returns the schema version that the live release reads and does not fit; null while it fits or cannot be asked */
async function unfitVersion(service: Service): Promise<number | null> {
  const live = liveAskable(service)
  if (!live || service.config.schema === 'off') return null
  const reading = await live.read(service.config.schema.withinMs)
  if (!reading.ok) return null
  const { allowed } = judge('promote', { ...live, reading }, null)
  return allowed ? null : reading.status.current_schema_version
}

/** Flips back through the gate, or raises the alarm when nothing fits. */
async function cure(service: Service, flipped: Flipped, before: number | undefined): Promise<void> {
  const { lock, name } = service
  for (;;) {
    // What is under way may be a check or a stage, after which this is as true as before; a switch makes it void.
    while (lock.current) await lock.ended
    if (!isNewest(service, flipped)) return
    // Looked at without the lock, so that an operator who has the cure at hand is not told to wait for this.
    const after = await unfitVersion(service)
    if (after === null) return
    const way = await wayBack(service, flipped.left)
    const release = liveAskable(service)?.release ?? '?'
    const facts = {
      service: name,
      before,
      after,
      release,
      previous_release: flipped.left?.release ?? 'nothing',
    }
    // Somebody may have acted during these looks: then look again.
    if (lock.current || !isNewest(service, flipped)) continue
    return way ? flipBack(service, way, facts) : raise(service, 'no_release_fits', facts)
  }
}

async function flipBack(service: Service, { candidate, verdict }: WayBack, facts: Facts): Promise<void> {
  const { lock, name } = service
  const code = 'schema_changed_during_switch'
  const request = {
    service: name,
    operation: 'rollback' as const,
    release: candidate.occupant.release,
    ...SELF,
  }
  await lock.run(request, async (progress) => {
    progress('preparing the front door')
    await prepare(service, candidate.instance)
    await commitFlip(service, candidate, verdict, SELF, { operation: 'rollback', code }, progress)
  })
  await raise(service, code, facts)
}

interface WayBack {
  candidate: Candidate
  verdict: Verdict
}

/** The release that was left, if its very process still is in the idle slot and says that it fits the schema now. */
async function wayBack(service: Service, left: Occupant | null): Promise<WayBack | null> {
  const { schema } = service.config
  const isThere = left !== null && service.occupants.get(idleSlot(service)) === left
  if (!isThere || !left.instance || schema === 'off') return null
  const candidate = { occupant: left, instance: left.instance }
  const target = askable(service, candidate.instance, 'idle')
  const live = liveAskable(service)
  const [reading, liveReading] = await Promise.all([
    target.read(schema.withinMs),
    live?.read(schema.withinMs),
  ])
  const verdict = judge(
    'rollback',
    { ...target, reading },
    live && liveReading ? { ...live, reading: liveReading } : null,
  )
  return verdict.allowed ? { candidate, verdict } : null
}

async function raise({ log, journal, name }: Service, code: Code, facts: Facts): Promise<void> {
  const alarm = reason(code, facts)
  log.error({ ...facts, code }, alarm.sentence)
  await journal.append({ ...alarm, event: 'alarm', service: name, ...SELF })
}
