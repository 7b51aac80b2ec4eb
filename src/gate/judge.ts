// The verdict: a pure function from what two releases say of themselves to "allowed" or the reasons why not.
// It knows no clock and no socket, fails closed, and lists every reason; the first one is primary.
import { type Range, rangeOf, type SchemaStatus, type StatusProblem } from '../contract.ts'
import { type Code, ERRORS, type Facts, type Reason, reason } from '../errors.ts'
import { contains, noCommonVersion } from './ranges.ts'

export type GateOperation = 'promote' | 'rollback'

/** The outcome of one GET of a status: usable, or the code and facts of why not. */
export type Reading = { ok: true; status: SchemaStatus } | { ok: false; code: Code; facts: Facts }

/** A release as the gate sees it. */
export interface Party {
  release: string
  reading: Reading
  /** Where a person reaches its internal port; goes into the hints. */
  internalUrl: string
}

export interface Target extends Party {
  /** The boot id that slotgate gave to the process; absent where something else started it. */
  bootId?: string
}

export interface Verdict {
  operation: GateOperation
  allowed: boolean
  /** The primary reason's code, or `schema_ok`. */
  code: Code | 'schema_ok'
  reasons: Reason[]
  warnings: Reason[]
  target: { release: string; status: SchemaStatus | null }
  live: { release: string; status: SchemaStatus | null } | null
  /** `probed`: asked just now. `recorded`: from the range it declared earlier, without booting it. `none`: not checked. */
  evidence: 'probed' | 'recorded' | 'none'
  /** How often both were read for this verdict. */
  attempts: number
}

const AHEAD_HINT: Record<GateOperation, string> = {
  promote: 'Rebuild the release on the current schema, so that its range contains it.',
  rollback:
    'Going back would run code that does not know this schema. Roll forward: deploy a release that fits.',
}

/** Facts that every sentence about the target may use. */
const targetFacts = (target: Party, status: SchemaStatus): Facts => ({
  release: target.release,
  internal_url: target.internalUrl,
  ...rangeOf(status),
  current: status.current_schema_version,
})

/** Rows 2 to 9: what the target says of itself. */
function* judgeTarget(operation: GateOperation, target: Target, status: SchemaStatus): Generator<Reason> {
  const facts = targetFacts(target, status)
  const range = rangeOf(status)
  const current = status.current_schema_version
  if (target.bootId !== undefined && status.boot_id !== undefined && status.boot_id !== target.bootId) {
    yield reason('schema_wrong_process', { ...facts, got: status.boot_id, expected: target.bootId })
  }
  if (status.migration_running) yield reason('schema_migration_running', facts)
  if (status.dirty) yield reason('schema_dirty', { ...facts, dirty_version: dirtyVersion(status) })
  if (range.min > range.max) {
    // No version is inside such a range, so "behind" and "ahead" would only mislead.
    yield reason('schema_range_invalid', facts)
    return
  }
  if (current < range.min) yield reason('schema_behind_code', { ...facts, pending: pendingNames(status) })
  if (current > range.max)
    yield reason('schema_ahead_of_code', { ...facts, ahead_hint: AHEAD_HINT[operation] })
  if (contains(range, current) && !status.compatible) {
    yield reason('schema_declared_incompatible', { ...facts, problems: problemText(status.problems) })
  }
  if (!contains(range, current) && status.compatible) yield reason('schema_status_contradictory', facts)
}

/** Rows 11 to 13: whether both look at the same database and history. */
function* judgeAgreement(
  target: Target,
  status: SchemaStatus,
  live: Party,
  liveStatus: SchemaStatus,
  attempts: number,
) {
  const facts = { ...targetFacts(target, status), live_release: live.release, attempts }
  if (differ(status.database_id, liveStatus.database_id)) {
    yield reason('schema_database_mismatch', {
      ...facts,
      got: status.database_id,
      expected: liveStatus.database_id,
    })
  }
  const liveCurrent = liveStatus.current_schema_version
  if (status.current_schema_version !== liveCurrent) {
    yield reason('schema_version_disagreement', { ...facts, live_current: liveCurrent })
  } else if (differ(status.schema_digest, liveStatus.schema_digest)) {
    yield reason('schema_history_disagreement', facts)
  }
}

/** Rows 10 and A04: allowed, but worth a word. */
function* warnOfTarget(target: Target, status: SchemaStatus): Generator<Reason> {
  const facts = targetFacts(target, status)
  if (status.pending_migrations === undefined) yield reason('pending_unknown', facts)
  else if (status.pending_migrations.length > 0) {
    yield reason('pending_migrations', { ...facts, pending: status.pending_migrations })
  }
  if (status.applied_not_required?.length) {
    yield reason('orphaned_migrations', { ...facts, orphans: status.applied_not_required })
  }
}

/** Rows 15 and 16. */
function* warnOfLive(target: Target, status: SchemaStatus, live: Party, liveStatus: SchemaStatus) {
  const range = rangeOf(status)
  const liveRange = rangeOf(liveStatus)
  const current = liveStatus.current_schema_version
  if (!contains(liveRange, current)) {
    yield reason('live_slot_incompatible', { live_release: live.release, ...liveRange, current })
  }
  const noCommon = noCommonVersion(target.release, range, live.release, liveRange)
  if (noCommon) yield noCommon
}

