// The pointer word and its claims: exact under threads that hammer it.
import { Worker } from 'node:worker_threads'
import t from 'tap'
import {
  type Claim,
  createBuffer,
  GENERATION_CELLS,
  type Layout,
  openTable,
  type Table,
} from '../../src/slots/table.ts'
import type { Scope } from '../support/scope.ts'

const ONE = { services: 1, workers: 1 }

/** A claim on what is live. */
function claimed(table: Table, service: number, worker: number): Claim {
  const claim = table.claim(service, worker)
  if (typeof claim === 'string') throw new Error(`the service takes no requests: ${claim}`)
  return claim
}

t.test('nothing is live before the first flip, and nothing can be claimed', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  t.same(table.pointer(0), { generation: 0, slot: null })
  t.equal(table.claim(0, 0), 'nothing_live')
})

t.test('each flip is one generation more, on the slot that was asked for', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  t.same(table.flip(0, 'blue'), { generation: 1, slot: 'blue' })
  t.same(table.flip(0, 'green'), { generation: 2, slot: 'green' })
  t.same(table.pointer(0), { generation: 2, slot: 'green' })
})

t.test('the number of the passes is nobody else’s, and no flip changes it', async (t) => {
  const layout = { services: 2, workers: 2 }
  const table = openTable(createBuffer(layout), layout)
  t.equal(table.passes(1), 0)
  table.setPasses(1, 2 ** 32 - 1)
  table.flip(1, 'green')
  table.pause(1)
  table.forgetWorker(0)
  t.equal(table.passes(1), 2 ** 32 - 1)
  t.equal(table.passes(0), 0)
  t.same(table.pointer(0), { generation: 0, slot: null })
})

t.test('services do not see each other', async (t) => {
  const layout = { services: 2, workers: 2 }
  const table = openTable(createBuffer(layout), layout)
  table.flip(1, 'green')
  const claim = claimed(table, 1, 1)
  t.same(table.pointer(0), { generation: 0, slot: null })
  t.same(table.claims(1, 1), { requests: 1, tunnels: 0 })
  t.same(table.claims(0, 1), { requests: 0, tunnels: 0 })
  table.release(claim, 1)
  t.same(table.claims(1, 1), { requests: 0, tunnels: 0 })
})

t.test('a claim that becomes a tunnel leaves the requests and is released as a tunnel', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.flip(0, 'blue')
  const claim = claimed(table, 0, 0)
  table.toTunnel(claim, 0)
  table.toTunnel(claim, 0)
  t.same(table.claims(0, 1), { requests: 0, tunnels: 1 })
  table.release(claim, 0)
  t.same(table.claims(0, 1), { requests: 0, tunnels: 0 })
})

t.test(
  'what a dead worker had claimed is forgotten, in all services; what others claimed is not',
  async (t) => {
    const layout = { services: 2, workers: 3 }
    const table = openTable(createBuffer(layout), layout)
    for (const service of [0, 1]) {
      table.flip(service, 'blue')
      for (const worker of [0, 1, 1, 2]) {
        const claim = claimed(table, service, worker)
        table.claim(service, worker)
        table.toTunnel(claim, worker)
      }
      table.flip(service, 'green')
      table.claim(service, 1)
    }
    table.forgetWorker(1)
    for (const service of [0, 1]) {
      t.same(table.claims(service, 1), { requests: 2, tunnels: 2 })
      t.same(table.claims(service, 2), { requests: 0, tunnels: 0 })
      t.match(table.pointer(service), { generation: 2 })
    }
  },
)

t.test('a claim counts for its generation, even after the slot is live again under another', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.flip(0, 'blue')
  table.claim(0, 0)
  table.flip(0, 'green')
  table.flip(0, 'blue')
  t.same(table.claims(0, 1), { requests: 1, tunnels: 0 })
  t.same(table.claims(0, 3), { requests: 0, tunnels: 0 })
})

