// Promote: gate the idle release, then flip. A refused candidate stays up: it may be the only process that has the
// migration its own refusal asks for.
import { SlotgateError } from '../errors.ts'
import { urlOf } from '../slots/ask.ts'
import { checkHealth } from '../slots/health.ts'
import { runningIn } from './ask.ts'
import type { Candidate } from './flip.ts'
import type { Progress } from './lock.ts'
import { idleSlot, type Service } from './service.ts'
import { stage } from './stage.ts'
import { switchOver } from './switch-over.ts'
import type { CallContext, SwitchResult } from './types.ts'

/** Steps 3 to 9 of DESIGN §4. @throws SlotgateError `nothing_staged`, `candidate_unhealthy`, and what `switchOver` throws */
export async function promote(
  service: Service,
  operation: 'promote' | 'deploy',
  context: CallContext,
  progress: Progress,
): Promise<SwitchResult> {
  const candidate = await healthyCandidate(service, context, progress)
  return switchOver(service, operation, candidate, context, progress)
}

/** Step 3: the idle slot's release answers 200 at its health path right now. */
async function healthyCandidate(
  service: Service,
  context: CallContext,
  progress: Progress,
): Promise<Candidate> {
  const slot = idleSlot(service)
  if (!service.driver.boots) await adoptWhatRuns(service, context, progress)
  const { occupant, instance } = runningIn(service, slot)
  progress('checking health')
  const problem = await checkHealth(instance.internal, service.config.health, 'idle')
  if (problem === null) return { occupant, instance }
  throw new SlotgateError('candidate_unhealthy', {
    release: instance.release,
    slot,
    detail: problem,
    internal_url: urlOf(instance.internal),
    output: instance.output(),
  })
}

/** Where something else runs the slots, what is there may be promoted without staging it; the slot's name is its id. */
async function adoptWhatRuns(service: Service, context: CallContext, progress: Progress): Promise<void> {
  const slot = idleSlot(service)
  if (service.occupants.get(slot)?.instance) return
  await stage(service, slot, context, progress)
}
