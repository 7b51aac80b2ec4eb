// What the status says of a service, read at the moment of the call: nothing in it is older than the call.
import { otherSlot, rangeOf, SLOTS, type SlotName } from '../contract.ts'
import { type Reason, reason } from '../errors.ts'
import { judge, type Reading } from '../gate/judge.ts'
import { readStatus } from '../gate/read.ts'
import { recordedRange } from '../journal/record.ts'
import { urlOf } from '../slots/ask.ts'
import { asParty, doorNow } from './door.ts'
import { formerRunning, idleSlot, recorded, type Service } from './service.ts'
import { bakeView } from './trial.ts'
import type { SchemaView, ServiceStatus, SlotView } from './types.ts'

/** A status call must come back soon even when an app hangs. */
const READ_WITHIN_MS = 1_000

export async function statusOf(service: Service): Promise<ServiceStatus> {
  const { name, config, table, index, lock, drains, pause } = service
  const pointer = table.pointer(index)
  const idle = idleSlot(service)
  const former = formerRunning(service)
  const readings = await Promise.all(SLOTS.map((slot) => readSlot(service, slot)))
  const view = (slot: SlotName) => slotView(service, slot, readings[SLOTS.indexOf(slot)] ?? null)
  const idleReading = readings[SLOTS.indexOf(idle)] ?? null
  const liveReading = pointer.slot ? (readings[SLOTS.indexOf(pointer.slot)] ?? null) : null
  const current = liveReading?.ok ? liveReading.status.current_schema_version : null
  return {
    service: name,
    generation: pointer.generation,
    live: pointer.slot && view(otherSlot(idle)),
    idle: view(idle),
    door: doorNow(service, current, former && idleReading && asParty(former, idleReading)),
    operation: lock.current,
    draining: drains.views(),
    paused: pause.view(),
    bake: bakeView(service),
    schema: {
      check: config.schema === 'off' ? 'off' : 'on',
      current,
      warnings: warningsOf(service, pointer.slot, liveReading),
    },
    hosts: [...config.hosts],
    path_prefix: config.pathPrefix,
  }
}

/** @returns what the release in a slot says of its schema now; null where nothing runs or nobody is to ask */
export async function readSlot(service: Service, slot: SlotName): Promise<Reading | null> {
  const { schema } = service.config
  const occupant = service.occupants.get(slot)
  if (schema === 'off' || !occupant?.instance) return null
  const role = service.occupants.roleOf(slot)
  const withinMs = Math.min(schema.withinMs, READ_WITHIN_MS)
  return readStatus({ address: occupant.instance.internal, path: schema.path, role, withinMs })
}

/** What is worth a word about the live release, in the words of the gate. */
function warningsOf(service: Service, live: SlotName | null, reading: Reading | null): Reason[] {
  if (service.config.schema === 'off') return [reason('schema_check_disabled')]
  const occupant = live && service.occupants.get(live)
  if (!occupant || !reading) return []
  const party = {
    release: occupant.release,
    internalUrl: occupant.instance ? urlOf(occupant.instance.internal) : '',
    reading,
  }
  const verdict = judge('promote', party, party)
  return [...verdict.reasons, ...verdict.warnings.filter(({ code }) => code !== 'no_common_schema_version')]
}

function slotView(service: Service, slot: SlotName, reading: Reading | null): SlotView {
  const occupant = service.occupants.get(slot)
  const instance = occupant?.instance ?? null
  const release = occupant?.release ?? null
  return {
    slot,
    release,
    state: occupant?.state ?? 'empty',
    healthy: occupant?.healthy ?? false,
    detail: occupant?.detail ?? null,
    pid: instance?.pid ?? null,
    boot_id: instance?.bootId ?? null,
    public_urls: instance?.publicAddresses.map(urlOf) ?? [],
    internal_url: instance ? urlOf(instance.internal) : null,
    since: instance?.startedAt.toISOString() ?? null,
    restarts: occupant?.restarts ?? 0,
    taken_over: instance?.takenOver ?? false,
    schema: reading?.ok ? schemaView(reading) : null,
    schema_problem: reading && !reading.ok ? reason(reading.code, { ...reading.facts, release }) : null,
    recorded_range: (release !== null && recordedRange(recorded(service).ranges, release)) || null,
    claims: occupant ? service.drains.claimsOf(occupant) : { requests: 0, tunnels: 0 },
    previews: occupant ? service.drains.previewsOf(occupant) : { requests: 0, tunnels: 0 },
  }
}

function schemaView({ status }: Extract<Reading, { ok: true }>): SchemaView {
  const { min, max } = rangeOf(status)
  const current = status.current_schema_version
  return {
    current,
    min,
    max,
    compatible: status.compatible,
    in_range: min <= current && current <= max,
    pending_migrations: status.pending_migrations ?? [],
    dirty: status.dirty ?? false,
    migration_running: status.migration_running ?? false,
  }
}
