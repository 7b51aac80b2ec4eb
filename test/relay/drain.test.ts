// What the switch needs of the relay: pointing slots, waiting for a drain, cutting what is left, closing.
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import t from 'tap'
import {
  dial,
  GET,
  hasAnswer,
  NEVER,
  OK,
  type Scope,
  startApp,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'

/** A relay and an app whose answers are given by hand. */
async function start(t: Scope) {
  const bench = await startRelay(t)
  const waiting: ((exchange: [IncomingMessage, ServerResponse]) => void)[] = []
  const app = await startApp(t, (request, response) => waiting.shift()?.([request, response]))
  await bench.promote(app.address)
  /** Sends a request; resolves when the app has it, with the client's side and the app's. */
  const ask = async () => {
    const asked = new Promise<[IncomingMessage, ServerResponse]>((resolve) => waiting.push(resolve))
    const wire = dial(t, bench.port, GET)
    const [request, response] = await asked
    return { wire, request, response }
  }
  return { bench, ask }
}

t.test('nothing live is 503 with Retry-After; a live release without an address too', async (t) => {
  const bench = await startRelay(t)
  const none = await dial(t, bench.port, GET).until(hasAnswer)
  t.equal(statusOf(none), 503)
  t.match(none, /\r\nretry-after: \d+\r\n/i)
  t.match(none, /"code":"nothing_live"/)
  await bench.relay.setBackend(0, 'blue', { release: 'r1', addresses: [] })
  bench.table.flip(0, 'blue')
  t.match(await dial(t, bench.port, GET).until(hasAnswer), /"code":"live_down"/)
  await bench.relay.setBackend(0, 'blue', null)
  t.match(await dial(t, bench.port, GET).until(hasAnswer), /"code":"live_down"/)
  t.equal(bench.claims(), 0)
})

t.test('a drain ends with the last byte of the last request, and not before', async (t) => {
  const { bench, ask } = await start(t)
  const { wire, response } = await ask()
  bench.table.flip(0, 'green')
  let drained = false
  const drain = bench.relay.whenDrained(0, [1], 'requests', NEVER).then(() => {
    drained = true
  })
  response.writeHead(200, { 'content-length': 10 }).write('hello')
  await wire.until((text) => text.includes('hello'))
  t.notOk(drained)
  response.end('world')
  await drain
  t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 0 })
})

t.test('waiting for a drain ends when its signal aborts', async (t) => {
  const { bench, ask } = await start(t)
  await ask()
  const stop = new AbortController()
  const drain = bench.relay.whenDrained(0, [1], 'requests', stop.signal)
  stop.abort()
  await drain
  t.equal(bench.claims(), 1)
})

t.test(
  'an event stream moves to the tunnels, so that a drain of requests does not wait for it',
  async (t) => {
    const { bench, ask } = await start(t)
    const { wire, response } = await ask()
    const drain = bench.relay.whenDrained(0, [1], 'requests', NEVER)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
    await drain
    t.equal(await bench.relay.cut(0, [1], 'requests'), 0)
    t.equal(await bench.relay.cut(0, [1], 'tunnels'), 1)
    t.notMatch(await wire.closed(), /0\r\n\r\n$/, 'no clean end: the client knows to come back')
    await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
    t.match(await bench.logged(() => true), { code: 'drain_cut' })
  },
)

t.test('a request that is cut before its answer gets a page, one in the middle is broken off', async (t) => {
  const { bench, ask } = await start(t)
  const { wire: silent, request } = await ask()
  const { wire: begun, response } = await ask()
  response.writeHead(200, { 'content-length': 10 }).write('hello')
  await begun.until((text) => text.includes('hello'))
  const gone = once(request.socket, 'close')
  t.equal(await bench.relay.cut(0, [2, 3], 'requests'), 0, 'other generations are left alone')
  t.equal(await bench.relay.cut(1, [1], 'requests'), 0, 'other services too')
  t.equal(await bench.relay.cut(0, [1], 'requests'), 2)
  t.equal(statusOf(await silent.until(hasAnswer)), 504)
  await begun.closed()
  await gone
  await bench.relay.whenDrained(0, [1], 'requests', NEVER)
  t.equal(bench.claims(), 0)
})

t.test('a new backend of a slot takes the next claim, an open exchange keeps its own', async (t) => {
  const { bench, ask } = await start(t)
  const other = await startApp(t, (_, response) => response.end('other'))
  const { wire, response } = await ask()
  await bench.relay.setBackend(0, 'blue', { release: 'r2', addresses: [other.address] })
  t.match(await dial(t, bench.port, GET).until(hasAnswer), /other$/)
  response.end('first')
  t.match(await wire.until(hasAnswer), /first$/)
})

t.test(
  'forgetting an address closes its idle connections, and those in use after their answer',
  async (t) => {
    // Longer than the test may take: nothing here closes for being idle.
    const bench = await startRelay(t, { relay: { upstreamIdleMs: 600_000 } })
    const app = await startRawApp(t, (socket, nth) => {
      socket.on('data', () => {
        if (nth === 1) socket.write(OK)
      })
    })
    await bench.promote(app.address)
    await dial(t, bench.port, GET).until(hasAnswer)
    const [idle] = app.sockets
    bench.relay.forget([app.address])
    if (idle && !idle.closed) await once(idle, 'close')
    const connected = once(app.server, 'connection')
    const wire = dial(t, bench.port, GET)
    const [busy] = (await connected) as [(typeof app.sockets)[number]]
    if (busy.bytesRead === 0) await once(busy, 'data')
    bench.relay.forget([app.address])
    busy.write(OK)
    t.equal(statusOf(await wire.until(hasAnswer)), 200)
    if (!busy.closed) await once(busy, 'close')
    t.ok(busy.closed)
  },
)

t.test('closing lets open requests finish, tells their clients, and takes no new ones', async (t) => {
  const { bench, ask } = await start(t)
  const idle = dial(t, bench.port)
  await once(idle.socket, 'connect')
  const { wire, response } = await ask()
  const closed = bench.relay.close(5_000)
  await idle.closed()
  const refused = dial(t, bench.port)
  await refused.closed()
  t.equal(refused.ended, 'reset')
  response.end('done')
  const text = await wire.closed()
  t.match(text, /\r\nConnection: close\r\n/)
  t.match(text, /done$/)
  await closed
})

t.test('closing cuts what is not done in time', async (t) => {
  const { bench, ask } = await start(t)
  const { wire, request } = await ask()
  const gone = once(request.socket, 'close')
  await bench.relay.close(50)
  await wire.closed()
  await gone
  t.match(await bench.logged(() => true), { code: 'upstream_timeout' })
  t.equal(bench.claims(), 0)
})
