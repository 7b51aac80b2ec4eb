// After an operation, after the end of a process, and at the start: the files of releases that nobody needs any more may go.
import { recorded, type Service } from './service.ts'

/** Begins to remove what is not needed; does not wait for it. What runs is kept by whoever booted it. */
export function tidy(service: Service): void {
  const { live, previous, slots } = recorded(service)
  const needed = [live?.release, previous[0], ...Object.values(slots)].filter((one) => one !== undefined)
  void service.driver.tidy?.(new Set(needed))
}
