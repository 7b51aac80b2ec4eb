// What may happen to a release while its flip is being written down: the moment is made to last, with fake processes.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ServiceConfig } from '../../src/config/types.ts'
import type { SlotName } from '../../src/contract.ts'
import { Journal } from '../../src/journal/file.ts'
import { silentLogger } from '../../src/log.ts'
import type { Instance } from '../../src/slots/drivers/driver.ts'
import { type Backend, Occupants } from '../../src/slots/occupants.ts'
import { createBuffer, openTable } from '../../src/slots/table.ts'
import { Drains } from '../../src/switch/drain.ts'
import { Feed } from '../../src/switch/feed.ts'
import { Lock } from '../../src/switch/lock.ts'
import { Pause } from '../../src/switch/pause.ts'
import type { Service } from '../../src/switch/service.ts'
import { switchOver } from '../../src/switch/switch-over.ts'

/** A process that ends when the test says so. */
interface Fake extends Instance {
  die(): void
  stopped: boolean
}

let ports = 40_000

const BOOTS = {
  boots: true,
  bootsEarlier: true,
  isFixed: false,
  identify: async (name: string) => name,
  find: async () => null,
}

function fake(release: string): Fake {
  const { promise, resolve } = Promise.withResolvers<string>()
  const at = () => ({ kind: 'tcp' as const, host: '127.0.0.1', port: ports++ })
  const instance: Fake = {
    release,
    bootId: `${release}-${ports}`,
    pid: null,
    startedAt: new Date(),
    takenOver: false,
    publicAddresses: [at()],
    internal: at(),
    exited: promise,
    output: () => [],
    stopped: false,
    async stop() {
      instance.stopped = true
      resolve('signal SIGTERM')
    },
    letGo: () => {},
    die: () => resolve('signal SIGKILL'),
  }
  return instance
}

