// The model: what slotgate has to do, in as few words as there are. It knows no sockets, no files and no time; each
// function says what becomes of an operation, and the real thing is held against it.
import { type Manners, RELEASES, type ReleaseName } from './app.ts'

/** What is in a slot. */
export interface Resident {
  release: ReleaseName
  runs: boolean
}

export interface Model {
  schema: number
  generation: number
  live: Resident | null
  idle: Resident | null
  /** Where plain rollbacks go, the nearest first. */
  previous: ReleaseName[]
  /** Newest first. */
  wasLive: ReleaseName[]
  sick: Set<ReleaseName>
  bootsFail: boolean
  /** Somebody has paused the service. */
  paused: boolean
  /** Until the last look after a flip: the version it was decided on, and who left. */
  watch: { before: number; left: Resident | null } | null
}

export const newModel = (): Model => ({
  schema: 42,
  generation: 0,
  live: null,
  idle: null,
  previous: [],
  wasLive: [],
  sick: new Set(),
  bootsFail: false,
  paused: false,
  watch: null,
})

export type Operation =
  | { name: 'stage' | 'deploy'; release: ReleaseName; generation?: number }
  | { name: 'promote'; generation?: number }
  | { name: 'rollback'; to?: ReleaseName; generation?: number }

/** Why a release does not fit the schema, in the gate's words; null where it fits. */
export function misfit({ schema }: Model, release: ReleaseName): string | null {
  const { min, max, compatible = true }: Manners = RELEASES[release]
  if (schema < min) return 'schema_behind_code'
  if (schema > max) return 'schema_ahead_of_code'
  return compatible ? null : 'schema_declared_incompatible'
}

/** @returns `ok` or the code of the refusal; the model is then as the system has to be */
export function act(model: Model, operation: Operation): string {
  const { generation = model.generation } = operation
  if (generation !== model.generation) return 'generation_mismatch'
  if (operation.name === 'rollback') return rollback(model, operation.to)
  if (operation.name === 'promote') return promote(model)
  const staged = stage(model, operation.release)
  return operation.name === 'stage' || staged !== 'ok' ? staged : promote(model)
}

const boots = ({ bootsFail, sick }: Model, release: ReleaseName): boolean => !bootsFail && !sick.has(release)

function stage(model: Model, release: ReleaseName): string {
  if (!boots(model, release)) return 'target_boot_failed'
  model.idle = { release, runs: true }
  return 'ok'
}

function promote(model: Model): string {
  const { idle, sick } = model
  if (!idle?.runs) return 'nothing_staged'
  if (sick.has(idle.release)) return 'candidate_unhealthy'
  return misfit(model, idle.release) ?? flip(model, idle, 'promote')
}

function rollback(model: Model, to = model.previous[0]): string {
  const { live, idle, schema } = model
  if (!live || to === undefined) return 'no_previous_release'
  if (to === live.release) return 'already_live'
  if (!model.wasLive.includes(to)) return 'unknown_release'
  if (idle?.runs && idle.release === to && !model.sick.has(to)) {
    return misfit(model, to) ?? flip(model, idle, 'rollback')
  }
  const { max } = RELEASES[to]
  if (live.runs && max < schema) return 'schema_ahead_of_code'
  if (!boots(model, to)) return 'target_boot_failed'
  return misfit(model, to) ?? flip(model, { release: to, runs: true }, 'rollback')
}

function flip(model: Model, candidate: Resident, how: 'promote' | 'rollback'): 'ok' {
  const { live: left } = model
  const depth = model.previous.indexOf(candidate.release)
  if (how === 'rollback') model.previous = model.previous.slice(depth + 1)
  else {
    const others = model.previous.filter((release) => release !== candidate.release)
    model.previous = left && left.release !== candidate.release ? first(left.release, others) : others
  }
  model.wasLive = first(candidate.release, model.wasLive)
  model.generation += 1
  model.live = candidate
  model.idle = left
  model.watch = { before: model.schema, left }
  return 'ok'
}

const first = (release: ReleaseName, others: readonly ReleaseName[]): ReleaseName[] => [
  release,
  ...others.filter((other) => other !== release),
]

/**
 * A look after a flip: if a migration has made the new release unfit since, and the one that left still runs in its slot and
 * fits, it is live again. Once.
 *
 * @returns whether traffic went back
 */
export function lookAgain(model: Model): boolean {
  const { live, watch } = model
  if (!live?.runs || !watch || model.schema === watch.before || misfit(model, live.release) === null)
    return false
  model.watch = null
  const { left } = watch
  const isThere = left !== null && model.idle === left && left.runs
  if (!isThere || misfit(model, left.release) !== null) return false
  flip(model, left, 'rollback')
  model.watch = null
  return true
}

/** A minute: a live release that died is back, and the looks after a flip are over. */
export function passLongTime(model: Model): void {
  const { live } = model
  if (live && !live.runs) live.runs = boots(model, live.release)
  lookAgain(model)
  model.watch = null
}

/** slotgate begins anew with what it wrote down: what is live is booted, what was staged is only known by name. */
export function restart(model: Model): void {
  const { live, idle } = model
  if (live) live.runs = boots(model, live.release)
  if (idle) idle.runs = false
  model.watch = null
}

export function copyOf(model: Model): Model {
  const copy: Model = structuredClone(model)
  return copy
}
