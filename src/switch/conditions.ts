// What must hold before an operation begins.
import { RELEASE_ID } from '../config/scalars.ts'
import { SlotgateError } from '../errors.ts'
import type { Service } from './service.ts'
import type { CallContext } from './types.ts'

/** A release id becomes part of a path and of log lines; `..` and slashes must not. */
export function checkReleaseId(release: string): void {
  if (!RELEASE_ID.test(release))
    throw new SlotgateError('invalid_release_id', { got: JSON.stringify(release) })
}

/** @throws SlotgateError `generation_mismatch` if the caller decided on another pointer than the one there is */
export function checkGeneration(service: Service, { ifGeneration }: CallContext): void {
  const { generation } = service.table.pointer(service.index)
  if (ifGeneration === undefined || ifGeneration === generation) return
  throw new SlotgateError('generation_mismatch', {
    service: service.name,
    generation,
    expected: ifGeneration,
  })
}
