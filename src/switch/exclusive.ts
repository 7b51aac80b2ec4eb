// A strict cutover: old and new code never answer at the same time. New requests wait while what is open ends, then comes
// the switch, and then they go on, whatever came of it.
import { SlotgateError } from '../errors.ts'
import type { Progress } from './lock.ts'
import type { Service } from './service.ts'
import type { CallContext } from './types.ts'

/**
 * @param release the one that traffic is to go to
 * @param work what is done while the service answers nothing
 * @throws SlotgateError `exclusive_drain_timeout`, `journal_write_failed`, `shutting_down`: nothing was switched, and requests
 *   go on; what the work throws
 */
export function exclusively<Result>(
  service: Service,
  release: string,
  { actor }: CallContext,
  progress: Progress,
  work: () => Promise<Result>,
): Promise<Result> {
  return service.pause.during(actor, release, async () => {
    progress('draining')
    await emptied(service, release)
    return work()
  })
}

/** Tunnels count: what they carry is answered by the old code. Nothing is cut, since it may turn out to be in vain. */
async function emptied(service: Service, release: string): Promise<void> {
  const { dataPlane, index, closing, config, drains } = service
  const limit = AbortSignal.any([closing, AbortSignal.timeout(config.drain.withinMs)])
  // One after the other: a request may still become a tunnel, but nothing becomes a request.
  for (const kind of ['requests', 'tunnels'] as const) {
    await dataPlane.whenDrained(index, drains.generations, kind, limit)
  }
  const { requests, tunnels } = drains.open()
  if (requests + tunnels === 0) return
  closing.throwIfAborted()
  const facts = { service: service.name, release, requests, tunnels, within_ms: config.drain.withinMs }
  throw new SlotgateError('exclusive_drain_timeout', facts)
}