t.test('a counter that is still in use is not given to another generation', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.flip(0, 'blue')
  const claim = claimed(table, 0, 0)
  for (let generation = 2; generation <= GENERATION_CELLS; generation++) table.flip(0, 'green')
  t.equal(table.canFlip(0), false, 'the next generation would share the cell of the first')
  table.release(claim, 0)
  t.equal(table.canFlip(0), true)
})

t.test('the claims of a generation are not those of the younger one that has its counter now', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  const first = table.flip(0, 'blue').generation
  for (let flip = 0; flip < GENERATION_CELLS; flip++) table.flip(0, flip % 2 ? 'blue' : 'green')
  table.claim(0, 0)
  t.same(table.claims(0, first), { requests: 0, tunnels: 0 })
  t.same(table.claims(0, first + GENERATION_CELLS), { requests: 1, tunnels: 0 })
})

t.test('a paused service takes no claim, keeps those that it has, and is paused alone', async (t) => {
  const layout = { services: 2, workers: 1 }
  const table = openTable(createBuffer(layout), layout)
  for (const service of [0, 1]) table.flip(service, 'green')
  const claim = claimed(table, 0, 0)
  table.pause(0)
  table.pause(0)
  t.same([table.isPaused(0), table.isPaused(1)], [true, false])
  t.equal(table.claim(0, 0), 'paused')
  t.same(table.claims(0, 1), { requests: 1, tunnels: 0 })
  claimed(table, 1, 0)
  table.release(claim, 0)
  t.same(table.claims(0, 1), { requests: 0, tunnels: 0 })
  t.same(table.pointer(0), { generation: 1, slot: 'green' })
  table.resume(0)
  t.equal(table.isPaused(0), false)
  t.same(claimed(table, 0, 0), { service: 0, generation: 1, slot: 'green', kind: 'requests' })
})

t.test('a flip of a paused service leaves it paused, the first one too', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.pause(0)
  t.equal(table.claim(0, 0), 'paused')
  for (const slot of ['blue', 'green'] as const) {
    t.match(table.flip(0, slot), { slot })
    t.equal(table.claim(0, 0), 'paused')
  }
  table.resume(0)
  t.match(claimed(table, 0, 0), { generation: 2, slot: 'green' })
})

t.test('so many requests may wait, over all workers; a worker that is gone waits for nothing', async (t) => {
  const layout = { services: 2, workers: 2 }
  const table = openTable(createBuffer(layout), layout)
  t.same(
    [0, 1, 0, 1].map((worker) => table.hold(0, worker, 3)),
    [true, true, true, false],
  )
  t.same([table.held(0), table.held(1)], [3, 0])
  table.letGo(0, 1)
  t.equal(table.hold(0, 0, 3), true)
  table.forgetWorker(0)
  t.equal(table.held(0), 0)
  t.equal(table.hold(1, 0, 0), false, 'none where none is to wait')
})

t.test('the pointer is restored as it was, and its generation goes on from there', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.restore(0, { generation: 17, slot: 'green' })
  t.same(table.pointer(0), { generation: 17, slot: 'green' })
  t.same(table.flip(0, 'blue'), { generation: 18, slot: 'blue' })
})

t.test('generations keep counting to the last bit of the word', async (t) => {
  const table = openTable(createBuffer(ONE), ONE)
  table.restore(0, { generation: 2 ** 30 - 2, slot: 'blue' })
  t.equal(table.canFlip(0), true)
  table.pause(0)
  t.same(table.flip(0, 'green'), { generation: 2 ** 30 - 1, slot: 'green' })
  table.resume(0)
  t.same(table.pointer(0), { generation: 2 ** 30 - 1, slot: 'green' })
  t.equal(table.canFlip(0), false, 'and no further')
})

interface Hammered {
  buffer: SharedArrayBuffer
  /** A flag for each generation: whoever still holds a claim on it is lost. The first stops the hammers. */
  retired: SharedArrayBuffer
  /** How many claims they made. */
  entered: SharedArrayBuffer
  layout: Layout
}

