// Take-over: what an earlier slotgate had booted for a slot, and what still runs there as it was, stays; nobody who uses
// it notices that slotgate was started again.
import { otherSlot, type SlotName } from '../contract.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import { waitHealthy } from '../slots/health.ts'
import { askable } from './ask.ts'
import { recorded, type Service } from './service.ts'

/** The front door opens after this; an app that was well a moment ago is well again within it. */
const HEALTHY_WITHIN_MS = 3_000

/**
 * Finds what runs in a slot at the start: the very process that the journal names, if it is healthy and nobody else
 * answers in its place. What is not taken over is left to `stopLeftovers`.
 *
 * @returns null if there is none, or none that may stay
 * @throws SlotgateError `journal_write_failed`
 */
export async function takeOver(service: Service, release: string, slot: SlotName): Promise<Instance | null> {
  const { driver, name, log, journal, table, index } = service
  if (isDone(service, slot)) return null
  const instance = await driver.find(release, slot)
  if (!instance?.takenOver) return instance
  const { bootId, pid } = instance
  const problem = await problemOf(service, instance, slot)
  if (problem !== null) {
    log.warn({ service: name, slot, release, pid }, `${release} is not taken over: ${problem}`)
    instance.letGo()
    return null
  }
  const { generation } = table.pointer(index)
  const facts = { service: name, generation, slot, release, pid }
  const event = {
    ...facts,
    event: 'taken_over',
    actor: 'slotgate',
    ...(bootId && { boot_id: bootId }),
  } as const
  await journal.append(event).catch((error) => {
    // Without a journal there is no start, and the app must not end with this attempt.
    instance.letGo()
    throw error
  })
  log.info(facts, `${release} is taken over as it runs in ${slot}`)
  return instance
}

/** With `previous: stop` a release that was live ends once it is drained, and whatever it answered ended with slotgate. */
function isDone(service: Service, slot: SlotName): boolean {
  const { live, boots } = recorded(service)
  const wasLeft = live?.slot === otherSlot(slot) && boots[slot]?.wasLive === true
  return service.driver.boots && wasLeft && service.config.previous === 'stop'
}

/** @returns null if it may stay, else why not */
async function problemOf(service: Service, instance: Instance, slot: SlotName): Promise<string | null> {
  const { config, occupants, closing } = service
  const role = occupants.roleOf(slot)
  const health = { ...config.health, withinMs: Math.min(config.health.withinMs, HEALTHY_WITHIN_MS) }
  const [publicAddress = instance.internal] = instance.publicAddresses
  const problem = await waitHealthy(instance.internal, publicAddress, health, role, closing)
  if (problem !== null || config.schema === 'off') return problem
  const reading = await askable(service, instance, role).read(config.schema.withinMs)
  const answeredBy = reading.ok ? reading.status.boot_id : undefined
  const isOther = answeredBy !== undefined && answeredBy !== instance.bootId
  return isOther ? `another process, of boot ${answeredBy}, answers on its internal port` : null
}
