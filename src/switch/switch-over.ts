// From a running target to the flipped pointer: steps 4 to 9 of DESIGN §4, the same for a promotion and a rollback.
// Every step before the flip can fail and leaves the world as it was; the flip itself cannot.
import { messageOf, SlotgateError } from '../errors.ts'
import { fingerprint, type Verdict } from '../gate/judge.ts'
import { urlOf } from '../slots/ask.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import type { Occupant } from '../slots/occupants.ts'
import { GENERATION_CELLS } from '../slots/table.ts'
import { askable, decide, decisionFacts, refusal } from './ask.ts'
import { flip } from './flip.ts'
import type { Progress } from './lock.ts'
import { idleSlot, recorded, type Service } from './service.ts'
import { settle } from './settle.ts'
import type { CallContext, SwitchResult } from './types.ts'

const ROUNDS = 3
const CUT_WITHIN_MS = 1_000

/** What traffic would move to: in the idle slot already, or rehearsed and moving in with the flip. */
export interface Candidate {
  occupant: Occupant
  instance: Instance
}

/**
 * Moves traffic to the idle slot's release, if the gate allows it.
 *
 * @param operation what the journal and the answer call it; the gate judges a deploy as a promotion
 * @throws SlotgateError the gate's refusal with its verdict, `schema_unsettled`, `data_plane_not_ready`,
 *   `journal_write_failed`; nothing was switched then
 */
export async function switchOver(
  service: Service,
  operation: 'promote' | 'rollback' | 'deploy',
  candidate: Candidate,
  context: CallContext,
  progress: Progress,
): Promise<SwitchResult> {
  const started = performance.now()
  const verdict = await passGate(service, operation, candidate, context, progress)
  const former = recorded(service).live
  progress('writing the journal')
  await writeFlip(service, operation, candidate, context, verdict)
  progress('flipping')
  const pointer = flip(service, candidate.occupant)
  service.log.info(
    {
      service: service.name,
      slot: pointer.slot,
      release: candidate.instance.release,
      generation: pointer.generation,
      actor: context.actor,
      operation,
    },
    `${candidate.instance.release} is live`,
  )
  void settle(service, pointer.generation, verdict, former)
  return {
    service: service.name,
    operation,
    generation: pointer.generation,
    live: { slot: pointer.slot, release: candidate.instance.release },
    previous: former,
    verdict,
    attempts: verdict.attempts,
    took_ms: Math.round(performance.now() - started),
  }
}

/** Steps 4 to 6: judge, let the front door get ready, and judge again until nothing changed in between. */
async function passGate(
  service: Service,
  operation: 'promote' | 'rollback' | 'deploy',
  { instance }: Candidate,
  context: CallContext,
  progress: Progress,
): Promise<Verdict> {
  const target = askable(service, instance, 'idle')
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

/** Step 5: every worker has the address, and the claim counter of the next generation is empty. */
async function prepare(service: Service, { release, publicAddresses }: Instance): Promise<void> {
  const { dataPlane, index, table } = service
  try {
    await dataPlane.setBackend(index, idleSlot(service), { release, addresses: publicAddresses })
    if (!table.canFlip(index)) await freeNextCell(service)
  } catch (error) {
    throw new SlotgateError('data_plane_not_ready', { release, detail: messageOf(error) }, { cause: error })
  }
  if (table.canFlip(index)) return
  const detail = 'connections from many switches ago could not be ended'
  throw new SlotgateError('data_plane_not_ready', { release, detail })
}

/** The counter of the next generation may still hold claims of the generation that used it last. */
async function freeNextCell({ table, index, dataPlane, closing }: Service): Promise<void> {
  const generations = [table.pointer(index).generation + 1 - GENERATION_CELLS]
  const limit = AbortSignal.any([closing, AbortSignal.timeout(CUT_WITHIN_MS)])
  for (const kind of ['requests', 'tunnels'] as const) {
    await dataPlane.cut(index, generations, kind)
    await dataPlane.whenDrained(index, generations, kind, limit)
  }
}

/** Step 7. After this line is on the disk, a restart comes up on the new release. */
async function writeFlip(
  service: Service,
  operation: string,
  { occupant, instance }: Candidate,
  context: CallContext,
  verdict: Verdict,
): Promise<void> {
  // A candidate that died since it was asked is not flipped to.
  if (occupant.instance !== instance) {
    throw new SlotgateError('candidate_unhealthy', {
      release: instance.release,
      slot: idleSlot(service),
      detail: occupant.detail ?? 'it ended',
      internal_url: urlOf(instance.internal),
    })
  }
  const facts = decisionFacts(service, verdict, context)
  await service.journal.append({
    ...facts,
    event: 'flipped',
    operation,
    generation: facts.generation + 1,
    slot: idleSlot(service),
    from: recorded(service).live,
  })
}
