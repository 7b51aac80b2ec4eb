// What a crash of slotgate left running is found and ended at the next start, before anything new is booted.
import type { Journal } from '../journal/file.ts'
import type { Logger } from '../log.ts'
import { endProcesses, findByEnvironment, type Leftover, startTimeOf } from './proc.ts'

/** A leftover serves nobody any more; it gets a moment to end what it does. */
const END_WITHIN_MS = 5_000

/**
 * Stops every process of this state folder that still runs: those that the journal knows (same pid, same start time)
 * and those whose environment names the folder, which also finds what was started a moment before the crash.
 *
 * @throws SlotgateError `journal_write_failed`
 */
export async function stopLeftovers(journal: Journal, stateDir: string, log: Logger): Promise<void> {
  const open = journal.state.open
  const leftovers = [...(await fromJournal(open)), ...(await findByEnvironment(stateDir))]
  const pids = [...new Set(leftovers.map(({ pid }) => pid))]
  if (pids.length > 0)
    log.warn({ pids }, `stopping ${pids.length} processes that an earlier slotgate left over`)
  await endProcesses(pids, END_WITHIN_MS)
  for (const [bootId, { service, release }] of Object.entries(open)) {
    const facts = { service, release, boot_id: bootId, pids: pidsOf(leftovers, bootId) }
    await journal.append({ event: 'leftover_stopped', actor: 'slotgate', ...facts })
  }
}

const pidsOf = (leftovers: Leftover[], bootId: string): number[] =>
  leftovers.filter((leftover) => leftover.bootId === bootId).map(({ pid }) => pid)

async function fromJournal(open: Journal['state']['open']): Promise<Leftover[]> {
  const candidates = await Promise.all(
    Object.entries(open).map(async ([bootId, { pid, startTime }]) => {
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
