// What must hold before an operation begins.
import { SlotgateError } from '../errors.ts'
import type { Service } from './service.ts'
import type { CallContext } from './types.ts'

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
