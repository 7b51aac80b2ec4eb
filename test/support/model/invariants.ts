// The invariants of the switch, and that the system is where the model is. All are looked at after every step.
import { otherSlot } from '../../../src/contract.ts'
import { SlotgateError } from '../../../src/errors.ts'
import type { Journal } from '../../../src/journal/file.ts'
import { recorded } from '../../../src/switch/service.ts'
import type { Model, Resident } from './model.ts'
import { SERVICE, type System } from './system.ts'

/** What a restart would read. */
type Disk = Pick<Journal, 'state' | 'records'>

/** @returns what is wrong, or nothing */
type Invariant = (
  system: System,
  model: Model,
  disk: Disk,
) => Promise<string | undefined> | string | undefined

const INVARIANTS: readonly Invariant[] = [
  afterASwitchNoRequestReachesTheOldSlot,
  noRequestIsDeliveredTwice,
  claimsAreExactAndGoneWhenDrained,
  aFailingCandidateNeverGoesLive,
  aRollbackRestoresThePreviousExactly,
  thePointerIsWhatIsWrittenDown,
  aBrokenJournalIsRefused,
  nothingInTheJournalIsDropped,
  switchesAreOneAfterTheOther,
  noRequestIsCutByWhatHappensToOthers,
  aPauseLastsUntilSomebodyEndsIt,
  theSlotsAreAsTheModelSays,
]

/** @throws Error naming the invariant that does not hold */
export async function checkAll(system: System, model: Model): Promise<void> {
  const disk = await system.startedFrom(await system.bytes())
  for (const invariant of INVARIANTS) {
    const wrong = await invariant(system, model, disk)
    if (wrong !== undefined) throw new Error(`${invariant.name}: ${wrong}`)
  }
  const [found] = system.found
  if (found) throw new Error(found)
}

/** 1. A request that arrives after a switch was answered is the live release's. */
async function afterASwitchNoRequestReachesTheOldSlot(system: System, { live, paused }: Model) {
  const { status, bootId, id } = await system.probe()
  if (paused) return status === 503 ? undefined : `${id} was answered ${status} by ${bootId} in a pause`
  const app = system.live
  if (live?.runs !== true) {
    return status === 502 || status === 503 ? undefined : `${bootId} answered ${status}, and nothing serves`
  }
  if (bootId === app?.bootId && app?.release === live.release && status === 200) return undefined
  return `${id} was answered ${status} by ${bootId}; live is ${live.release}`
}

/** 2. A request that must not be repeated reaches one app, once. */
function noRequestIsDeliveredTwice({ delivered }: System) {
  for (const [id, apps] of delivered) {
    if (apps.length > 1) return `${id} reached ${apps.map(({ bootId }) => bootId).join(' and ')}`
  }
}

/** 3. Each generation counts exactly what is open; what is drained counts nothing. `System` sees to the stops. */
function claimsAreExactAndGoneWhenDrained({ service, held }: System) {
  const { generation: newest } = service.table.pointer(0)
  for (let generation = 1; generation <= newest; generation++) {
    const { requests, tunnels } = service.table.claims(0, generation)
    const open = held.filter((one) => one.isOpen && one.generation === generation).length
    if (requests !== open || tunnels !== 0) {
      return `generation ${generation} counts ${requests} requests and ${tunnels} tunnels; ${open} are open`
    }
  }
}

/** 4. What goes live has just said that it fits. `System` holds its last answer against each flip, too. */
function aFailingCandidateNeverGoesLive(_system: System, _model: Model, { records }: Disk) {
  for (const { event, evidence, release, generation } of records) {
    if (event !== 'flipped') continue
    const status = (evidence as { target?: { status?: Record<string, unknown> } }).target?.status
    const current = Number(status?.current_schema_version)
    const isInside =
      Number(status?.code_min_schema_version) <= current && current <= Number(status?.code_max_schema_version)
    if (!isInside || status?.compatible !== true)
      return `${release} went live as ${generation}: ${JSON.stringify(status)}`
  }
}

