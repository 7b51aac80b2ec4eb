// The operations as the admin door calls them: each takes the service's lock, checks the caller's condition, acts.
import type { ListenAddress } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import type { JournalRecord } from '../journal/record.ts'
import { advise } from './advise.ts'
import { askable, decide, rangesOf, runningIn } from './ask.ts'
import { checkGeneration } from './conditions.ts'
import type { Feed } from './feed.ts'
import { type Progress, stepOf } from './lock.ts'
import { linkOf, type Preview } from './preview.ts'
import { promote } from './promote.ts'
import { checkRollback, rollback } from './rollback.ts'
import { idleSlot, type Service } from './service.ts'
import { stage } from './stage.ts'
import { statusOf } from './status.ts'
import { tidy } from './tidy.ts'
import type {
  CallContext,
  CheckResult,
  Control,
  HistoryQuery,
  Operation,
  PauseResult,
  PreviewResult,
  StepEvent,
  SwitchResult,
} from './types.ts'

/** @param frontDoor where it listens, for links */
export function createControl(
  services: readonly Service[],
  journal: Journal,
  feed: Feed,
  frontDoor: ListenAddress,
): Control {
  function find(name: string): Service {
    const service = services.find((one) => one.name === name)
    if (service) return service
    throw new SlotgateError('unknown_service', { service: name, known: services.map((one) => one.name) })
  }

  /** Steps 1 and 2 of DESIGN §4, the same for every operation. */
  async function alone<Result>(
    service: Service,
    operation: Operation,
    release: string | null,
    context: CallContext,
    work: (progress: Progress) => Promise<Result>,
  ): Promise<Result> {
    const request = { service: service.name, operation, release, actor: context.actor }
    try {
      return await service.lock.run(request, async (progress) => {
        checkGeneration(service, context)
        return work(progress)
      })
    } finally {
      tidy(service)
    }
  }

  return {
    async statuses() {
      const all = await Promise.all(services.map(statusOf))
      return Object.fromEntries(all.map((status) => [status.service, status]))
    },
    async status(name) {
      return statusOf(find(name))
    },
    async advice(name, to) {
      return advise(find(name), to)
    },
    async stage(name, release, context) {
      const service = find(name)
      const id = await service.driver.identify(release)
      return alone(service, 'stage', id, context, (progress) => stage(service, id, context, progress))
    },
    async check(name, operation, to, context) {
      const service = find(name)
      if (operation === 'promote') return checkPromote(service, context)
      const id = await identify(service, to)
      return alone(service, 'check', id ?? null, context, (progress) =>
        checkBack(service, id, context, progress),
      )
    },
    async promote(name, context) {
      const service = find(name)
      const release = service.occupants.get(idleSlot(service))?.release ?? null
      return alone(service, 'promote', release, context, (progress) =>
        promote(service, 'promote', context, progress),
      )
    },
    async pause(name, forMs, context) {
      const service = find(name)
      checkGeneration(service, context)
      await service.pause.pause(context.actor, forMs)
      return pauseResult(service, 'pause')
    },
    async resume(name, context) {
      const service = find(name)
      checkGeneration(service, context)
      await service.pause.resume(context.actor)
      return pauseResult(service, 'resume')
    },
    async rollback(name, to, context) {
      const service = find(name)
      const id = await identify(service, to)
      return alone(service, 'rollback', id ?? null, context, (progress) =>
        rollback(service, id, context, progress),
      )
    },
    async deploy(name, release, context) {
      const service = find(name)
      const id = await service.driver.identify(release)
      return alone(service, 'deploy', id, context, (progress) => deploy(service, id, context, progress))
    },
    async preview(name, forMs, context) {
      const service = find(name)
      checkGeneration(service, context)
      return openPreview(service, forMs, context, frontDoor)
    },
    async endPreviews(name, context) {
      const service = find(name)
      checkGeneration(service, context)
      const { generation } = service.table.pointer(service.index)
      await previewOf(service).end(context.actor, generation)
      return { service: name, operation: 'end_previews', generation }
    },
    history: (query) => historyOf(journal, query),
    async events(query) {
      if (query.service !== undefined) find(query.service)
      return feed.read(query, () => services.flatMap(stepNow))
    },
  }
}

