// The bake: a release that was promoted is on trial for a while. If clearly more of its requests fail than of the former
// one's, traffic goes back, once, through the gate.
import { type Facts, messageOf, SlotgateError } from '../errors.ts'
import { waitFor } from '../wait.ts'
import { rollback } from './rollback.ts'
import { raise, SELF, say } from './say.ts'
import type { Service } from './service.ts'
import { bakeView } from './trial.ts'
import type { BakeCounts, BakeView } from './types.ts'

const LOOK_EVERY_MS = 500
/** A new release is clearly worse if its share of failed requests is so many times that of the former one. */
const CLEARLY = 2

/** Looks after the bakes of a service until slotgate ends. Never rejects. */
export async function bake(service: Service): Promise<void> {
  const { closing, log, name, table, index } = service
  /** Where the journal could not be written: what cannot be written down is not done, and not tried for ever. */
  let gaveUp = 0
  while (await waitFor(LOOK_EVERY_MS, closing)) {
    const { generation } = table.pointer(index)
    if (generation === gaveUp) continue
    await look(service).catch((error: unknown) => {
      gaveUp = generation
      log.error({ service: name, err: error }, `the bake ended: ${messageOf(error)}`)
    })
  }
}

async function look(service: Service): Promise<void> {
  const view = bakeView(service)
  // A switch that is under way has the say; if it was none, or came to nothing, the next look is as good as this.
  if (view === null || service.lock.current) return
  // First of all: slotgate may have been away, or without a bake, until long after the end.
  if (Date.now() >= Date.parse(view.until)) await say(service, 'info', 'bake_passed', factsOf(view))
  else if (isWorse(view)) await undo(service, view)
}

/** Goes back to the former release. Written down first, so that it is never tried twice, not even after a crash. */
async function undo(service: Service, view: BakeView): Promise<void> {
  const { lock, name } = service
  const facts = factsOf(view)
  const { release } = view.former
  const request = { service: name, operation: 'rollback' as const, release, ...SELF }
  await lock.run(request, async (progress) => {
    await say(service, 'error', 'bake_failed', facts)
    try {
      await rollback(service, release, { ...SELF, code: 'bake_failed' }, progress)
    } catch (error) {
      const cause = error instanceof SlotgateError ? error.code : 'internal_error'
      await raise(service, 'bake_not_undone', { ...facts, cause, detail: messageOf(error) })
    }
  })
}

/** A former release that answered too little is nothing to compare with; then the limit alone decides. */
function isWorse({ max_error_ratio: max, min_requests: min, former, ...now }: BakeView): boolean {
  if (now.requests < min || ratio(now) <= max) return false
  return former.requests < min || ratio(now) > CLEARLY * ratio(former)
}

const ratio = ({ requests, failed }: BakeCounts): number => (requests === 0 ? 0 : failed / requests)

const percent = (counts: BakeCounts): string => `${Math.round(ratio(counts) * 10_000) / 100} %`

const factsOf = ({ former, ...view }: BakeView): Facts => ({
  release: view.release,
  requests: view.requests,
  failed: view.failed,
  percent: percent(view),
  former_release: former.release,
  former_requests: former.requests,
  former_failed: former.failed,
  former_percent: percent(former),
})
