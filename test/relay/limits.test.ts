// What a client may take of the front door: connections, requests on each, octets and time; and the clock that measures it.
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Clock } from '../../src/relay/clock.ts'
import { LARGE_BYTES } from '../support/back-pressure.ts'
import { hang, watchThreads } from '../support/threads.ts'
import { eventually } from '../support/turns.ts'
import { tcp4Line } from './proxy-headers.ts'
import {
  type Bench,
  collect,
  dial,
  GET,
  hasAnswer,
  type LogLine,
  OK,
  type RawApp,
  type Scope,
  SMUGGLED,
  startApp,
  startObserved,
  startRawApp,
  startRelay,
  statusOf,
  type Wire,
} from './support.ts'
import { SWITCHED, UPGRADE } from './tunnels.ts'

/** An app that answers each request, and switches for each upgrade. */
const startOk = (t: Scope): Promise<RawApp> =>
  startRawApp(t, (socket) => {
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        socket.write(text.slice(0, end).includes('websocket') ? SWITCHED : OK)
        text = text.slice(end + 4)
      }
    })
    socket.on('end', () => socket.end())
  })

async function start(t: Scope, relay: Parameters<typeof startRelay>[1] = {}) {
  const bench = await startRelay(t, relay)
  const app = await startOk(t)
  await bench.promote(app.address)
  return { bench, app }
}

/** From an address of the loopback network of one's own. */
function dialFrom(t: Scope, port: number, localAddress: string, bytes: string): Wire {
  const socket = connect({ host: '127.0.0.1', port, localAddress })
  t.teardown(() => socket.destroy())
  socket.write(bytes)
  return collect(socket)
}

const isServed = async (wire: Wire): Promise<boolean> =>
  wire.until(hasAnswer).then(
    () => true,
    () => false,
  )

/** Ends a connection from the client's side; resolves when the front door knows. */
async function leave(t: Test, wire: Wire, isKnown: () => Promise<boolean>): Promise<void> {
  wire.socket.destroy()
  for (let tries = 0; tries < 200; tries++) {
    if (await isKnown()) return
    await pause(5)
  }
  t.fail('the front door never got to know')
}

const turnedAway = ({ lines }: Bench): LogLine[] =>
  lines.filter(({ code }) => code === 'too_many_connections')

// Connections.

t.test('relay.connections is the most there are; one that ends makes room for another', async (t) => {
  const { bench } = await start(t, { relay: { connectionLimit: 3 } })
  const wires = [1, 2, 3].map(() => dial(t, bench.port, GET))
  t.same(await Promise.all(wires.map(isServed)), [true, true, true])
  const fourth = dial(t, bench.port, GET)
  t.notOk(await isServed(fourth))
  t.equal(fourth.text, '', 'no answer, which would cost as much')
  t.match(turnedAway(bench), [{ level: 'warn', client: '127.0.0.1', msg: /3.*`relay\.connections`/ }])
  t.ok(await isServed(dialOn(wires[0], GET)), 'the others go on')
  const [first] = wires
  if (first) await leave(t, first, () => isServed(dial(t, bench.port, GET)))
})

/** Asks once more. */
function dialOn(wire: Wire | undefined, bytes: string): Wire {
  if (!wire) throw new Error('there is one')
  const { socket } = wire
  socket.removeAllListeners('data')
  socket.write(bytes)
  return collect(socket)
}

t.test('a tunnel counts as a connection as long as it is open, and no longer', async (t) => {
  const { bench } = await start(t, { relay: { connectionLimit: 1, connectionsPerAddress: 1 } })
  const switched = async () => {
    const wire = dial(t, bench.port, UPGRADE)
    const is = await wire
      .until((text) => text.includes(' 101 '))
      .then(
        () => true,
        () => false,
      )
    return { wire, is }
  }
  for (let nth = 0; nth < 5; nth++) {
    let wire: Wire | undefined
    for (let tries = 0; wire === undefined && tries < 200; tries++) {
      const one = await switched()
      if (one.is) wire = one.wire
      else await pause(5)
    }
    if (!wire) return t.fail(`upgrade ${nth} was turned away for good`)
    t.notOk(await isServed(dial(t, bench.port, GET)), `tunnel ${nth} takes the only place`)
    wire.socket.destroy()
  }
})

