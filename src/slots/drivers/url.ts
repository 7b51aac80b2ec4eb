// Slots that something else runs, reached by their addresses. Booting means: wait until the slot is healthy.
import type { HealthConfig, SlotAddresses } from '../../config/types.ts'
import type { SlotName } from '../../contract.ts'
import { SlotgateError } from '../../errors.ts'
import { urlOf } from '../ask.ts'
import { waitHealthy } from '../health.ts'
import type { Driver, Instance } from './driver.ts'
import { identifyByName } from './source.ts'

export interface UrlDriverOptions {
  slots: Readonly<Record<SlotName, SlotAddresses>>
  health(): HealthConfig
}

export function createUrlDriver({ slots, health }: UrlDriverOptions): Driver {
  return {
    boots: false,
    bootsEarlier: false,
    isFixed: false,
    identify: identifyByName,
    find: async (release, slot) => toInstance(release, slots[slot]),
    async boot({ release, slot, signal }) {
      const addresses = slots[slot]
      const problem = await waitHealthy(addresses.internal, addresses.public, health(), 'idle', signal)
      if (problem === null) return toInstance(release, addresses)
      const where = `slot ${slot} at ${urlOf(addresses.internal)}`
      const detail = `${where} is not healthy within ${health().withinMs} ms: ${problem}`
      throw new SlotgateError('target_boot_failed', { release, detail, output: [] })
    },
  }
}

const toInstance = (release: string, addresses: SlotAddresses): Instance => ({
  release,
  bootId: null,
  pid: null,
  startedAt: new Date(),
  takenOver: false,
  publicAddresses: [addresses.public],
  internal: addresses.internal,
  exited: new Promise(() => {}),
  output: () => [],
  stop: async () => {},
  letGo: () => {},
})
