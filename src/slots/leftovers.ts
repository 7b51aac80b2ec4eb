// What a crash of slotgate left running and nobody took over is found and ended at the next start, before anything new
// is booted.
import type { Journal } from '../journal/file.ts'
import type { OpenBoot } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import { removeOutputs } from './output.ts'
import { endProcesses, findByEnvironment, type Leftover, startTimeOf } from './proc.ts'

/** A leftover serves nobody any more; it gets a moment to end what it does. */
const END_WITHIN_MS = 5_000

export interface LeftoversOptions {
  journal: Journal
  stateDir: string
  log: Logger
  /** The boots that were taken over; they, and what they started, stay. */
  keep: ReadonlySet<string>
}

/**
 * Stops every other process of this state folder that still runs: those that the journal knows (same pid, same start
 * time) and those whose environment names the folder, which also finds what was started a moment before the crash.
 *
 * @throws SlotgateError `journal_write_failed`
 */
export async function stopLeftovers({ journal, stateDir, log, keep }: LeftoversOptions): Promise<void> {
  const open = Object.entries(journal.state.open).filter(([bootId]) => !keep.has(bootId))
  const inFolder = (await findByEnvironment(stateDir)).filter(({ bootId }) => !bootId || !keep.has(bootId))
  const leftovers = [...(await fromJournal(open)), ...inFolder]
  const pids = [...new Set(leftovers.map(({ pid }) => pid))]
  if (pids.length > 0)
    log.warn({ pids }, `stopping ${pids.length} processes that an earlier slotgate left over`)
  await endProcesses(pids, END_WITHIN_MS)
  for (const [bootId, { service, release }] of open) {
    const facts = { service, release, boot_id: bootId, pids: pidsOf(leftovers, bootId) }
    await journal.append({ event: 'leftover_stopped', actor: 'slotgate', ...facts })
  }
  removeOutputs(stateDir, keep)
}

const pidsOf = (leftovers: Leftover[], bootId: string): number[] => [
  ...new Set(leftovers.filter((leftover) => leftover.bootId === bootId).map(({ pid }) => pid)),
]

async function fromJournal(open: [string, OpenBoot][]): Promise<Leftover[]> {
  const candidates = await Promise.all(
    open.map(async ([bootId, { pid, startTime }]) => {
      const same = pid !== null && startTime !== null && (await startTimeOf(pid)) === startTime
      return same ? { pid, bootId } : null
    }),
  )
  return candidates.filter((leftover) => leftover !== null)
}

/** Ends what escaped its process group, when slotgate itself ends in order. */
export async function stopStragglers(stateDir: string): Promise<void> {
  const stragglers = await findByEnvironment(stateDir)
  await endProcesses(
    stragglers.map(({ pid }) => pid),
    0,
  )
}