t.test('relay.connections_per_address is the most that one address has; others do not suffer', async (t) => {
  const { bench } = await start(t, { relay: { connectionsPerAddress: 2 } })
  const wires = [1, 2].map(() => dialFrom(t, bench.port, '127.0.0.2', GET))
  t.same(await Promise.all(wires.map(isServed)), [true, true])
  t.notOk(await isServed(dialFrom(t, bench.port, '127.0.0.2', GET)))
  t.match(turnedAway(bench), [{ client: '127.0.0.2', msg: /2.*`relay\.connections_per_address`/ }])
  t.ok(await isServed(dialFrom(t, bench.port, '127.0.0.3', GET)))
  const [first] = wires
  if (first) await leave(t, first, () => isServed(dialFrom(t, bench.port, '127.0.0.2', GET)))
})

t.test('behind a proxy that names its clients, connections count by whom they are for', async (t) => {
  const { bench } = await start(t, {
    relay: { connectionsPerAddress: 2, proxyProtocol: true, trustedProxies: ['127.0.0.1'] },
  })
  const ask = (source: string) => dial(t, bench.port, tcp4Line(source) + GET)
  const wires = ['192.0.2.1', '192.0.2.2', '192.0.2.1', '192.0.2.2', '192.0.2.3'].map(ask)
  t.same(await Promise.all(wires.map(isServed)), [true, true, true, true, true], 'five from one peer')
  t.notOk(await isServed(ask('192.0.2.1')))
  t.match(turnedAway(bench), [{ client: '192.0.2.1', msg: /relay\.connections_per_address/ }])
  const [first] = wires
  if (first) await leave(t, first, () => isServed(ask('192.0.2.1')))
  t.ok(await isServed(ask('192.0.2.4')))
})

t.test('a flood of connections is not a flood of lines', async (t) => {
  const { bench } = await start(t, { relay: { connectionLimit: 1 } })
  t.ok(await isServed(dial(t, bench.port, GET)))
  const flood = async () => {
    const wires = Array.from({ length: 50 }, () => dial(t, bench.port, GET))
    await Promise.all(wires.map((wire) => wire.closed()))
  }
  const fromMs = performance.now()
  await flood()
  const seconds = () => Math.ceil((performance.now() - fromMs) / 1_000)
  t.ok(turnedAway(bench).length <= seconds(), 'one line a second')
  await pause(1_100)
  await flood()
  const lines = turnedAway(bench)
  t.ok(lines.length <= seconds() && lines.length >= 2)
  t.match(lines[1]?.msg, /\b(?:49|50)\b/, 'the next line says how many there were')
})

// Requests.

t.test('the last request of a connection is told so, and nothing behind it is served', async (t) => {
  const { bench, app } = await start(t, { relay: { requestsPerConnection: 3 } })
  let asked = 0
  for (const socket of app.sockets) socket.on('data', () => asked++)
  const wire = dial(t, bench.port, GET.repeat(5))
  const answers = (await wire.closed()).split('HTTP/1.1 ').slice(1)
  t.equal(answers.length, 3)
  t.same(
    answers.map((answer) => /\r\nConnection: close\r\n/.test(answer)),
    [false, false, true],
  )
  t.equal(bench.lines.filter(({ msg }) => msg === 'exchange').length, 3)
})

t.test("slotgate's own answers are requests of a connection, too", async (t) => {
  const { bench } = await start(t, { relay: { requestsPerConnection: 2 } })
  const own = 'OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n'
  const answers = (await dial(t, bench.port, own.repeat(3)).closed()).split('HTTP/1.1 ').slice(1)
  t.same(
    answers.map((answer) => /\r\nConnection: close\r\n/.test(answer)),
    [false, true],
  )
})

