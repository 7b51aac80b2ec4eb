// The moments after a flip: a migration may have run between the last look and the flip. If the new release no longer
// fits and the former one does, flip back once; if neither fits, stay and raise an alarm. Never flap.
import { setTimeout as pause } from 'node:timers/promises'
import type { SlotName } from '../contract.ts'
import { reason } from '../errors.ts'
import { type GateOperation, judge, type Verdict } from '../gate/judge.ts'
import { askable, decisionFacts, liveAskable } from './ask.ts'
import { flip } from './flip.ts'
import type { Service } from './service.ts'

/** When to look, in milliseconds after the flip. */
const LOOKS_MS = [0, 1_000, 5_000]

export async function settle(
  service: Service,
  generation: number,
  verdict: Verdict,
  former: { slot: SlotName; release: string } | null,
): Promise<void> {
  if (service.config.schema === 'off') return
  const before = verdict.target.status?.current_schema_version
  let waited = 0
  for (const look of LOOKS_MS) {
    if (!(await waitFor(look - waited, service.closing))) return
    waited = look
    if (service.table.pointer(service.index).generation !== generation) return
    const after = await currentIfUnfit(service)
    if (after === null || after === before) continue
    await cure(service, generation, { before, after }, former).catch((error) =>
      service.log.error({ service: service.name, err: error }, 'could not flip back'),
    )
    return
  }
}

const waitFor = (ms: number, signal: AbortSignal): Promise<boolean> =>
  pause(ms, undefined, { signal, ref: false }).then(
    () => true,
    () => false,
  )

/** @returns the schema version that the live release reads and does not fit, or null while it fits or cannot be asked */
async function currentIfUnfit(service: Service): Promise<number | null> {
  const live = liveAskable(service)
  if (!live || service.config.schema === 'off') return null
  const reading = await live.read(service.config.schema.withinMs)
  if (!reading.ok) return null
  const { allowed } = judge('promote', { ...live, reading }, null)
  return allowed ? null : reading.status.current_schema_version
}

/** Flips back through the gate, or raises the alarm when nothing fits. */
async function cure(
  service: Service,
  generation: number,
  versions: { before: number | undefined; after: number },
  former: { slot: SlotName; release: string } | null,
): Promise<void> {
  const { lock, name, table, index, log } = service
  const release = liveAskable(service)?.release ?? '?'
  const facts = { service: name, ...versions, release, previous_release: former?.release ?? 'nothing' }
  const request = {
    service: name,
    operation: 'rollback' as const,
    release: former?.release ?? null,
    actor: 'slotgate',
  }
  // A switch that somebody began meanwhile decides anew on the schema as it is; this one then has no say any more.
  if (lock.current) return
  await lock.run(request, async (progress) => {
    if (table.pointer(index).generation !== generation) return
    progress('asking')
    const target = former && (await formerIfItFits(service, former.slot, 'rollback'))
    if (!former || !target) return raise('no_release_fits')
    progress('writing the journal')
    await service.journal.append({
      ...decisionFacts(service, target.verdict, { actor: 'slotgate' }),
      event: 'flipped',
      operation: 'rollback',
      code: 'schema_changed_during_switch',
      generation: generation + 1,
      slot: former.slot,
      from: { slot: table.pointer(index).slot, release },
    })
    progress('flipping')
    flip(service, target.occupant)
    await raise('schema_changed_during_switch')
  })

  async function raise(code: 'no_release_fits' | 'schema_changed_during_switch'): Promise<void> {
    const alarm = reason(code, facts)
    log.error({ ...facts, code }, alarm.sentence)
    await service.journal.append({ ...alarm, event: 'alarm', service: name, release, actor: 'slotgate' })
  }
}

/** The former release, if its process still runs and it says that it works with the schema as it is now. */
async function formerIfItFits(service: Service, slot: SlotName, operation: GateOperation) {
  const occupant = service.occupants.get(slot)
  if (!occupant?.instance || service.config.schema === 'off') return null
  const target = askable(service, occupant.instance, 'idle')
  const live = liveAskable(service)
  const withinMs = service.config.schema.withinMs
  const [reading, liveReading] = await Promise.all([target.read(withinMs), live?.read(withinMs)])
  const verdict = judge(
    operation,
    { ...target, reading },
    live && liveReading ? { ...live, reading: liveReading } : null,
  )
  return verdict.allowed ? { occupant, verdict } : null
}
