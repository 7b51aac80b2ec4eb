// The moments after a flip: a migration may have run between the last look and the flip. If the new release no longer
// fits and the former one does, flip back once; if neither fits, stay and raise an alarm. Never flap.
import { type Facts, SlotgateError } from '../errors.ts'
import type { Verdict } from '../gate/judge.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import type { Occupant } from '../slots/occupants.ts'
import { waitFor } from '../wait.ts'
import { askable, decide, liveAskable } from './ask.ts'
import { type Fit, fitOf } from './fit.ts'
import { type Candidate, commitFlip, type Flipped, prepare } from './flip.ts'
import type { Progress } from './lock.ts'
import { raise, SELF } from './say.ts'
import { idleSlot, type Service } from './service.ts'

/** The caller waits for the first look, so it is kept short: a release that does not answer is asked again later. */
const FIRST_LOOK_WITHIN_MS = 1_000
/** When to look again, in milliseconds after the flip, while nobody waits. */
const LATER_LOOKS_MS = [1_000, 5_000]

const ROLLED_BACK = 'schema_changed_during_switch'

/**
 * Looks at the new release right after the flip, under the lock of the switch. If it fits, or does not say, or the way
 * back fails, two later looks follow in the background.
 *
 * @param before the schema that the flip was decided on
 * @returns where the new release reads that the schema is; null where it did not say
 * @throws SlotgateError `schema_changed_during_switch`: traffic is back on the former release
 */
export async function confirm(
  service: Service,
  flipped: Flipped,
  before: number | null,
  progress: Progress,
): Promise<number | null> {
  progress('confirming')
  const fit = await look(service, FIRST_LOOK_WITHIN_MS)
  const broken = brokenBy(fit, before)
  if (broken === null) {
    void settle(service, flipped, before)
    return fit?.current ?? null
  }
  const facts = factsOf(service, flipped, before, broken)
  const way = await wayBack(service, flipped.left)
  if (way === null) await raise(service, noWayBack(service, flipped), facts).catch(logged(service))
  else if (await flipBack(service, way, facts, progress).then(() => true, logged(service))) {
    throw new SlotgateError(ROLLED_BACK, { ...facts, ...pointerOf(service), flipped_back: true })
  } else void settle(service, flipped, before)
  return broken.current
}

/** The later looks, in the background, until the last of them, a newer flip, or slotgate's end. */
async function settle(service: Service, flipped: Flipped, before: number | null): Promise<void> {
  let waitedMs = 0
  for (const lookMs of LATER_LOOKS_MS) {
    if (!(await waitFor(lookMs - waitedMs, service.closing))) return
    waitedMs = lookMs
    if (!isNewest(service, flipped)) return
    if (brokenBy(await look(service), before) === null) continue
    // A way back that failed, as on a full disk, may work at the next look.
    if (await cure(service, flipped, before).then(() => true, logged(service))) return
  }
}

/** Goes back through the gate, or raises the alarm when nothing fits. */
async function cure(service: Service, flipped: Flipped, before: number | null): Promise<void> {
  const { lock, name } = service
  for (;;) {
    // What is under way may be a check or a stage, after which this is as true as before; a switch makes it void.
    while (lock.current) await lock.ended
    if (!isNewest(service, flipped)) return
    // Looked at without the lock, so that an operator who has the cure at hand is not told to wait for this.
    const broken = brokenBy(await look(service), before)
    if (broken === null) return
    const way = await wayBack(service, flipped.left)
    // Somebody may have acted during these looks: then look again.
    if (lock.current || !isNewest(service, flipped)) continue
    const facts = factsOf(service, flipped, before, broken)
    if (way === null) return raise(service, noWayBack(service, flipped), facts)
    const { release } = way.candidate.occupant
    const request = { service: name, operation: 'rollback' as const, release, ...SELF }
    return lock.run(request, (progress) => flipBack(service, way, facts, progress))
  }
}

async function look(service: Service, withinMs = Number.POSITIVE_INFINITY): Promise<Fit | null> {
  const live = liveAskable(service)
  const { schema } = service.config
  if (!live || schema === 'off') return null
  return fitOf({ ...live, reading: await live.read(Math.min(schema.withinMs, withinMs)) })
}

/** @returns the fit, if a migration has made the release unfit since the flip was decided */
const brokenBy = (fit: Fit | null, before: number | null): Fit | null =>
  fit?.reason && fit.current !== before ? fit : null

const isNewest = ({ table, index }: Service, { generation }: Flipped): boolean =>
  table.pointer(index).generation === generation

const factsOf = (service: Service, { left }: Flipped, before: number | null, { current }: Fit): Facts => ({
  before,
  after: current,
  release: liveAskable(service)?.release ?? '?',
  previous_release: left?.release ?? 'nothing',
})

const pointerOf = ({ name, table, index }: Service) => ({
  service: name,
  generation: table.pointer(index).generation,
})

const logged =
  ({ log, name }: Service) =>
  (error: unknown): undefined =>
    void log.error({ service: name, err: error }, 'what broke with the schema could not be mended or told')

interface WayBack {
  candidate: Candidate
  verdict: Verdict
}

const instanceThere = (service: Service, left: Occupant | null): Instance | null =>
  left !== null && service.occupants.get(idleSlot(service)) === left ? left.instance : null

/** Nobody knows of a former release that has ended, as with `previous: stop`, whether it would fit. */
const noWayBack = (service: Service, { left }: Flipped): 'no_release_fits' | 'former_release_gone' =>
  left && !instanceThere(service, left) ? 'former_release_gone' : 'no_release_fits'

/** The release that was left, if its very process still is in the idle slot and the gate lets traffic go back to it. */
async function wayBack(service: Service, left: Occupant | null): Promise<WayBack | null> {
  const instance = instanceThere(service, left)
  if (!left || !instance) return null
  const candidate = { occupant: left, instance }
  const verdict = await decide(service, 'rollback', askable(service, candidate.instance, 'idle'))
  return verdict.allowed ? { candidate, verdict } : null
}

async function flipBack(
  service: Service,
  { candidate, verdict }: WayBack,
  facts: Facts,
  progress: Progress,
): Promise<void> {
  progress('preparing the front door')
  await prepare(service, candidate.instance)
  await commitFlip(service, candidate, verdict, SELF, { operation: 'rollback', code: ROLLED_BACK }, progress)
  // The flip is done, and its line in the journal has the code: a full disk does not undo it.
  await raise(service, ROLLED_BACK, facts).catch(logged(service))
}