t.test('a target of exactly relay.target_limit goes through, one octet more is a 414', async (t) => {
  const { bench, seen } = await startObserved(t, { relay: { targetLimitBytes: 100 } })
  const ask = (octets: number) =>
    dial(t, bench.port, GET.replace('/', `/${'a'.repeat(octets - 1)}`) + SMUGGLED)
  const text = await ask(101).closed()
  t.equal(statusOf(text), 414)
  t.same(seen, [], 'nor anything behind it')
  t.equal(statusOf(await ask(100).until(hasAnswer)), 200)
  t.match(text, /\r\nConnection: close\r\n/)
})

/** How late a machine that does much else may be. */
const BUSY_MS = 8_000

const POST = 'POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n'
/** 10,000 octets a second, over 200 ms. */
const RATE = { bodyRateBytes: 10_000, bodyRateWindowMs: 200, headTimeoutMs: 400 }

/** Sends chunks of this size until the answer comes or there were enough. */
async function drip(wire: Wire, octets: number, everyMs: number, forMs: number): Promise<void> {
  const chunk = `${octets.toString(16)}\r\n${'x'.repeat(octets)}\r\n`
  for (const fromMs = performance.now(); performance.now() - fromMs < forMs && wire.text === ''; ) {
    wire.socket.write(chunk)
    await pause(everyMs)
  }
}

t.test('a body that brings less than relay.body_rate is a 408, though it never stands still', async (t) => {
  const bench = await startRelay(t, { relay: RATE })
  const app = await startApp(t, (request, response) => {
    request.on('error', () => {})
    request.resume().on('end', () => response.end('done'))
  })
  const asked = once(app.server, 'request')
  await bench.promote(app.address)
  const wire = dial(t, bench.port, POST)
  const fromMs = performance.now()
  await drip(wire, 1, 10, 8_000)
  const tookMs = performance.now() - fromMs
  const text = await wire.closed()
  t.equal(statusOf(text), 408)
  t.match(text, /\r\nConnection: close\r\n/)
  t.ok(tookMs >= 200, `not before the window is over: ${tookMs} ms`)
  t.ok(tookMs < 200 + BUSY_MS, `soon after it: ${tookMs} ms`)
  const [request] = await asked
  t.ok(await eventually(() => request.destroyed && !request.complete), 'the app gets no whole request')
  t.match(await bench.logged(() => true), { status: 408, code: 'request_timeout' })
})

t.test('a body that keeps to relay.body_rate may last as long as it likes', async (t) => {
  const bench = await startRelay(t, { relay: RATE })
  const app = await startApp(t, (request, response) => request.resume().on('end', () => response.end('done')))
  await bench.promote(app.address)
  const wire = dial(t, bench.port, POST)
  await drip(wire, 4_000, 20, 1_500)
  wire.socket.write('0\r\n\r\n')
  t.equal(statusOf(await wire.until((text) => text.includes('done'))), 200)
})

t.test('a client is not blamed for a rate that its app does not take', async (t) => {
  const bench = await startRelay(t, { relay: RATE })
  const app = await startApp(t, async (request, response) => {
    await pause(1_000)
    request.resume().on('end', () => response.end('done'))
  })
  await bench.promote(app.address)
  const body = Buffer.alloc(LARGE_BYTES)
  const wire = dial(
    t,
    bench.port,
    POST.replace('Transfer-Encoding: chunked', `Content-Length: ${body.length}`),
  )
  wire.socket.write(body)
  t.equal(statusOf(await wire.until((text) => text.includes('done'))), 200)
})

// Apps that must not be trusted with kept connections, and logs that say little.

t.test(
  'without relay.upstream_reuse each request has a connection of its own, and the app is told',
  async (t) => {
    const { bench, app, seen } = await startObserved(t, { relay: { upstreamReuse: false } })
    const wire = dial(t, bench.port, GET.repeat(3))
    await wire.until((text) => text.split('HTTP/1.1 200').length === 4 && text.endsWith('ok'))
    t.equal(app.sockets.length, 3)
    t.equal(seen.length, 3)
    for (const head of seen) t.match(head, /\r\nconnection: close\r\n/i)
    t.ok(await eventually(() => app.sockets.every(({ closed, readableEnded }) => closed || readableEnded)))
  },
)