/** A service without a front door, whose r42 is live in blue. */
async function createWorld(t: Test, previous: 'keep' | 'stop' = 'keep') {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-flip-'))
  const journal = await Journal.open(join(folder, 'journal.jsonl'))
  const layout = { services: 1, workers: 1 }
  const table = openTable(createBuffer(layout), layout)
  const closing = new AbortController()
  const log = silentLogger()
  const backends = new Map<SlotName, Backend | null>()
  const booted: Fake[] = []
  const drained = Promise.withResolvers<void>()
  const config: ServiceConfig = {
    name: 'invoices',
    hosts: [],
    pathPrefix: '/',
    stripPrefix: false,
    limits: { openRequests: 0 },
    errorPages: {},
    health: { path: '/healthz', intervalMs: 10, timeoutMs: 100, withinMs: 100 },
    schema: 'off',
    hold: { withinMs: 10_000, requests: 1_000, nothingLive: false },
    drain: { withinMs: 60_000, tunnelsWithinMs: 60_000 },
    previous,
    hiddenPaths: [],
  }
  const setBackend = async (slot: SlotName, backend: Backend | null) => void backends.set(slot, backend)
  const occupants = new Occupants({
    service: 'invoices',
    driver: {
      ...BOOTS,
      boot: async ({ release }) => booted[booted.push(fake(release)) - 1] ?? fake(release),
    },
    settings: () => ({ health: config.health, stopWithinMs: 0 }),
    journal,
    log,
    setBackend,
    forget: () => {},
    liveSlot: () => table.pointer(0).slot,
    generation: () => table.pointer(0).generation,
  })
  const dataPlane = {
    setBackend: (_: number, slot: SlotName, backend: Backend | null) => setBackend(slot, backend),
    begin: () => {},
    exchanges: () => ({ answered: 0, failed: 0 }),
    measure: () => () => [],
    letIn: () => {},
    cut: async () => 0,
    whenDrained: () => drained.promise,
  }
  const common = {
    ...{ index: 0, name: 'invoices', table, dataPlane, journal, log, closing: closing.signal },
    preview: null,
  }
  const service: Service = {
    ...common,
    config,
    driver: { ...BOOTS, boot: async ({ release }) => fake(release) },
    occupants,
    feed: new Feed(journal),
    lock: new Lock(),
    drains: new Drains({ ...common, limits: () => config.drain }),
    pause: new Pause(common),
  }
  t.teardown(async () => {
    closing.abort()
    drained.resolve()
    await occupants.close()
    await journal.close()
    await rm(folder, { recursive: true })
  })
  const switchTo = (release: string, instance: Fake, occupant = occupants.create(release, instance)) =>
    service.lock.run({ service: 'invoices', operation: 'promote', release, actor: 'ops' }, (progress) =>
      switchOver(service, 'promote', { occupant, instance }, { actor: 'ops' }, progress),
    )
  const live = fake('r42')
  await switchTo('r42', live)

  /** Runs while the next flip is being written: after everything was asked, before the pointer moves. */
  const whileFlipIsWritten = (meanwhile: () => Promise<unknown>) => {
    const append = journal.append.bind(journal)
    journal.append = async (event) => {
      if (event.event === 'flipped') {
        journal.append = append
        await meanwhile()
      }
      return append(event)
    }
  }
  return {
    live,
    service,
    occupants,
    backends,
    booted,
    switchTo,
    whileFlipIsWritten,
    endDrain: drained.resolve,
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn()
}

t.test(
  'a release that dies while its flip is written is started again, and is down until then',
  async (t) => {
    const { occupants, backends, booted, switchTo, whileFlipIsWritten } = await createWorld(t)
    const r43 = fake('r43')
    const occupant = occupants.create('r43', r43)
    occupants.place('green', occupant)
    whileFlipIsWritten(async () => {
      r43.die()
      await until(() => occupant.instance === null)
    })
    t.match(await switchTo('r43', r43, occupant), { live: { slot: 'green', release: 'r43' } })
    t.match(backends.get('green'), { release: 'r43', addresses: [] })
    await until(() => occupant.instance !== null)
    t.equal(booted.length, 1)
    t.same(backends.get('green')?.addresses, booted[0]?.publicAddresses)
  },
)

t.test('the death of who was in the slot does not take the address from who moves in', async (t) => {
  const { occupants, backends, switchTo, whileFlipIsWritten } = await createWorld(t)
  const [r44, r41] = [fake('r44'), fake('r41')]
  const candidate = occupants.create('r44', r44)
  occupants.place('green', candidate)
  whileFlipIsWritten(async () => {
    r44.die()
    await until(() => backends.get('green')?.addresses.length === 0)
  })
  await switchTo('r41', r41)
  t.match(backends.get('green'), { release: 'r41', addresses: r41.publicAddresses })
})

t.test('`previous: stop` does not stop the process that a switch is on its way back to', async (t) => {
  const { live, service, occupants, switchTo, whileFlipIsWritten, endDrain } = await createWorld(t, 'stop')
  await switchTo('r43', fake('r43'))
  const r42 = occupants.get('blue')
  whileFlipIsWritten(async () => {
    endDrain()
    await until(() => service.drains.views().length === 0)
    for (let count = 0; count < 5; count++) await turn()
  })
  t.match(await switchTo('r42', live, r42 ?? undefined), { live: { slot: 'blue', release: 'r42' } })
  await until(() => occupants.get('green')?.state === 'stopped')
  t.equal(live.stopped, false)
  t.equal(r42?.instance, live)
})

t.test(
  '`previous: stop` stops the former release after a switch that was on its way did not come',
  async (t) => {
    const { live, occupants, service, switchTo, whileFlipIsWritten, endDrain } = await createWorld(t, 'stop')
    await switchTo('r43', fake('r43'))
    const r42 = occupants.get('blue')
    whileFlipIsWritten(async () => {
      endDrain()
      await until(() => service.drains.views().length === 0)
      throw new Error('the disk is full')
    })
    await t.rejects(switchTo('r42', live, r42 ?? undefined), /full/)
    await until(() => live.stopped)
    t.equal(r42?.state, 'stopped')
  },
)
