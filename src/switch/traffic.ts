// Tells what comes over the slots, once a second, while somebody reads it.
import { waitFor } from '../wait.ts'
import type { DataPlane, Traffic } from './data-plane.ts'
import type { Feed } from './feed.ts'
import type { Service } from './service.ts'
import type { SlotTraffic } from './types.ts'

const EVERY_MS = 1_000

/** Goes on until the signal; measures nothing while nobody reads. */
export async function tellTraffic(
  services: readonly Service[],
  dataPlane: DataPlane,
  feed: Feed,
  signal: AbortSignal,
): Promise<void> {
  let look: (() => readonly Traffic[]) | null = null
  while (await waitFor(EVERY_MS, signal)) {
    if (!feed.isRead('traffic')) look = null
    else if (look === null) look = dataPlane.measure()
    else tell(services, look(), feed)
  }
}

function tell(services: readonly Service[], all: readonly Traffic[], feed: Feed): void {
  const time = new Date().toISOString()
  for (const service of services) {
    const its = all.filter((traffic) => traffic.service === service.index)
    const slots = its.map((traffic) => slotTraffic(service, traffic))
    feed.tell({ kind: 'traffic', time, service: service.name, slots })
  }
}

function slotTraffic({ occupants, drains }: Service, { service: _, slot, ...rates }: Traffic): SlotTraffic {
  const occupant = occupants.get(slot)
  const claims = occupant ? drains.claimsOf(occupant) : { requests: 0, tunnels: 0 }
  return { slot, release: occupant?.release ?? null, claims, ...rates }
}
