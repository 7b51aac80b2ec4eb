// The front door on worker threads: one flip for all of them, exact drains across them, and a death only its own
// clients notice.
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, Server } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import type { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { otherSlot } from '../../src/contract.ts'
import { SlotgateError } from '../../src/errors.ts'
import { hang, watchThreads } from '../support/threads.ts'
import { eventually, turn } from '../support/turns.ts'
import {
  type Bench,
  dial,
  GET,
  hasAnswer,
  type LogLine,
  NEVER,
  OK,
  startApp,
  startRawApp,
  startRelay,
  type Wire,
} from './support.ts'

/** So many connections that each thread has some of them, but for one case in a billion. */
const MANY = 32
/** Longer than anybody waits for a thread. */
const HANGS_MS = 60_000

/** Two threads, and the means to look at them. */
async function start(t: Test) {
  const threads = watchThreads(t)
  const bench = await startRelay(t, { threads: 2 })
  const [first, second] = threads.started
  if (!first || !second) throw new Error('there are two threads')
  return { threads, bench, first, second }
}

/** An app that answers with its name. */
const appNamed = (t: Test, name: string) => startApp(t, (_, response) => response.end(name))

/** An app whose answers are given by hand, and what it was asked. */
async function startHolding(t: Test) {
  const held: ServerResponse[] = []
  const waiting = new Set<() => void>()
  const app = await startApp(t, (_: IncomingMessage, response) => {
    held.push(response)
    for (const look of waiting) look()
  })
  const asked = (count: number) =>
    new Promise<void>((resolve) => {
      const look = () => held.length >= count && resolve()
      waiting.add(look)
      look()
    })
  return { ...app, held, asked }
}

/** Asks once on each connection; returns the bodies. */
async function askAll(wires: readonly Wire[]): Promise<string[]> {
  return Promise.all(
    wires.map(async ({ socket, until, ...wire }) => {
      const before = wire.text.length
      socket.write(GET)
      const text = await until((text) => hasAnswer(text.slice(before)))
      return text.slice(before).split('\r\n\r\n')[1] ?? ''
    }),
  )
}

const connectMany = (t: Test, port: number): Wire[] => Array.from({ length: MANY }, () => dial(t, port))

/** Ends a thread; resolves with those of the connections that ended with it. */
async function endedWith(thread: Worker, wires: readonly Wire[]): Promise<Wire[]> {
  await thread.terminate()
  // Its sockets were closed before it was gone: what the kernel says of them comes together, or in the next turns of the loop.
  await eventually(() => wires.some(({ ended }) => ended !== undefined))
  for (let left = 20; left > 0; left--) await turn()
  return wires.filter(({ ended }) => ended !== undefined)
}

const replaced = (line: LogLine) => line.msg === 'a thread of the front door was replaced'

t.test('one flip is seen by all threads, on every connection', async (t) => {
  const { bench, first } = await start(t)
  const apps = { blue: await appNamed(t, 'blue'), green: await appNamed(t, 'green') }
  await bench.promote(apps.blue.address, 'blue')
  const wires = connectMany(t, bench.port)
  t.same(new Set(await askAll(wires)), new Set(['blue']))
  for (let flip = 0; flip < 20; flip++) {
    const slot = otherSlot(bench.table.pointer(0).slot ?? 'green')
    await bench.promote(apps[slot].address, slot)
    t.same(new Set(await askAll(wires)), new Set([slot]))
  }
  const ended = await endedWith(first, wires)
  t.ok(ended.length > 0 && ended.length < MANY, `${ended.length} of ${MANY} were served by one of them`)
})

t.test('claims add up over the threads, and a drain ends with the last of them', async (t) => {
  const { bench } = await start(t)
  const app = await startHolding(t)
  await bench.promote(app.address)
  const wires = connectMany(t, bench.port)
  const answers = askAll(wires)
  await app.asked(MANY)
  t.equal(bench.claims(), MANY)
  bench.table.flip(0, 'green')
  let isDrained = false
  const drain = bench.relay.whenDrained(0, [1], 'requests', NEVER).then(() => {
    isDrained = true
  })
  const [last, ...others] = app.held
  for (const response of others) response.end('done')
  t.ok(await eventually(() => bench.table.claims(0, 1).requests === 1))
  t.notOk(isDrained)
  last?.end('done')
  await drain
  t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 0 })
  t.same(new Set(await answers), new Set(['done']))
})

t.test('what is left is cut in all threads, and counted together', async (t) => {
  const { bench } = await start(t)
  const app = await startHolding(t)
  await bench.promote(app.address)
  const wires = connectMany(t, bench.port)
  for (const { socket } of wires) socket.write(GET)
  await app.asked(MANY)
  t.equal(await bench.relay.cut(0, [1], 'requests'), MANY)
  for (const wire of wires) t.match(await wire.until(hasAnswer), /^HTTP\/1.1 504 /)
  await bench.relay.whenDrained(0, [1], 'requests', NEVER)
  t.equal(bench.claims(), 0)
})

