// The closed load: so many connections, each sending its next request when it has the answer to the one before. It shows
// what a request costs a proxy that is kept busy.
import { setTimeout as pause } from 'node:timers/promises'
import { type Asked, Lane, type LaneOwner } from './lane.ts'
import { type Measured, startTally, type Window, watch } from './window.ts'

export interface ClosedLoad extends Asked {
  connections: number
}

const LEAVES_WITHIN_MS = 2000

export async function runClosed(load: ClosedLoad, window: Window): Promise<Measured> {
  const tally = startTally()
  const owner: LaneOwner = {
    ready: (lane) => lane.ask(),
    answered: (_, isRight) => {
      if (isRight) tally.answered += 1
      else tally.failed += 1
    },
    lost: () => {},
  }
  const lanes = Array.from({ length: load.connections }, () => new Lane(load, owner))
  for (const lane of lanes) lane.connect()
  try {
    return await watch(tally, window)
  } finally {
    await leaveAll(lanes)
  }
}

export async function leaveAll(lanes: Iterable<{ leave(): Promise<void> }>): Promise<void> {
  await Promise.race([Promise.all([...lanes].map((lane) => lane.leave())), pause(LEAVES_WITHIN_MS)])
}
