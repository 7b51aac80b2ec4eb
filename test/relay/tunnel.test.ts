// Upgraded connections: what becomes a tunnel, what is answered instead, and how a tunnel ends.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import {
  dial,
  GET,
  hasAnswer,
  headOf,
  OK,
  refusedAddress,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'
import { begin, open, SWITCHED, startEcho, UPGRADE } from './tunnels.ts'

t.test('a WebSocket works, and counts as a tunnel until it is closed', async (t) => {
  const bench = await startRelay(t)
  const app = await startEcho(t)
  await bench.promote(app.address)
  const client = new WebSocket(`ws://127.0.0.1:${bench.port}/echo`)
  await once(client, 'open')
  t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 1 })
  for (const size of [1, 125, 126, 70_000, 1_000_000]) {
    const data = randomBytes(size)
    client.send(data)
    const [back] = (await once(client, 'message')) as [Buffer]
    t.ok(data.equals(back), `${size} bytes`)
  }
  client.close(1000)
  await once(client, 'close')
  t.match(await bench.logged(() => true), { status: 101, code: undefined, slot: 'blue', path: '/echo' })
  t.equal(bench.claims(), 0)
})

t.test(
  'the app gets the upgrade with the fields of any request, and the client the 101 with those of the app',
  async (t) => {
    const { client, app } = await begin(t)
    const { line, fields } = headOf(app.text)
    t.equal(line, 'GET /ws?a=b HTTP/1.1')
    const names = ['connection', 'upgrade', 'origin', 'sec-websocket-key', 'x-forwarded-for', 'via', 'host']
    for (const name of names) t.equal(fields.filter(([one]) => one === name).length, 1, name)
    app.socket.write(
      SWITCHED.replace(
        'Connection: Upgrade',
        'Connection: Upgrade, X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2',
      ),
    )
    const answer = headOf(await client.until((text) => text.endsWith('\r\n\r\n')))
    t.equal(answer.line, 'HTTP/1.1 101 Switching Protocols')
    t.same(
      answer.fields.filter(([name]) => name === 'set-cookie').map(([, value]) => value),
      ['a=1', 'b=2'],
    )
    t.notOk(answer.fields.some(([name]) => name === 'x-hop'))
  },
)

t.test('what a client sends before the 101 reaches the app after it, and not before', async (t) => {
  const { client, app } = await begin(t, `${UPGRADE}early`)
  t.notMatch(app.text, /early/)
  app.socket.write(`${SWITCHED}first`)
  await client.until((text) => text.endsWith('first'))
  await app.until((text) => text.endsWith('early'))
})

const WRONG: Record<string, string> = {
  'to another protocol': SWITCHED.replace('Upgrade: websocket', 'Upgrade: h2c'),
  'without a protocol': SWITCHED.replace('Upgrade: websocket\r\n', ''),
  'without Accept': SWITCHED.replace(/Sec-WebSocket-Accept.*\r\n/, ''),
  'without Connection': SWITCHED.replace('Connection: Upgrade\r\n', ''),
}

for (const [how, bytes] of Object.entries(WRONG)) {
  t.test(`a 101 ${how} is a 502`, async (t) => {
    const { client, app } = await begin(t)
    app.socket.write(bytes)
    t.equal(statusOf(await client.closed()), 502)
    await app.closed()
  })
}

t.test('a 101 that nobody asked for is a 502', async (t) => {
  const { client, app } = await begin(t, GET)
  app.socket.write(SWITCHED)
  t.equal(statusOf(await client.until(hasAnswer)), 502)
})

const NOT_UPGRADES: Record<string, string> = {
  'with a body': UPGRADE.replace('GET', 'POST').replace('\r\n\r\n', '\r\nContent-Length: 5\r\n\r\nhello'),
  'with a chunked body': UPGRADE.replace(
    '\r\n\r\n',
    '\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ),
  'to h2c': UPGRADE.replace('websocket', 'h2c'),
  'to a list': UPGRADE.replace('websocket', 'h2c, websocket'),
  'in HTTP/1.0': UPGRADE.replace('HTTP/1.1', 'HTTP/1.0'),
  'without Connection: upgrade': UPGRADE.replace('keep-alive, Upgrade', 'keep-alive'),
}

for (const [how, bytes] of Object.entries(NOT_UPGRADES)) {
  t.test(`an upgrade ${how} goes on as a plain request`, async (t) => {
    const { client, app } = await begin(t, bytes)
    t.notMatch(app.text, /\r\nupgrade:/i)
    app.socket.write(OK)
    t.equal(statusOf(await client.until(hasAnswer)), 200)
  })
}

t.test('half-closing goes through, in both directions', async (t) => {
  const { bench, client, app } = await open(t)
  client.socket.write('last words')
  client.socket.end()
  await app.until((text) => text.endsWith('last words'))
  await app.closed()
  t.equal(app.ended, 'fin')
  app.socket.end('farewell')
  t.match(await client.closed(), /farewell$/)
  t.match(await bench.logged(() => true), { status: 101, code: undefined })
})

t.test('a tunnel is idle when neither side sends', async (t) => {
  const { bench, client, app } = await open(t, { tunnelIdleMs: 150 })
  for (let beat = 0; beat < 3; beat++) {
    await new Promise((resolve) => setTimeout(resolve, 80))
    const side = beat % 2 === 0 ? client : app
    side.socket.write('beat')
  }
  t.equal(client.ended, undefined)
  await Promise.all([client.closed(), app.closed()])
  t.match(await bench.logged(() => true), { status: 101, code: 'tunnel_idle' })
})

t.test('an upgrade that the app does not answer is a 504', async (t) => {
  const { client } = await begin(t, UPGRADE, { upstreamTimeoutMs: 100 })
  t.equal(statusOf(await client.closed()), 504)
})

t.test('an upgrade to an app that is not there is a 502', async (t) => {
  const bench = await startRelay(t)
  await bench.promote(await refusedAddress(t))
  t.equal(statusOf(await dial(t, bench.port, UPGRADE).closed()), 502)
})

t.test('a client that leaves while the app has not answered its upgrade gives its claim back', async (t) => {
  const { bench, client, app } = await begin(t)
  client.socket.end()
  await app.closed()
  const line = await bench.logged(({ status, code }) => status === undefined || code === 'client_closed')
  t.equal(line.code, 'client_closed')
  t.equal(bench.claims(), 0)
})

t.test('clients that reset at any moment of an upgrade leave nothing behind', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => setImmediate(() => socket.write(`${SWITCHED}frame`)))
    socket.on('end', () => socket.end())
  })
  await bench.promote(app.address)
  const clients = 60
  for (let nth = 0; nth < clients; nth++) {
    const socket = connect(bench.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write(UPGRADE)
    for (let turn = 0; turn < nth % 12; turn++) await new Promise((resolve) => setImmediate(resolve))
    socket.resetAndDestroy()
  }
  const { relay } = bench
  await relay.whenDrained(0, [1], 'tunnels', AbortSignal.timeout(5_000))
  await relay.whenDrained(0, [1], 'requests', AbortSignal.timeout(5_000))
  t.equal(bench.claims(), 0)
})