t.test('forgetting an address closes the connections of all threads to it', async (t) => {
  const threads = watchThreads(t)
  const bench = await startRelay(t, { threads: 2, relay: { upstreamIdleMs: 600_000 } })
  const app = await startRawApp(t, (socket) => socket.on('data', () => socket.write(OK)))
  await bench.promote(app.address)
  await askAll(connectMany(t, bench.port))
  t.ok(app.sockets.length >= threads.started.length)
  bench.relay.forget([app.address])
  await Promise.all(app.sockets.map((socket) => socket.closed || once(socket, 'close')))
})

function exchangesOf({ relay }: Bench, release: string): number {
  const counted = relay.meter.counted().find((one) => one.release === release)
  return [...(counted?.statuses.values() ?? [])].reduce((sum, count) => sum + count, 0)
}

t.test('a thread that dies takes its own connections with it, and nothing else', async (t) => {
  const { threads, bench, first } = await start(t)
  const app = await startHolding(t)
  await bench.promote(app.address)
  const wires = connectMany(t, bench.port)
  for (const { socket } of wires) socket.write(GET)
  await app.asked(MANY)
  const next = await appNamed(t, 'green')
  await bench.promote(next.address, 'green')
  const drain = bench.relay.whenDrained(0, [1], 'requests', NEVER)
  const ended = await endedWith(first, wires)
  const others = wires.filter((wire) => !ended.includes(wire))
  t.ok(ended.length > 0 && others.length > 0)
  t.equal(bench.table.claims(0, 1).requests, others.length, 'what it had claimed is given back, no more')
  for (const response of app.held) response.end('done')
  for (const wire of others) t.match(await wire.until(hasAnswer), /done$/)
  await drain
  t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 0 })
  t.match(await bench.line(({ code }) => code === 'worker_died'), { level: 'error', worker: 0 })
  t.same(bench.relay.meter.deaths, [1, 0])
  t.equal(exchangesOf(bench, 'r-blue'), others.length, 'nobody knows what became of what it had')
  const replacement = await threads.after(2)
  await bench.line(replaced)
  t.same(new Set(await askAll(others)), new Set(['green']), 'the other thread was never gone')
  const more = connectMany(t, bench.port)
  t.same(new Set(await askAll(more)), new Set(['green']), 'the new one has the backend that is live now')
  t.ok((await endedWith(replacement, more)).length > 0, 'and served some of them')
})

t.test('a thread that is out of memory ends alone', async (t) => {
  setFlagsFromString('--max-old-space-size=64')
  const { threads, bench, first } = await start(t)
  await bench.promote((await appNamed(t, 'blue')).address)
  const wires = connectMany(t, bench.port)
  await askAll(wires)
  await threads.run(first, 'const hoard = []; for (;;) hoard.push({ of: [Math.random()] })')
  t.match(await bench.line(({ code }) => code === 'worker_died'), { msg: /memory limit/, worker: 0 })
  await bench.line(replaced)
  const others = wires.filter(({ ended }) => !ended)
  t.ok(others.length > 0)
  t.same(new Set(await askAll([...others, ...connectMany(t, bench.port)])), new Set(['blue']))
})

t.test('an exception that nobody caught is logged, and its thread goes on', async (t) => {
  const { threads, bench, first } = await start(t)
  await bench.promote((await appNamed(t, 'blue')).address)
  const wires = connectMany(t, bench.port)
  await askAll(wires)
  await threads.run(first, "throw new Error('a bug')")
  const bug = { level: 'fatal', code: 'internal_error', worker: 0, msg: 'a bug' }
  t.match(await bench.line(({ level }) => level === 'fatal'), bug)
  t.equal((await askAll(wires)).length, MANY)
  t.equal(threads.started.length, 2)
})

t.test('a thread that dies again and again is replaced later each time', async (t) => {
  const { threads, bench, first } = await start(t)
  const times: number[] = []
  await first.terminate()
  for (let count = 2; count < 5; count++) {
    const thread = await threads.after(count)
    times.push(performance.now())
    await thread.terminate()
  }
  await bench.line(({ delay_ms }) => delay_ms === 1_000)
  const delays = bench.lines.filter(({ code }) => code === 'worker_died').map(({ delay_ms }) => delay_ms)
  t.same(delays, [0, 250, 500, 1_000])
  t.ok((times[2] ?? 0) - (times[0] ?? 0) >= 740, 'it waited so long')
})

