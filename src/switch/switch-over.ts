// From a running target to the flipped pointer: steps 4 to 9 of DESIGN §4, the same for a promotion and a rollback.
// Every step before the flip can fail and leaves the world as it was; the flip itself cannot. If a migration has run in
// between and the new release no longer fits, the caller hears that traffic is back where it was.
import { SlotgateError } from '../errors.ts'
import { fingerprint, type Verdict } from '../gate/judge.ts'
import { urlOf } from '../slots/ask.ts'
import { askable, decide, refusal } from './ask.ts'
import { exclusively } from './exclusive.ts'
import { type Candidate, commitFlip, prepare } from './flip.ts'
import type { Progress } from './lock.ts'
import { idleSlot, type Service } from './service.ts'
import { confirm } from './settle.ts'
import { trialOf } from './trial.ts'
import type { CallContext, SwitchResult } from './types.ts'

const ROUNDS = 3

/**
 * Moves traffic to the candidate, if the gate allows it.
 *
 * @param operation what the journal and the answer call it; the gate judges a deploy as a promotion
 * @throws SlotgateError the gate's refusal with its verdict, `schema_unsettled`, `data_plane_not_ready`,
 *   `candidate_unhealthy`, `exclusive_drain_timeout`, `journal_write_failed`; nothing was switched then;
 *   `schema_changed_during_switch`: it was switched, and back
 */
export async function switchOver(
  service: Service,
  operation: 'promote' | 'rollback' | 'deploy',
  candidate: Candidate,
  context: CallContext,
  progress: Progress,
): Promise<SwitchResult> {
  const started = performance.now()
  const judge = () => passGate(service, operation, candidate, context, progress)
  const go = (verdict: Verdict) => cross(service, operation, candidate, verdict, context, progress)
  const { release } = candidate.instance
  // Nobody has to wait for a release that is refused at once; for one that is not, it is judged again after the wait.
  const verdict = await judge()
  const crossed = context.exclusive
    ? await exclusively(service, release, context, progress, async () => go(await judge()))
    : await go(verdict)
  return { ...crossed, took_ms: Math.round(performance.now() - started) }
}

/** Steps 7 to 9: the flip, and the first look at what came of it. */
async function cross(
  service: Service,
  operation: 'promote' | 'rollback' | 'deploy',
  candidate: Candidate,
  verdict: Verdict,
  context: CallContext,
  progress: Progress,
): Promise<Omit<SwitchResult, 'took_ms'>> {
  const { release } = candidate.instance
  const bake = trialOf(service, operation, release)
  const why = {
    operation,
    ...(context.exclusive && { exclusive: true }),
    ...(context.code && { code: context.code }),
    ...(bake && { bake }),
  }
  const flipped = await commitFlip(service, candidate, verdict, context, why, progress)
  const { generation, slot, previous } = flipped
  const facts = { service: service.name, slot, release, generation, actor: context.actor, operation }
  service.log.info(facts, `${release} is live`)
  const before = verdict.target.status?.current_schema_version ?? null
  const after = await confirm(service, flipped, before, progress)
  return {
    service: service.name,
    operation,
    generation,
    live: { slot, release },
    previous,
    verdict,
    attempts: verdict.attempts,
    schema_before: before,
    schema_after: after,
  }
}

/** Steps 4 to 6: judge, let the front door get ready, and judge again until nothing changed in between. */
async function passGate(
  service: Service,
  operation: 'promote' | 'rollback' | 'deploy',
  { occupant, instance }: Candidate,
  context: CallContext,
  progress: Progress,
): Promise<Verdict> {
  const isRehearsed = service.occupants.get(idleSlot(service)) !== occupant
  const target = askable(service, instance, isRehearsed ? 'rehearsal' : 'idle')
  const judged = operation === 'rollback' ? 'rollback' : 'promote'
  for (let round = 1; round <= ROUNDS; round++) {
    progress('asking')
    const verdict = await decide(service, judged, target)
    if (!verdict.allowed) {
      throw await refusal(service, verdict, context, { internal_url: urlOf(instance.internal) })
    }
    progress('preparing the front door')
    await prepare(service, instance)
    progress('asking again')
    const confirmed = await decide(service, judged, target)
    if (fingerprint(confirmed) === fingerprint(verdict)) return verdict
  }
  throw new SlotgateError('schema_unsettled', { service: service.name, attempts: ROUNDS })
}
