// How a switch asks: the releases of the slots as the gate wants them, and the verdict written down.
import type { Range, SlotName } from '../contract.ts'
import { rangeOf, type SchemaStatus } from '../contract.ts'
import { SlotgateError } from '../errors.ts'
import { type Askable, consult } from '../gate/consult.ts'
import { type GateOperation, type Reading, type Target, unchecked, type Verdict } from '../gate/judge.ts'
import { readStatus } from '../gate/read.ts'
import { urlOf } from '../slots/ask.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import type { Occupant } from '../slots/occupants.ts'
import { idleSlot, type Service } from './service.ts'
import type { CallContext } from './types.ts'

const NOT_RUNNING: Reading = {
  ok: false,
  code: 'schema_status_unreachable',
  facts: { detail: 'it is not running', internal_url: '(none)' },
}

/** A running release, as the gate asks it. */
export function askable(service: Service, instance: Instance, role: 'live' | 'idle' | 'rehearsal'): Askable {
  const { schema } = service.config
  return {
    release: instance.release,
    internalUrl: urlOf(instance.internal),
    ...(instance.bootId !== null && { bootId: instance.bootId }),
    read: (withinMs) =>
      schema === 'off'
        ? Promise.resolve(NOT_RUNNING)
        : readStatus({ address: instance.internal, path: schema.path, role, withinMs }),
  }
}

/** The live release; one that is down answers "not running" at once, so that a rollback away from it is quick. */
export function liveAskable(service: Service): Askable | null {
  const { slot } = service.table.pointer(service.index)
  const occupant = slot && service.occupants.get(slot)
  if (!occupant) return null
  if (occupant.instance) return askable(service, occupant.instance, 'live')
  return { release: occupant.release, internalUrl: '(none)', read: async () => NOT_RUNNING }
}

/** Asks both and judges; with `schema: off` nothing is asked. */
export async function decide(service: Service, operation: GateOperation, target: Askable): Promise<Verdict> {
  const { schema } = service.config
  const live = liveAskable(service)
  if (schema !== 'off') return consult(operation, target, live, schema.withinMs)
  const party = ({ release, internalUrl }: Askable): Target => ({
    release,
    internalUrl,
    reading: NOT_RUNNING,
  })
  return unchecked(operation, party(target), live && party(live))
}

/** The ranges that a verdict learned; they feed the door and row 19. */
export function rangesOf(verdict: Verdict): Record<string, Range> {
  const entry = (party: { release: string; status: SchemaStatus | null } | null) =>
    party?.status ? [[party.release, rangeOf(party.status)] as const] : []
  return Object.fromEntries([...entry(verdict.live), ...entry(verdict.target)])
}

/** Facts that every journal record of a decision has. */
export const decisionFacts = (service: Service, verdict: Verdict, { actor }: CallContext) => ({
  service: service.name,
  generation: service.table.pointer(service.index).generation,
  actor,
  release: verdict.target.release,
  operation: verdict.operation,
  ranges: rangesOf(verdict),
  evidence: {
    kind: verdict.evidence,
    target: verdict.target,
    live: verdict.live,
    attempts: verdict.attempts,
  },
  warnings: verdict.warnings.map(({ code }) => code),
})

/**
 * Writes a refusal down and makes it an error that carries the whole verdict.
 *
 * @param more facts for the caller, such as the internal URL of a candidate that stays up
 */
export async function refusal(
  service: Service,
  verdict: Verdict,
  context: CallContext,
  more: Record<string, unknown> = {},
): Promise<SlotgateError> {
  const facts = decisionFacts(service, verdict, context)
  const reasons = verdict.reasons.map(({ code, sentence }) => ({ code, sentence }))
  await service.journal
    .append({ ...facts, event: 'refused', slot: idleSlot(service), code: verdict.code, reasons })
    .catch((error) =>
      service.log.error({ service: service.name, err: error }, 'the journal could not be written'),
    )
  const [primary] = verdict.reasons
  const code = primary?.code ?? 'internal_error'
  service.log.warn(
    { service: service.name, release: facts.release, operation: facts.operation, code },
    primary?.sentence,
  )
  const { code: _code, sentence: _sentence, hint: _hint, ...numbers } = primary ?? { code, sentence: '' }
  return new SlotgateError(code, {
    ...numbers,
    ...more,
    service: service.name,
    generation: facts.generation,
    evidence: verdict.evidence,
    attempts: verdict.attempts,
    verdict,
  })
}

/** The occupant's instance, or an error that says it is not there to be asked. */
export function runningIn(service: Service, slot: SlotName): { occupant: Occupant; instance: Instance } {
  const occupant = service.occupants.get(slot)
  if (!occupant?.instance) throw new SlotgateError('nothing_staged', { service: service.name })
  return { occupant, instance: occupant.instance }
}