t.test(
  'a backend is known to all threads before anybody is told so; one that does not answer makes telling fail, within its time',
  async (t) => {
    const { threads, bench, first } = await start(t)
    const over = new BroadcastChannel('the hang is over')
    const heard = new Promise<number>((resolve) => {
      over.onmessage = ({ data }: { data: number }) => resolve(data)
    })
    const post = `new BroadcastChannel('the hang is over').postMessage(Number(process.hrtime.bigint()))`
    await threads.run(first, `${hang(500)}; ${post}`)
    await bench.relay.setBackend(0, 'blue', { release: 'r1', addresses: [] })
    const told = Number(process.hrtime.bigint())
    t.ok(told > (await heard), 'the thread was still busy')
    over.close()
    await threads.run(first, hang(HANGS_MS))
    const started = performance.now()
    const cut = bench.relay.cut(0, [1], 'requests')
    await t.rejects(bench.relay.setBackend(0, 'blue', { release: 'r1', addresses: [] }), {
      message: 'thread 0 of the front door did not answer within 2000 ms',
    })
    t.equal(await cut, 0, 'who can answer is heard')
    t.ok(performance.now() - started < HANGS_MS / 2)
    const closing = performance.now()
    await bench.relay.close(0)
    t.ok(performance.now() - closing < HANGS_MS / 2, 'and closing does not wait for it for ever')
  },
)

t.test(
  'a thread that dies before it answers is no obstacle: the next one begins with the backend',
  async (t) => {
    const { threads, bench, first } = await start(t)
    const app = await appNamed(t, 'blue')
    await threads.run(first, hang(HANGS_MS))
    const promoted = bench.promote(app.address)
    await first.terminate()
    await promoted
    await bench.line(replaced)
    t.same(new Set(await askAll(connectMany(t, bench.port))), new Set(['blue']))
  },
)

t.test('a line for each request comes out of the threads, the last before they are gone', async (t) => {
  const { bench } = await start(t)
  await bench.promote((await appNamed(t, 'blue')).address)
  await askAll(connectMany(t, bench.port))
  const exchanges = () => bench.lines.filter(({ msg }) => msg === 'exchange')
  await bench.line(() => exchanges().length === MANY)
  for (const one of exchanges()) t.match(one, { level: 'info', status: 200, release: 'r-blue' })
  await askAll(connectMany(t, bench.port))
  await bench.relay.close(0)
  t.equal(exchanges().length, 2 * MANY)
})

t.test('closing lets the requests of all threads finish, and leaves no thread behind', async (t) => {
  const { threads, bench } = await start(t)
  const app = await startHolding(t)
  await bench.promote(app.address)
  const wires = connectMany(t, bench.port)
  const answers = askAll(wires)
  await app.asked(MANY)
  const idle = connectMany(t, bench.port)
  await Promise.all(idle.map(({ socket }) => once(socket, 'connect')))
  const closed = bench.relay.close(10_000)
  await Promise.all(idle.map((wire) => wire.closed()))
  for (const response of app.held) response.end('done')
  t.same(new Set(await answers), new Set(['done']))
  await closed
  for (const { threadId } of threads.started) t.equal(threadId, -1, 'it is gone')
  t.equal(threads.started.length, 2, 'and nobody took its place')
  t.equal(bench.claims(), 0)
  const server = createServer().listen(bench.port, '127.0.0.1')
  await once(server, 'listening')
  server.close()
})

t.test('a port that is taken is refused, whoever has it, and who to look for is said', async (t) => {
  const { bench } = await start(t)
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  const other = typeof address === 'object' && address ? address.port : 0
  for (const port of [other, bench.port]) {
    for (const threads of [0, 1, 2]) {
      const error = await startRelay(t, { threads, port }).catch((thrown: unknown) => thrown)
      t.ok(error instanceof SlotgateError)
      t.match(error, { code: 'port_in_use', facts: { port, host: '127.0.0.1', what: 'listen' } })
      t.match((error as SlotgateError).facts.who, /holds it; stop it|ss -ltnp/)
    }
  }
})

t.test('one thread needs nobody to share with, and is replaced like any other', async (t) => {
  const threads = watchThreads(t)
  const bench = await startRelay(t, { threads: 1 })
  await bench.promote((await appNamed(t, 'blue')).address)
  t.same(await askAll([dial(t, bench.port)]), ['blue'])
  await threads.started[0]?.terminate()
  await bench.line(replaced)
  t.same(await askAll([dial(t, bench.port)]), ['blue'])
})

t.test('where threads cannot share a port there is one, and the log says so', async (t) => {
  const { listen } = Server.prototype
  t.teardown(() => Object.assign(Server.prototype, { listen }))
  // What Node says on a system without the option; no such system runs these tests.
  Object.assign(Server.prototype, {
    listen(this: Server, options: { reusePort?: boolean }) {
      if (!options.reusePort) return listen.call(this, options)
      const error = Object.assign(new Error('listen ENOTSUP'), { code: 'ENOTSUP' })
      return void process.nextTick(() => this.emit('error', error))
    },
  })
  const bench = await startRelay(t, { threads: 4 })
  t.equal(bench.relay.threads, 1)
  t.match(bench.lines, [{ level: 'warn', threads: 4, msg: /has one thread/ }])
  await bench.promote((await appNamed(t, 'blue')).address)
  t.same(new Set(await askAll(connectMany(t, bench.port))), new Set(['blue']))
})