t.test('without relay.access_log only failures that are not the client’s have a line', async (t) => {
  const { bench, app } = await start(t, { relay: { accessLog: 0 } })
  t.ok(await isServed(dial(t, bench.port, GET)))
  t.equal(statusOf(await dial(t, bench.port, 'GET / HTTP/1.1\r\n\r\n').closed()), 400)
  const tunnel = dial(t, bench.port, UPGRADE)
  await tunnel.until((text) => text.includes(' 101 '))
  tunnel.socket.destroy()
  t.ok(await eventually(() => bench.claims() === 0))
  app.server.close()
  for (const socket of app.sockets) socket.destroy()
  t.equal(statusOf(await dial(t, bench.port, GET.replace('/', '/gone')).until(hasAnswer)), 502)
  await bench.logged(({ status }) => status === 502)
  t.same(
    bench.lines.filter(({ msg }) => msg === 'exchange').map(({ path, code }) => [path, code]),
    [['/gone', 'upstream_refused']],
  )
})

t.test('a front door whose app is itself finds that out, for requests and for upgrades', async (t) => {
  const bench = await startRelay(t)
  await bench.promote({ kind: 'tcp', host: '127.0.0.1', port: bench.port })
  for (const bytes of [GET, UPGRADE]) {
    const fromMs = performance.now()
    t.equal(statusOf(await dial(t, bench.port, bytes).until(hasAnswer)), 508)
    const tookMs = performance.now() - fromMs
    t.ok(tookMs < 2_000, `after ${tookMs} ms`)
    t.ok(await eventually(() => bench.claims() === 0))
  }
  t.ok(bench.lines.filter(({ msg }) => msg === 'exchange').length <= 10, 'after few rounds')
})

// Time.

/** Resolves with how long it took until the front door ended the connection. */
async function untilEnded(wire: Wire): Promise<{ text: string; tookMs: number }> {
  const fromMs = performance.now()
  const text = await wire.closed()
  return { text, tookMs: performance.now() - fromMs }
}

t.test('a connection that says nothing, or only half a head, has relay.head_timeout', async (t) => {
  const { bench } = await start(t, { relay: { headTimeoutMs: 400 } })
  const half = GET.slice(0, 20)
  const cases = [
    { bytes: '', answer: undefined },
    { bytes: '\r\n', answer: undefined },
    { bytes: half, answer: 408 },
    { bytes: `${GET}${half}`, answer: 408 },
  ]
  for (const { bytes, answer } of cases) {
    const wire = dial(t, bench.port)
    await once(wire.socket, 'connect')
    wire.socket.write(bytes)
    // Drop by drop it takes no longer.
    const timer = setInterval(
      () => bytes.endsWith(half) && wire.ended === undefined && wire.socket.write('x'),
      50,
    )
    t.teardown(() => clearInterval(timer))
    const { text, tookMs } = await untilEnded(wire)
    clearInterval(timer)
    const last = text.slice(text.lastIndexOf('HTTP/1.1'))
    if (answer) t.equal(statusOf(last), answer)
    else t.equal(text, '', 'whoever has asked nothing gets no answer')
    t.ok(tookMs >= 395, `${JSON.stringify(bytes)}: not early, ${tookMs} ms`)
    t.ok(tookMs < 400 + BUSY_MS, `${JSON.stringify(bytes)}: soon, ${tookMs} ms`)
  }
})

t.test('a connection that is idle between two requests has relay.keep_alive_timeout', async (t) => {
  const { bench } = await start(t, { relay: { keepAliveTimeoutMs: 300, headTimeoutMs: 10_000 } })
  const wire = dial(t, bench.port, GET)
  await wire.until(hasAnswer)
  await pause(200)
  // A request in between begins the time anew.
  await dialOn(wire, GET).until(hasAnswer)
  const before = wire.text.length
  const { text, tookMs } = await untilEnded(wire)
  t.equal(text.length, before, 'nothing is said about it')
  t.equal(wire.ended, 'fin')
  t.ok(tookMs >= 290, `not early: ${tookMs} ms`)
  t.ok(tookMs < 300 + BUSY_MS, `soon: ${tookMs} ms`)
})