async function startHammers(t: Scope, hammered: Hammered): Promise<Worker[]> {
  const workers = Array.from(
    { length: hammered.layout.workers },
    (_, worker) =>
      new Worker(new URL('./hammer.ts', import.meta.url), { workerData: { ...hammered, worker } }),
  )
  t.teardown(() => Promise.all(workers.map((worker) => worker.terminate())))
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
  return workers
}

/** @returns what they counted */
async function stopHammers(workers: Worker[], flags: Uint8Array): Promise<{ claims: number; lost: number }> {
  Atomics.store(flags, 0, 1)
  const counts = await Promise.all(
    workers.map(
      (worker) => new Promise<{ claims: number; lost: number }>((resolve) => worker.once('message', resolve)),
    ),
  )
  return {
    claims: counts.reduce((sum, { claims }) => sum + claims, 0),
    lost: counts.reduce((sum, { lost }) => sum + lost, 0),
  }
}

t.test('no claim is held while a service is paused and drained, while threads hammer the word', async (t) => {
  const layout = { services: 1, workers: 2 }
  const buffer = createBuffer(layout)
  const retired = new SharedArrayBuffer(2 ** 20)
  const entered = new SharedArrayBuffer(4)
  const table = openTable(buffer, layout)
  const flags = new Uint8Array(retired)
  table.flip(0, 'blue')
  const workers = await startHammers(t, { buffer, retired, entered, layout })
  const made = new Uint32Array(entered)
  const pauses = 2_000
  let late = 0
  for (let pause = 0; pause < pauses; pause++) {
    const before = Atomics.load(made, 0)
    while (Atomics.load(made, 0) === before) {}
    const { generation } = table.pointer(0)
    table.pause(0)
    while (table.claims(0, generation).requests !== 0) {}
    // Nothing runs now, and nothing may begin.
    Atomics.store(flags, generation, 1)
    const drained = Atomics.load(made, 0)
    for (let look = 0; look < 200; look++) if (Atomics.load(made, 0) !== drained) late++
    while (!table.canFlip(0)) {}
    // In two of three the same word again: who had loaded it before the pause may then go on, and only then.
    if (pause % 3 === 0) table.flip(0, pause % 2 === 0 ? 'green' : 'blue')
    else Atomics.store(flags, generation, 0)
    table.resume(0)
  }
  const { claims, lost } = await stopHammers(workers, flags)
  t.equal(lost + late, 0, `none of ${claims} claims was made while the service was paused and drained`)
  t.same(table.claims(0, table.pointer(0).generation), { requests: 0, tunnels: 0 })
})

t.test(
  'no claim is held in a generation that was found drained, while threads hammer the word',
  async (t) => {
    const threads = 2
    const layout = { services: 1, workers: threads }
    const buffer = createBuffer(layout)
    const retired = new SharedArrayBuffer(2 ** 20)
    const entered = new SharedArrayBuffer(4)
    const table = openTable(buffer, layout)
    table.flip(0, 'blue')
    const drained = new Uint8Array(retired)
    const workers = await startHammers(t, { buffer, retired, entered, layout })
    const flips = 8_000
    for (let flip = 0; flip < flips; flip++) {
      const { generation } = table.pointer(0)
      while (!table.canFlip(0)) {}
      table.flip(0, flip % 2 === 0 ? 'green' : 'blue')
      while (table.claims(0, generation).requests !== 0) {}
      // From here on the release of this generation may be gone: whoever still holds a claim on it is lost.
      Atomics.store(drained, generation, 1)
    }
    const { claims, lost } = await stopHammers(workers, drained)
    t.equal(lost, 0, `none of ${claims} claims was in a drained generation`)
    t.ok(claims > 10_000, `${claims} claims were made meanwhile`)
    for (let generation = 1; generation <= flips; generation++) {
      const { requests } = table.claims(0, generation)
      if (requests !== 0) t.fail(`generation ${generation} has ${requests} claims left`)
    }
  },
)
