// Advice: what a migration of the service's database to a version would close, as things are at the moment of the call.
import { otherSlot, rangeOf } from '../contract.ts'
import { adviceOn, type Concerned } from '../gate/advice.ts'
import type { Reading } from '../gate/judge.ts'
import { recordedRange } from '../journal/record.ts'
import { idleSlot, recorded, rollbackTargets, type Service } from './service.ts'
import { readSlot } from './status.ts'
import type { AdviceResult } from './types.ts'

/** Asks what runs in the two slots; every other release is judged by what it declared earlier. Nothing is booted. */
export async function advise(service: Service, to: number): Promise<AdviceResult> {
  const { name, config, table, index, lock, occupants } = service
  const pointer = table.pointer(index)
  const idle = idleSlot(service)
  const [liveReading, idleReading] = await Promise.all([
    readSlot(service, otherSlot(idle)),
    readSlot(service, idle),
  ])
  const live = pointer.slot && (occupants.get(pointer.slot)?.release ?? null)
  const inIdle = occupants.get(idle)?.release ?? null
  const about = (release: string): Concerned => ({
    release,
    range:
      declared(release === live ? liveReading : null) ??
      declared(release === inIdle ? idleReading : null) ??
      recordedRange(recorded(service).ranges, release) ??
      null,
  })
  const previous = rollbackTargets(service)
  const isStaged = inIdle !== null && inIdle !== live && !previous.includes(inIdle)
  return {
    service: name,
    generation: pointer.generation,
    ...adviceOn({
      to,
      current: pointer.slot && liveReading?.ok ? liveReading.status.current_schema_version : null,
      live: live === null ? null : about(live),
      previous: previous.map(about),
      staged: isStaged ? about(inIdle) : null,
      schemaOff: config.schema === 'off',
    }),
    operation: lock.current,
  }
}

const declared = (reading: Reading | null) => (reading?.ok ? rangeOf(reading.status) : undefined)