t.test('a silent connection that owes its PROXY header is closed', async (t) => {
  const { bench } = await start(t, {
    relay: { headTimeoutMs: 300, proxyProtocol: true, trustedProxies: ['127.0.0.1'] },
  })
  for (const bytes of ['', 'PROXY TCP4 192.', tcp4Line('192.0.2.1')]) {
    const { text, tookMs } = await untilEnded(dial(t, bench.port, bytes))
    t.equal(text, '')
    t.ok(tookMs >= 295, `not early: ${tookMs} ms`)
    t.ok(tookMs < 300 + BUSY_MS, `soon: ${tookMs} ms`)
  }
})

// The clock.

t.test('no limit of the clock is early, and none is later than two ticks', async (t) => {
  const tickMs = 20
  const limitsMs = [160, 173, 240, 255]
  const pending = new Set<{ setMs: number; setTick: number; limitMs: number; deadlineMs: number }>()
  const lateMs: number[] = []
  const lateTicks: number[] = []
  let tick = 0
  const clock = new Clock([tickMs * 8], (nowMs) => {
    tick++
    for (const one of pending) {
      if (nowMs < one.deadlineMs) continue
      pending.delete(one)
      lateMs.push(performance.now() - one.setMs - one.limitMs)
      // Of a thread that is held up no time can be asked.
      lateTicks.push(tick - one.setTick - Math.ceil(one.limitMs / tickMs))
    }
  })
  t.teardown(() => clock.stop())
  for (let nth = 0; nth < 100; nth++) {
    const limitMs = limitsMs[nth % limitsMs.length] ?? 0
    pending.add({ setMs: performance.now(), setTick: tick, limitMs, deadlineMs: clock.in(limitMs) })
    await pause(nth % 7)
  }
  while (pending.size > 0) await pause(tickMs)
  t.ok(Math.min(...lateMs) >= 0, `${Math.min(...lateMs)} ms`)
  t.ok(Math.max(...lateTicks) <= 2, `${Math.max(...lateTicks)} ticks`)
})

/** Keeps this thread from doing anything. */
const hold = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)

t.test('a limit that is set behind a pause of the thread is not early either', async (t) => {
  let deadlineMs = Number.POSITIVE_INFINITY
  let setMs = 0
  let tookMs = 0
  const clock = new Clock([160], (nowMs) => {
    if (nowMs >= deadlineMs && tookMs === 0) tookMs = performance.now() - setMs
  })
  t.teardown(() => clock.stop())
  await pause(50)
  // All in one turn of the loop: the clock has not ticked since.
  hold(400)
  setMs = performance.now()
  deadlineMs = clock.in(160)
  while (tookMs === 0) await pause(10)
  t.ok(tookMs >= 160, `${tookMs} ms`)
})

t.test('an answer that came while the thread was held up is not thrown away for its time', async (t) => {
  const threads = watchThreads(t)
  const bench = await startRelay(t, { threads: 1, relay: { upstreamTimeoutMs: 500 } })
  const [thread] = threads.started
  const asked = Promise.withResolvers<() => void>()
  const app = await startApp(t, (_, response) => asked.resolve(() => response.end('in time')))
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  const answer = await asked.promise
  if (thread) await threads.run(thread, hang(1_500))
  answer()
  t.match(await wire.until(hasAnswer), /in time$/)
})

t.test(
  'relay.access_log may be a share, and relay.access_log_omit leaves out who it was and where',
  async (t) => {
    const relay = { accessLog: 0.5, accessLogOmit: ['path', 'client'] as const }
    const { bench } = await start(t, { relay })
    const wire = dial(t, bench.port, GET.repeat(400))
    await wire.until((text) => text.split('HTTP/1.1 200').length > 400)
    t.ok(await eventually(() => bench.claims() === 0))
    const lines = bench.lines.filter(({ msg }) => msg === 'exchange')
    t.ok(lines.length > 100 && lines.length < 300, `${lines.length} of 400`)
    for (const line of lines) {
      t.match(line, { status: 200, method: 'GET', request_id: String })
      t.notOk('path' in line || 'client' in line)
    }
  },
)
