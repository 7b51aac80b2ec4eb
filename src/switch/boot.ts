// A boot that somebody waits for: what the release writes until it is up, or has failed, is told to who follows.
import type { BootRequest, Instance } from '../slots/drivers/driver.ts'
import type { Service } from './service.ts'

/** @throws as `Driver.boot` */
export async function bootAloud(
  { name, driver, feed }: Service,
  request: Omit<BootRequest, 'onLine'>,
): Promise<Instance> {
  const { release, slot } = request
  let isUnderWay = true
  const onLine: BootRequest['onLine'] = (from, line) => {
    const time = new Date().toISOString()
    if (isUnderWay) feed.tell({ kind: 'output', time, service: name, slot, release, from, line })
  }
  try {
    const instance = await driver.boot({ ...request, onLine })
    // Reads what it has written and nobody has looked at yet.
    instance.output()
    return instance
  } finally {
    isUnderWay = false
  }
}