const differ = (a: string | undefined, b: string | undefined): boolean =>
  a !== undefined && b !== undefined && a !== b

const pendingNames = (status: SchemaStatus): string =>
  status.pending_migrations?.length ? status.pending_migrations.join(', ') : 'it names none'

const problemText = (problems: StatusProblem[] | undefined): string =>
  problems?.length ? `: ${problems.map(({ code, sentence }) => sentence ?? code).join('; ')}` : ''

function dirtyVersion(status: SchemaStatus): string {
  const version = status.problems?.find(({ code }) => code === 'partial_migration')?.version
  return version === undefined ? '' : ` (${String(version)})`
}

/**
 * Judges one switch by DESIGN §3.
 *
 * @param target what traffic would move to, and what it said
 * @param live what serves now, and what it said; null while nothing is live
 * @param attempts the how-manieth reading this is; it goes into the sentences
 */
export function judge(operation: GateOperation, target: Target, live: Party | null, attempts = 1): Verdict {
  const reasons: Reason[] = []
  const warnings: Reason[] = []
  if (operation === 'rollback' && live === null) {
    reasons.push(reason('no_previous_release'))
  }
  if (!target.reading.ok) {
    reasons.push(reason(target.reading.code, { ...target.reading.facts, release: target.release }))
  } else {
    reasons.push(...judgeTarget(operation, target, target.reading.status))
    warnings.push(...warnOfTarget(target, target.reading.status))
  }
  if (live && !live.reading.ok) {
    const cause = reason(live.reading.code, { ...live.reading.facts, release: live.release })
    warnings.push(
      reason('live_status_unavailable', {
        live_release: live.release,
        cause: live.reading.code,
        detail: cause.sentence,
      }),
    )
  }
  if (live?.reading.ok && target.reading.ok) {
    reasons.push(...judgeAgreement(target, target.reading.status, live, live.reading.status, attempts))
    warnings.push(...warnOfLive(target, target.reading.status, live, live.reading.status))
  }
  return { ...conclude(operation, target, live, reasons, warnings, 'probed'), attempts }
}

/** Row 18: the service has no database; allowed, and every answer says that nothing was checked. */
export const unchecked = (operation: GateOperation, target: Target, live: Party | null): Verdict =>
  conclude(operation, target, live, [], [reason('schema_check_disabled')], 'none')

/**
 * Row 19: refuses a rollback from the recorded range alone, so that code known not to fit is not even booted.
 *
 * @param recorded the range the release declared when it was last asked
 * @returns the refusal, or null where the release has to be booted and asked
 */
export function judgeRecorded(release: string, recorded: Range, live: Party): Verdict | null {
  if (!live.reading.ok) return null
  const current = live.reading.status.current_schema_version
  if (recorded.max >= current) return null
  const reasons = [
    reason('schema_ahead_of_code', { release, ...recorded, current, ahead_hint: AHEAD_HINT.rollback }),
  ]
  const target: Target = {
    release,
    internalUrl: '',
    reading: { ok: false, code: 'schema_status_unreachable', facts: {} },
  }
  return conclude('rollback', target, live, reasons, [], 'recorded')
}

/** Row 17 for a rollback: there is no target that could be asked. */
export function noPrevious(live: Party | null): Verdict {
  const reading: Reading = { ok: false, code: 'no_previous_release', facts: {} }
  const target = { release: '', internalUrl: '', reading }
  return conclude('rollback', target, live, [reason('no_previous_release')], [], 'none')
}

function conclude(
  operation: GateOperation,
  target: Target,
  live: Party | null,
  reasons: Reason[],
  warnings: Reason[],
  evidence: Verdict['evidence'],
): Verdict {
  return {
    operation,
    allowed: reasons.length === 0,
    code: reasons[0]?.code ?? 'schema_ok',
    reasons,
    warnings,
    target: { release: target.release, status: statusOf(target.reading) },
    live: live && { release: live.release, status: statusOf(live.reading) },
    evidence,
    attempts: 1,
  }
}

const statusOf = (reading: Reading): SchemaStatus | null => (reading.ok ? reading.status : null)

/**
 * Whether asking again a moment later may give another verdict: every reason passes by itself, or the two were read on
 * both sides of a migration's commit, and then no other reason can be relied on either.
 */
export const mayPass = ({ allowed, reasons }: Verdict): boolean =>
  !allowed &&
  (reasons.every(({ code }) => ERRORS[code].retryable) ||
    reasons.some(({ code }) => code === 'schema_version_disagreement'))

/**
 * What must be equal in two verdicts for the second to confirm the first: the decision and every fact it rests on.
 * Fields outside the contract and the order of problems do not count.
 */
export function fingerprint(verdict: Verdict): string {
  const facts = (status: SchemaStatus | null) =>
    status && [
      status.current_schema_version,
      status.code_min_schema_version,
      status.code_max_schema_version,
      status.compatible,
      status.dirty ?? false,
      status.migration_running ?? false,
      status.database_id ?? null,
      status.schema_digest ?? null,
      status.boot_id ?? null,
    ]
  return JSON.stringify([
    verdict.allowed,
    verdict.reasons.map(({ code }) => code),
    facts(verdict.target.status),
    facts(verdict.live?.status ?? null),
  ])
}
