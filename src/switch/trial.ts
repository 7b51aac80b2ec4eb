// Which release is on trial, and what it is compared with. The line of its flip in the journal has that, so that a restart
// goes on with the bake.
import type { Bake } from '../journal/record.ts'
import type { ExchangeCounts } from './data-plane.ts'
import { recorded, type Service } from './service.ts'
import type { BakeCounts, BakeView } from './types.ts'

/**
 * @param release what is about to go live; the former one is still counting
 * @returns null where the service has no `bake`, for a rollback, and where there is nothing else to go back to
 */
export function trialOf(service: Service, operation: string, release: string): Bake | null {
  const { config } = service
  const { live } = recorded(service)
  if (!config.bake || operation === 'rollback' || !live || live.release === release) return null
  return {
    until: new Date(Date.now() + config.bake.forMs).toISOString(),
    former: { release: live.release, ...liveCounts(service) },
  }
}

/** @returns the bake that is under way, as the status shows it; null: there is none */
export function bakeView(service: Service): BakeView | null {
  const { config, table, index } = service
  const { bake: trial, live, generation } = recorded(service)
  // The journal has a flip a moment before it happens.
  const isLive = table.pointer(index).generation === generation
  if (!config.bake || !trial || !live || !isLive) return null
  return {
    release: live.release,
    until: trial.until,
    ...countsOf(liveCounts(service)),
    former: { release: trial.former.release, ...countsOf(trial.former) },
    max_error_ratio: config.bake.maxErrorRatio,
    min_requests: config.bake.minRequests,
  }
}

/** What the live release has made of its exchanges, since its flip or since slotgate runs. */
function liveCounts({ table, dataPlane, index, early }: Service): ExchangeCounts {
  const { generation } = table.pointer(index)
  const { answered, failed } = dataPlane.exchanges(index, generation)
  if (early?.generation !== generation) return { answered, failed }
  const before = early.counts()
  return { answered: answered - before.answered, failed: failed - before.failed }
}

const countsOf = ({ answered, failed }: ExchangeCounts): BakeCounts => ({
  requests: answered + failed,
  failed,
})
