// The watch: between switches it asks the live release, and the former one while it still runs, where the schema is,
// and says what has changed. It never switches: a verdict takes no traffic from a release that serves.
import { type Facts, messageOf } from '../errors.ts'
import type { Party, Reading } from '../gate/judge.ts'
import { waitFor } from '../wait.ts'
import { askable, liveAskable } from './ask.ts'
import { asParty, doorNow } from './door.ts'
import { type Fit, fitOf } from './fit.ts'
import { type Notice, say } from './say.ts'
import { formerRunning, recorded, type Service } from './service.ts'

/** How often a service without schema is looked at, in case a reload gives it one. */
const OFF_INTERVAL_MS = 5_000

/** Watches a service until slotgate ends. Never rejects. */
export async function watch(service: Service): Promise<void> {
  const { closing, log, name } = service
  const intervalMs = ({ schema }: Service['config']) =>
    schema === 'off' ? OFF_INTERVAL_MS : schema.intervalMs
  while (await waitFor(intervalMs(service.config), closing)) {
    await look(service).catch((error: unknown) =>
      log.error({ service: name, err: error }, `what the watch saw: ${messageOf(error)}`),
    )
  }
}

/** One look. What the journal does not have is said, and will be said by the next look if the journal refuses it. */
async function look(service: Service): Promise<void> {
  const { table, index, closing } = service
  const { generation } = table.pointer(index)
  const live = liveAskable(service)
  const { schema } = service.config
  if (!live || schema === 'off') return
  const read = () => Promise.all([live.read(schema.withinMs), readFormer(service)])
  let [reading, former] = await read()
  // What commits between the two would close the door at a version at which it is open: only one of them has seen it.
  if (differ(reading, former)) [reading, former] = await read()
  // A switch makes these readings void: they may be of the release that left.
  const isVoid = () => closing.aborted || table.pointer(index).generation !== generation
  const fit = fitOf({ ...live, reading })
  if (fit === null || isVoid()) return
  for (const { level, notice, facts } of changes(service, live.release, fit, former)) {
    if (!isVoid()) await say(service, level, notice, facts)
  }
}

const differ = (live: Reading, former: Party | null): boolean =>
  live.ok &&
  !!former?.reading.ok &&
  live.status.current_schema_version !== former.reading.status.current_schema_version

/** What a release that a rollback could go to says, if its process still is in the idle slot. */
async function readFormer(service: Service): Promise<Party | null> {
  const { schema } = service.config
  const former = formerRunning(service)
  if (!former || schema === 'off') return null
  return asParty(former, await askable(service, former, 'idle').read(schema.withinMs))
}

interface Change {
  level: 'info' | 'warn' | 'error'
  notice: Notice
  facts: Facts
}

/** What is otherwise than the journal says that it is. */
function changes(
  service: Service,
  release: string,
  { current, reason: misfit }: Fit,
  former: Party | null,
): Change[] {
  const { version, liveFits, doorOpen } = recorded(service).watched
  const { open, to, code: cause, sentence: detail } = doorNow(service, current, former)
  const found: Change[] = []
  const add = (level: Change['level'], notice: Notice, facts: Facts) =>
    found.push({ level, notice, facts: { release, ...facts } })
  if (version !== null && current < version) {
    add('warn', 'schema_version_regressed', { before: version, after: current })
  } else if (current !== version) {
    add('info', 'schema_version_changed', { before: version ?? 'an unknown version', after: current })
  }
  if (misfit && liveFits) {
    add('error', 'schema_live_incompatible', { current, cause: misfit.code, detail: misfit.sentence })
  }
  if (!misfit && !liveFits) add('info', 'schema_live_compatible', { current })
  if (open === false && doorOpen) add('warn', 'rollback_door_closed', { current, to, cause, detail })
  if (open === true && !doorOpen) add('info', 'rollback_door_opened', { current, to, detail })
  return found
}