/** 5. A rollback ends where the list said, and takes from it what it went past. */
function aRollbackRestoresThePreviousExactly({ service }: System, model: Model) {
  const { previous, wasLive } = recorded(service)
  if (previous.join() !== model.previous.join()) {
    return `a rollback would go through ${previous}; it has to go through ${model.previous}`
  }
  if (wasLive.join() !== model.wasLive.join()) return `${wasLive} were live; it has to be ${model.wasLive}`
}

/** 6. The pointer equals what the disk has, and with it what a restart would come up on. */
function thePointerIsWhatIsWrittenDown({ service }: System, model: Model, { state }: Disk) {
  const { generation, slot } = service.table.pointer(0)
  const written = state.services[SERVICE]
  if ((written?.generation ?? 0) !== generation || (written?.live?.slot ?? null) !== slot) {
    return `it points to ${slot} since ${generation}; the disk has ${written?.live?.slot} since ${written?.generation}`
  }
  if (generation !== model.generation)
    return `${generation} switches happened; it has to be ${model.generation}`
}

/** 7. One changed byte in a line that others follow, and nothing starts from it. */
async function aBrokenJournalIsRefused(system: System) {
  const bytes = await system.bytes()
  const end = bytes.lastIndexOf('\n', bytes.length - 2)
  if (end <= 0) return undefined
  const at = (system.promised.length * 7919) % end
  const broken = Buffer.from(bytes)
  broken[at] = bytes[at] === 0x20 ? 0x21 : 0x20
  const isRefused = await system.startedFrom(broken).then(
    () => false,
    (error: unknown) => error instanceof SlotgateError && error.code === 'journal_broken',
  )
  return isRefused ? undefined : `a journal with a changed byte at ${at} was taken`
}

/** 8. What was promised to be written stays, with every field, whoever wrote it. */
function nothingInTheJournalIsDropped({ promised }: System, _model: Model, { records }: Disk) {
  const lines = new Set(records.map((record) => JSON.stringify(record)))
  const lost = promised.find((record) => !lines.has(JSON.stringify(record)))
  return lost && `the journal has no ${JSON.stringify(lost)}`
}

/** 9. Each switch is one above the one before, whoever called at the same time. */
function switchesAreOneAfterTheOther(_system: System, _model: Model, { records }: Disk) {
  const generations = records.flatMap(({ event, generation }) =>
    event === 'flipped' ? (generation ?? 0) : [],
  )
  const wrong = generations.find((generation, at) => generation !== at + 1)
  return wrong === undefined ? undefined : `the switches were ${generations}`
}

/** 10. Whoever else leaves or dies, an app answers what it was asked: while it is live, and as long as a drain may take. */
function noRequestIsCutByWhatHappensToOthers({ held }: System) {
  const cut = held.find(({ app, isOpen, mayEnd }) => !isOpen && !mayEnd && !app.wasKilled)
  return cut && `${cut.id} of ${cut.app.bootId} was cut`
}

/** 11. Neither a switch ends it, nor a crash; and what an exclusive switch holds, it lets go, whatever comes of it. */
function aPauseLastsUntilSomebodyEndsIt({ service }: System, { paused }: Model, { state }: Disk) {
  const isPaused = service.table.isPaused(0)
  if (isPaused !== paused) return `it is ${isPaused ? '' : 'not '}paused`
  const written = state.services[SERVICE]
  if (((written?.paused ?? null) !== null) !== paused)
    return `the disk has ${JSON.stringify(written?.paused)}`
}

/** And the model: who is in the slots, and who runs. */
function theSlotsAreAsTheModelSays(system: System, model: Model) {
  const { occupants, table } = system.service
  const { slot } = table.pointer(0)
  const said = (resident: Resident | null) =>
    resident ? `${resident.release}${resident.runs ? '' : ' (down)'}` : 'nothing'
  const found = (of: typeof slot) => {
    const occupant = of && occupants.get(of)
    return occupant ? `${occupant.release}${occupant.instance ? '' : ' (down)'}` : 'nothing'
  }
  const is = `${found(slot)} live, ${found(slot ? otherSlot(slot) : 'blue')} idle`
  const has = `${said(model.live)} live, ${said(model.idle)} idle`
  return is === has ? undefined : `there is ${is}; it has to be ${has}`
}
