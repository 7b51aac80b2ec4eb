// What the internal port reads of a body: a small object, where a field too many or of another kind is refused by name, since
// a misspelt `dry_run` must not migrate.
import { type FieldKind, misfit, parseBody } from '../contract.ts'
import { SlotgateError } from '../errors.ts'
import type { ClearRequest, RunRequest } from './run.ts'

const RUN_FIELDS: Record<keyof RunRequest, FieldKind> = {
  to: 'version',
  expected_current: 'version',
  accept_breaks: 'strings',
  confirm: 'string',
  dry_run: 'boolean',
}

/**
 * @param text the body of `POST /migrations/run`; it may be empty, or `null`
 * @throws SlotgateError `run_body_invalid`
 */
export function readRun(text: string): RunRequest {
  const body = ['', 'null'].includes(text.trim()) ? {} : readObject(text)
  for (const [name, value] of Object.entries(body)) {
    if (!Object.hasOwn(RUN_FIELDS, name)) throw invalid(`there is no field ${name}`)
    check(name, RUN_FIELDS[name as keyof RunRequest], value)
  }
  return body
}

/**
 * @param text the body of `POST /migrations/clear`
 * @throws SlotgateError `run_body_invalid`
 */
export function readClear(text: string): ClearRequest {
  const { version, as, ...more } = readObject(text)
  for (const name of Object.keys(more)) throw invalid(`there is no field ${name}`)
  check('version', 'version', version)
  if (version === 0) throw invalid('version must be 1 or more: 0 is a database without a migration')
  if (as !== 'applied' && as !== 'undone') throw invalid('as must be "applied" or "undone"')
  return { version: Number(version), as }
}

function readObject(text: string): Record<string, unknown> {
  const parsed = parseBody(text)
  if (!parsed.ok) throw invalid(parsed.detail)
  return parsed.body
}

function check(name: string, kind: FieldKind, value: unknown): void {
  const problem = misfit(kind, value)
  if (problem) throw invalid(`${name} ${problem}`)
}

const invalid = (detail: string): SlotgateError => new SlotgateError('run_body_invalid', { detail })
