// slotgate as a process of its own in front of an app that the test runs itself.
import type { Test } from 'tap'
import { type Served, World } from './world.ts'

export interface Front {
  world: World
  served: Served
}

/**
 * Resolves when the app, in the slot blue, is live.
 *
 * @param ports of 127.0.0.1: where requests go (GET /up must be 200), and where `/healthz` is asked
 * @param settings lines of the config, such as `relay:` and what belongs to it
 */
export async function startFront(
  t: Pick<Test, 'teardown'>,
  ports: { public: number; internal: number },
  settings: string[],
): Promise<Front> {
  const world = await World.create(t)
  world.settings = settings
  const unused = '{ public: "http://127.0.0.1:1", internal: "http://127.0.0.1:2" }'
  world.services = [
    '  invoices:',
    '    slots:',
    `      blue: { public: "http://127.0.0.1:${ports.public}", internal: "http://127.0.0.1:${ports.internal}" }`,
    `      green: ${unused}`,
    '    health: { interval: 20ms, within: 5s }',
    '    schema: off',
    '    first: blue',
  ]
  const served = await world.spawn(t)
  await world.until(async () => (await world.get('/up')).status === 200, 'blue is live')
  return { world, served }
}
