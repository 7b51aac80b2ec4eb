// What counts as answered and what as failed, exchange by exchange: what an app made of it, not what its client did.
import t from 'tap'
import {
  dial,
  GET,
  H,
  hasAnswer,
  OK,
  refusedAddress,
  startObserved,
  startRawApp,
  startRelay,
} from './support.ts'

const answering = (head: string) => () => `HTTP/1.1 ${head}\r\nContent-Length: 2\r\n\r\nok`

for (const [status, counts] of [
  ['200 OK', { answered: 1, failed: 0 }],
  ['404 Not Found', { answered: 1, failed: 0 }],
  ['500 Oops', { answered: 0, failed: 1 }],
  ['503 Busy', { answered: 0, failed: 1 }],
] as const) {
  t.test(`an app that answers ${status}`, async (t) => {
    const { bench } = await startObserved(t, {}, answering(status))
    await dial(t, bench.port, GET).until(hasAnswer)
    await bench.logged(() => true)
    t.same(bench.relay.exchanges(0, 1), counts)
  })
}

t.test('no connection to the app is a failure, and so is a release that is down', async (t) => {
  const bench = await startRelay(t)
  await bench.promote(await refusedAddress(t))
  await dial(t, bench.port, GET).until(hasAnswer)
  await bench.logged(({ code }) => code === 'upstream_refused')
  await bench.relay.setBackend(0, 'blue', { release: 'r-blue', addresses: [] })
  await dial(t, bench.port, GET).until(hasAnswer)
  await bench.logged(({ code }) => code === 'live_down')
  t.same(bench.relay.exchanges(0, 1), { answered: 0, failed: 2 })
})

t.test('an answer that does not come in time is a failure', async (t) => {
  const bench = await startRelay(t, { relay: { upstreamTimeoutMs: 20 } })
  const app = await startRawApp(t, () => {})
  await bench.promote(app.address)
  await dial(t, bench.port, GET).until(hasAnswer)
  await bench.logged(({ code }) => code === 'upstream_timeout')
  t.same(bench.relay.exchanges(0, 1), { answered: 0, failed: 1 })
})

t.test('an answer that breaks off is a failure, whatever its status', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok'))
  })
  await bench.promote(app.address)
  await dial(t, bench.port, GET).closed()
  await bench.logged(({ code }) => code === 'upstream_failed')
  t.same(bench.relay.exchanges(0, 1), { answered: 0, failed: 1 })
})

t.test('a client that goes away before the answer is nobody else’s failure', async (t) => {
  const bench = await startRelay(t)
  const { promise, resolve } = Promise.withResolvers<void>()
  const app = await startRawApp(t, (socket) => void socket.once('data', () => resolve()))
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  await promise
  wire.socket.destroy()
  await bench.logged(({ code }) => code === 'client_closed')
  t.same(bench.relay.exchanges(0, 1), { answered: 0, failed: 0 })
})

t.test('what the front door answers by itself is not counted', async (t) => {
  const { bench } = await startObserved(t, { relay: { bodyLimitBytes: 4 } }, () => OK)
  await dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 9\r\n\r\n`).until(hasAnswer)
  await bench.logged(({ code }) => code === 'request_too_large')
  await dial(t, bench.port, `OPTIONS * HTTP/1.1\r\n${H}\r\n`).until((text) => text.includes('204'))
  await bench.logged(({ status }) => status === 204)
  t.same(bench.relay.exchanges(0, 1), { answered: 0, failed: 0 })
})

t.test('a request that is sent a second time counts once', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket, nth) => {
    let requests = 0
    socket.on('data', () => (++requests === 2 && nth === 1 ? socket.destroy() : socket.write(OK)))
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  await wire.until(hasAnswer)
  wire.socket.write(GET)
  await wire.until((text) => text.split('HTTP/1.1 200').length === 3)
  await t.resolves(bench.logged(() => bench.lines.filter(({ msg }) => msg === 'exchange').length === 2))
  t.equal(app.sockets.length, 2)
  t.same(bench.relay.exchanges(0, 1), { answered: 2, failed: 0 })
})