const stepNow = ({ name, lock }: Service): StepEvent[] => (lock.current ? [stepOf(name, lock.current)] : [])

const identify = async ({ driver }: Service, to: string | undefined): Promise<string | undefined> =>
  to === undefined ? undefined : driver.identify(to)

async function deploy(
  service: Service,
  release: string,
  context: CallContext,
  progress: Progress,
): Promise<SwitchResult> {
  const unchanged = alreadyLive(service, release)
  if (unchanged) return unchanged
  const staged = await stage(service, release, context, progress)
  const promoted = await promote(service, 'deploy', context, progress)
  return { ...promoted, took_ms: staged.took_ms + promoted.took_ms }
}

function pauseResult(
  { name, table, index, drains, pause }: Service,
  operation: PauseResult['operation'],
): PauseResult {
  const { generation } = table.pointer(index)
  return { service: name, operation, generation, paused: pause.view(), claims: drains.open() }
}

function previewOf({ name, preview }: Service): Preview {
  if (preview) return preview
  throw new SlotgateError('preview_off', { service: name })
}

async function openPreview(
  service: Service,
  forMs: number,
  { actor }: CallContext,
  frontDoor: ListenAddress,
): Promise<PreviewResult> {
  const { name, table, index, occupants } = service
  const { generation } = table.pointer(index)
  const { pass, until } = await previewOf(service).pass(actor, forMs, generation)
  const release = occupants.get(idleSlot(service))?.release ?? null
  return {
    service: name,
    operation: 'preview',
    generation,
    release,
    link: linkOf(service.config, frontDoor, pass),
    until,
  }
}

/** The answer to a deploy that would change nothing: the release is live, runs, and its files are what they were. */
function alreadyLive(
  { name, driver, table, index, occupants }: Service,
  release: string,
): SwitchResult | null {
  const { slot, generation } = table.pointer(index)
  const occupant = slot && occupants.get(slot)
  if (!driver.isFixed || !slot || occupant?.release !== release || !occupant.instance) return null
  const live = { slot, release }
  return {
    service: name,
    operation: 'deploy',
    generation,
    live,
    previous: live,
    verdict: null,
    attempts: 0,
    schema_before: null,
    schema_after: null,
    took_ms: 0,
  }
}

/** Only reads, so it needs no lock: what it says holds for the moment it was asked, as any check does. */
async function checkPromote(service: Service, context: CallContext): Promise<CheckResult> {
  checkGeneration(service, context)
  const { instance } = runningIn(service, idleSlot(service))
  return remember(service, context, await decide(service, 'promote', askable(service, instance, 'idle')))
}

async function checkBack(
  service: Service,
  to: string | undefined,
  context: CallContext,
  progress: Progress,
): Promise<CheckResult> {
  return remember(service, context, await checkRollback(service, to, progress))
}

/** What a check learned of the ranges is worth keeping: the door is computed from it. */
async function remember(
  service: Service,
  { actor }: CallContext,
  verdict: CheckResult['verdict'],
): Promise<CheckResult> {
  const { name, table, index, journal } = service
  const { generation } = table.pointer(index)
  const { release } = verdict.target
  await journal.append({
    event: 'asked',
    service: name,
    generation,
    actor,
    release,
    operation: verdict.operation,
    allowed: verdict.allowed,
    code: verdict.code,
    ranges: rangesOf(verdict),
  })
  return {
    service: name,
    operation: verdict.operation,
    release,
    allowed: verdict.allowed,
    generation,
    verdict,
  }
}

/** Newest first. */
async function historyOf(journal: Journal, query: HistoryQuery): Promise<JournalRecord[]> {
  const { service, limit, before = Number.POSITIVE_INFINITY } = query
  const found: JournalRecord[] = []
  for await (const record of journal.backwards()) {
    if (record.seq < before && (service === undefined || record.service === service)) found.push(record)
    if (found.length === limit) break
  }
  return found
}
