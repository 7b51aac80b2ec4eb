// What a kill of slotgate must not change: where which release runs, and as which process.
import type { ServiceStatus, SlotView } from '../../src/switch/types.ts'
import type { Served, World } from './world.ts'

const placeOf = (view: SlotView | null) =>
  view && {
    slot: view.slot,
    release: view.release,
    pid: view.pid,
    boot_id: view.boot_id,
    public_urls: view.public_urls,
    internal_url: view.internal_url,
    state: view.state,
    healthy: view.healthy,
  }

export const placesOf = ({ generation, live, idle }: ServiceStatus) => ({
  generation,
  live: placeOf(live),
  idle: placeOf(idle),
})

export async function kill(served: Served): Promise<void> {
  served.kill('SIGKILL')
  await served.exited
}

/** The events of one name, the newest first. */
export const eventsOf = async (world: World, name: string): Promise<Record<string, unknown>[]> =>
  (await world.history()).filter(({ event }) => event === name)
