// The flip: what must be ready for it, its line in the journal, and the one store that moves traffic.
import { otherSlot, type SlotName } from '../contract.ts'
import { messageOf, SlotgateError } from '../errors.ts'
import type { Verdict } from '../gate/judge.ts'
import type { Bake } from '../journal/record.ts'
import { urlOf } from '../slots/ask.ts'
import type { Instance } from '../slots/drivers/driver.ts'
import type { Occupant } from '../slots/occupants.ts'
import { GENERATION_CELLS } from '../slots/table.ts'
import { decisionFacts } from './ask.ts'
import { leaveBehind, retire } from './leave.ts'
import type { Progress } from './lock.ts'
import { idleSlot, recorded, type Service } from './service.ts'
import type { CallContext } from './types.ts'

const CUT_WITHIN_MS = 1_000

/** What traffic would move to: in the idle slot already, or rehearsed and moving in with the flip. */
export interface Candidate {
  occupant: Occupant
  instance: Instance
}

/** A flip that has happened. */
export interface Flipped {
  generation: number
  slot: SlotName
  /** What the journal says was live before; null before the first flip. */
  previous: { slot: SlotName; release: string } | null
  /** Who was live before and drains now. */
  left: Occupant | null
}

/**
 * Step 5 of DESIGN §4: every worker has the address, and the claim counter of the next generation is empty.
 *
 * @throws SlotgateError `data_plane_not_ready`
 */
export async function prepare(service: Service, { release, publicAddresses }: Instance): Promise<void> {
  const { dataPlane, index } = service
  try {
    await dataPlane.setBackend(index, idleSlot(service), { release, addresses: publicAddresses })
  } catch (error) {
    throw new SlotgateError('data_plane_not_ready', { release, detail: messageOf(error) }, { cause: error })
  }
  await readyToMove(service, index, release)
  await readyToPreview(service, release)
}

/**
 * The pointer of the preview moves as well when another release comes into the idle slot.
 *
 * @throws SlotgateError `data_plane_not_ready`
 */
export async function readyToPreview(service: Service, release: string): Promise<void> {
  if (service.preview) await readyToMove(service, service.preview.place, release)
}

async function readyToMove(service: Service, place: number, release: string): Promise<void> {
  const { table } = service
  if (!table.canFlip(place)) await freeNextCell(service, place)
  if (table.canFlip(place)) return
  const detail = 'connections from many switches ago could not be ended'
  throw new SlotgateError('data_plane_not_ready', { release, detail })
}

/** The counter of the next generation may still hold claims of the generation that used it last. */
async function freeNextCell({ name, table, dataPlane, closing, log }: Service, place: number): Promise<void> {
  const generation = table.pointer(place).generation + 1 - GENERATION_CELLS
  const limit = AbortSignal.any([closing, AbortSignal.timeout(CUT_WITHIN_MS)])
  for (const kind of ['requests', 'tunnels'] as const) {
    const cut = await dataPlane.cut(place, [generation], kind)
    if (cut > 0)
      log.warn(
        { service: name, generation, cut, kind, code: 'drain_cut' },
        'cut what was open for 64 switches',
      )
    await dataPlane.whenDrained(place, [generation], kind, limit)
  }
}

/**
 * Steps 7 and 8: writes the flip down, and does it. Once the line is on the disk, a restart comes up on the candidate.
 *
 * @param facts what the journal says beyond the decision: the operation, whether it was exclusive, a code where nobody asked
 *   for it, and the bake that begins with it
 * @throws SlotgateError `candidate_unhealthy` if it died since it was asked, `journal_write_failed`; nothing was
 *   switched then
 */
export async function commitFlip(
  service: Service,
  { occupant, instance }: Candidate,
  verdict: Verdict,
  context: CallContext,
  facts: { operation: string; exclusive?: boolean; code?: string; bake?: Bake },
  progress: Progress,
): Promise<Flipped> {
  const slot = idleSlot(service)
  if (occupant.instance !== instance) {
    throw new SlotgateError('candidate_unhealthy', {
      release: instance.release,
      slot,
      detail: occupant.detail ?? 'it ended',
      internal_url: urlOf(instance.internal),
    })
  }
  progress('writing the journal')
  const decision = decisionFacts(service, verdict, context)
  const previous = recorded(service).live
  await service.journal.append({
    ...decision,
    ...facts,
    event: 'flipped',
    generation: decision.generation + 1,
    slot,
    from: previous,
    // After a crash it is this process that has to be found in the slot.
    ...(instance.bootId !== null && { boot_id: instance.bootId }),
  })
  progress('flipping')
  return { ...flip(service, occupant), previous }
}

/** The store, and what becomes of the releases that lose their place by it. Nothing here can fail or wait. */
function flip(service: Service, occupant: Occupant): Omit<Flipped, 'previous'> {
  const { table, index, occupants, drains, dataPlane, preview } = service
  const slot = idleSlot(service)
  const left = occupants.get(otherSlot(slot))
  const displaced = occupants.place(slot, occupant)
  // While the journal was written, who was in the slot may have died, and the front door was told so.
  void occupants.announce(slot)
  const next = table.pointer(index).generation + 1
  dataPlane.begin({ service: index, generation: next, slot, release: occupant.release })
  const store = () => table.flip(index, slot)
  const { generation } = preview ? preview.move(otherSlot(slot), left, store) : store()
  dataPlane.letIn(index)
  occupant.generations.push(generation)
  drains.callOff(occupant)
  if (!occupant.instance) void occupants.revive(slot, occupant)
  if (displaced) void retire(service, displaced, slot)
  if (left) void leaveBehind(service, left, otherSlot(slot))
  return { generation, slot, left }
}
