// Requests that wait at the front door while their service takes none: in order, with their bodies, and only as long as
// their clients are there.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { WaitingRoom } from '../../src/relay/waiting.ts'
import { createBuffer, openTable } from '../../src/slots/table.ts'
import { readAnswers } from '../support/http-bytes.ts'
import { watchThreads } from '../support/threads.ts'
import { eventually, withinTurns } from '../support/turns.ts'
import {
  type Bench,
  dial,
  GET,
  H,
  hasAnswer,
  headOf,
  OK,
  type Options,
  service,
  startApp,
  startObserved,
  startRawApp,
  startRelay,
  statusOf,
  type Wire,
} from './support.ts'
import { startEcho, UPGRADE } from './tunnels.ts'

const hold = (part: object) => [
  service({ hold: { withinMs: 10_000, requests: 1_000, nothingLive: false, ...part } }),
]

function resume({ table, relay }: Bench): void {
  table.resume(0)
  relay.letIn(0)
}

async function untilHeld({ table }: Bench, count: number): Promise<void> {
  if (!(await eventually(() => table.held(0) === count)))
    throw new Error(`${table.held(0)} wait, not ${count}`)
}

/** A paused relay in front of an app on a bare socket. */
async function startPaused(t: Test, options: Options = {}) {
  const observed = await startObserved(t, options)
  observed.bench.table.pause(0)
  return observed
}

const answersIn = (text: string) =>
  readAnswers(text, true).answers.map(({ status, body }) => ({ status, body }))

t.test('who waits goes on in the order in which they came, before who comes later', async (t) => {
  const bench = await startRelay(t)
  const asked: string[] = []
  const app = await startRawApp(t, (socket, nth) => {
    socket.on('data', (chunk: Buffer) => {
      asked[nth - 1] = headOf(chunk.toString('latin1')).line
      socket.write(OK)
    })
  })
  await bench.promote(app.address)
  bench.table.pause(0)
  const wires = []
  for (let nth = 1; nth <= 20; nth++) {
    wires.push(dial(t, bench.port, `GET /${nth} HTTP/1.1\r\n${H}\r\n`))
    await untilHeld(bench, nth)
  }
  // The word has changed, and nobody was told yet.
  bench.table.resume(0)
  wires.push(dial(t, bench.port, `GET /21 HTTP/1.1\r\n${H}\r\n`))
  await Promise.all(wires.map((wire) => wire.until(hasAnswer)))
  t.same(
    asked,
    wires.map((_, at) => `GET /${at + 1} HTTP/1.1`),
  )
  t.equal(bench.table.held(0), 0)
})

for (const [workers, atOnce] of [
  [1, 64],
  [4, 16],
] as const) {
  t.test(`a few go on at once, and the next as they end or with time: ${workers} threads`, async (t) => {
    const layout = { services: 2, workers }
    const table = openTable(createBuffer(layout), layout)
    const room = new WaitingRoom(table, 0)
    const gone: number[] = []
    const waiters = Array.from({ length: 100 }, (_, nth) => ({
      openLimit: 0,
      letIn: () => void gone.push(nth),
      turnAway: () => t.fail('nobody is turned away'),
    }))
    for (const waiter of waiters) room.take(0, waiter, 100)
    t.equal(room.letIn(0), false, 'nobody while the service takes none')
    table.flip(0, 'blue')
    t.equal(room.letIn(0), true, 'who comes now has to wait')
    t.equal(gone.length, atOnce)
    for (let time = 0; time < 2; time++) for (const waiter of waiters.slice(0, 4)) room.letFollow(0, waiter)
    t.equal(gone.length, atOnce + 5, 'one for each that is over, and one more for four of them')
    t.equal(room.letIn(0), true)
    t.equal(gone.length, atOnce + 5, 'to ask more often brings nobody forward')
    t.equal(room.letIn(1), false, 'elsewhere nobody waits')
    t.ok(await eventually(() => gone.length === 100), 'though none of them has ended')
    t.same(
      gone,
      waiters.map((_, nth) => nth),
    )
    t.equal(room.letIn(0), false)
    t.equal(table.held(0), 0)
  })
}

t.test(
  'of a release that answers few at once, those who waited are its next ones, and none is refused',
  async (t) => {
    const services = [service({ limits: { openRequests: 2 } })]
    const bench = await startRelay(t, { services })
    const asked: ServerResponse[] = []
    const app = await startApp(t, (_, response) => void asked.push(response))
    await bench.promote(app.address)
    bench.table.pause(0)
    const wires = Array.from({ length: 6 }, () => dial(t, bench.port, GET))
    await untilHeld(bench, 6)
    resume(bench)
    for (let nth = 0; nth < 6; nth++) {
      t.ok(await eventually(() => asked.length > nth))
      t.ok(bench.claims() <= 2)
      asked[nth]?.end()
    }
    for (const wire of wires) t.equal(statusOf(await wire.until(hasAnswer)), 200)
  },
)

t.test('a body that came meanwhile is sent with the request, whatever its framing', async (t) => {
  for (const [framing, sent] of [
    ['Content-Length: 11', ['hello', ' world']],
    ['Transfer-Encoding: chunked', ['5\r\nhello\r\n', '6\r\n world\r\n0\r\n\r\n']],
  ] as const) {
    const bodies: string[] = []
    const bench = await startRelay(t)
    const app = await startApp(t, (request, response) => {
      let body = ''
      request.on('data', (chunk) => {
        body += chunk
      })
      request.on('end', () => response.end(String(bodies.push(body))))
    })
    await bench.promote(app.address)
    bench.table.pause(0)
    const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}${framing}\r\n\r\n${sent[0]}`)
    await untilHeld(bench, 1)
    wire.socket.write(sent[1])
    // Another request reads into the same memory.
    const other = dial(t, bench.port, `GET /${'x'.repeat(500)} HTTP/1.1\r\n${H}\r\n`)
    await untilHeld(bench, 2)
    resume(bench)
    t.equal(statusOf(await wire.until(hasAnswer)), 200)
    await other.until(hasAnswer)
    t.ok(bodies.includes('hello world'), framing)
  }
})

t.test('of a large body only so much is read as fits, and the rest comes after the wait', async (t) => {
  const size = 8 * 1024 * 1024
  let received = 0
  const bench = await startRelay(t, { relay: { stallTimeoutMs: 60_000 } })
  const app = await startApp(t, (request, response) => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    request.on('end', () => response.end('taken'))
  })
  await bench.promote(app.address)
  bench.table.pause(0)
  const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: ${size}\r\n\r\n`)
  await untilHeld(bench, 1)
  wire.socket.write(Buffer.alloc(size))
  t.notOk(await withinTurns(() => wire.socket.writableLength === 0), 'the client is not read to its end')
  resume(bench)
  t.match(await wire.until(hasAnswer), /taken$/)
  t.equal(received, size)
})

t.test('a body that grows too large while its request waits is refused then and there', async (t) => {
  const { bench, seen } = await startPaused(t, { relay: { bodyLimitBytes: 10 } })
  const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`)
  await untilHeld(bench, 1)
  wire.socket.write('6\r\n world\r\n')
  t.equal(statusOf(await wire.until(hasAnswer)), 413)
  t.equal(bench.table.held(0), 0)
  t.same(seen, [])
})

t.test('a client that waits for a 100 gets it when its request goes on', async (t) => {
  const { bench } = await startPaused(t)
  const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`)
  await untilHeld(bench, 1)
  t.notOk(await withinTurns(() => wire.text !== '', 100))
  resume(bench)
  await wire.until((text) => text.endsWith('\r\n\r\n'))
  t.equal(wire.text, 'HTTP/1.1 100 Continue\r\n\r\n')
  wire.socket.write('hello')
  await wire.until((text) => hasAnswer(text.slice(text.indexOf('\r\n\r\n') + 4)))
})

t.test('requests behind one that waits are begun after it, and answered in order', async (t) => {
  const { bench, seen } = await startPaused(t)
  const paths = ['/1', '/2', '/3']
  const wire = dial(t, bench.port, paths.map((path) => `GET ${path} HTTP/1.1\r\n${H}\r\n`).join(''))
  await untilHeld(bench, 1)
  resume(bench)
  await wire.until((text) => answersIn(text).length === 3)
  t.same(
    seen.map((piece) => headOf(piece).line.split(' ')[1]),
    paths,
  )
})

t.test('who has to wait for too long gets a 503, and may ask again on the same connection', async (t) => {
  const { bench, seen } = await startPaused(t, { services: hold({ withinMs: 50 }) })
  const wire = dial(t, bench.port, GET)
  t.match(await wire.until(hasAnswer), /^HTTP\/1\.1 503 [\s\S]*retry-after: \d[\s\S]*"code":"paused"/i)
  t.match(await bench.logged(({ code }) => code === 'paused'), { status: 503, held_ms: Number })
  resume(bench)
  wire.socket.write(GET)
  await wire.until((text) => answersIn(text).length === 2)
  t.equal(seen.length, 1)
})

t.test(
  'neither the time of a head, nor of an idle connection, nor of a slow body runs while one waits',
  async (t) => {
    const times = {
      headTimeoutMs: 40,
      keepAliveTimeoutMs: 40,
      stallTimeoutMs: 40,
      upstreamTimeoutMs: 40,
      connectTimeoutMs: 40,
      bodyRateBytes: 1_000_000,
      bodyRateWindowMs: 40,
    }
    const { bench } = await startPaused(t, { relay: times })
    const get = dial(t, bench.port, GET)
    const post = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhel`)
    const upgrade = dial(t, bench.port, UPGRADE)
    await untilHeld(bench, 3)
    post.socket.write('l')
    await new Promise((resolve) => setTimeout(resolve, 300))
    t.equal(bench.table.held(0), 3)
    post.socket.write('o')
    resume(bench)
    for (const wire of [get, post, upgrade]) t.notMatch(await wire.until(hasAnswer), /^HTTP\/1\.1 (408|503)/)
  },
)

t.test('a client that leaves is forgotten, and the app never hears of it', async (t) => {
  for (const leave of ['destroy', 'resetAndDestroy'] as const) {
    for (const sent of [GET, `POST / HTTP/1.1\r\n${H}Content-Length: 9\r\n\r\nhel`, UPGRADE]) {
      const { bench, seen } = await startPaused(t)
      const wire = dial(t, bench.port, sent)
      await untilHeld(bench, 1)
      wire.socket[leave]()
      await untilHeld(bench, 0)
      t.match(await bench.logged(() => true), { code: /client_closed|bad_request/ })
      resume(bench)
      t.notOk(await withinTurns(() => seen.length > 0, 100), `${leave} after ${sent.split('\r\n')[0]}`)
    }
  }
})

t.test('so is one whose body is too large to be read while it waits', async (t) => {
  const { bench, seen } = await startPaused(t, { services: hold({ withinMs: 60_000 }) })
  const head = `POST / HTTP/1.1\r\n${H}Content-Length: 1000000\r\n\r\n`
  const [wire, stays] = [dial(t, bench.port, head), dial(t, bench.port, head)]
  await untilHeld(bench, 2)
  for (const { socket } of [wire, stays])
    await new Promise((sent) => socket.write(Buffer.alloc(200_000), sent))
  wire.socket.destroy()
  t.match(await bench.logged(() => true), { code: 'client_closed', status: 499 })
  t.equal(bench.table.held(0), 1)
  stays.socket.write(Buffer.alloc(800_000))
  resume(bench)
  await stays.until((text) => /^(HTTP\/1\.1 100 Continue\r\n\r\n)+HTTP\/1\.1 200 OK\r\n[\s\S]*ok/.test(text))
  t.notOk(seen.slice(1).some((piece) => piece.startsWith('POST')))
})

t.test('a client that has only said all it had to say waits on', async (t) => {
  const { bench } = await startPaused(t)
  const wire = dial(t, bench.port, GET)
  wire.socket.end()
  await wire.until((text) => text.startsWith('HTTP/1.1 100 Continue'))
  t.equal(bench.table.held(0), 1)
  resume(bench)
  t.match(await wire.closed(), /\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*ok$/)
})

t.test('a client of HTTP/1.0 waits like any other', async (t) => {
  const { bench } = await startPaused(t)
  const wire = dial(t, bench.port, `GET / HTTP/1.0\r\n${H}\r\n`)
  await untilHeld(bench, 1)
  resume(bench)
  t.equal(statusOf(await wire.closed()), 200)
})

t.test('a WebSocket waits, and what its client sent meanwhile comes first', async (t) => {
  const app = await startEcho(t)
  const bench = await startRelay(t)
  await bench.promote(app.address)
  bench.table.pause(0)
  const socket = new WebSocket(`ws://127.0.0.1:${bench.port}/`)
  const opened = once(socket, 'open')
  await untilHeld(bench, 1)
  resume(bench)
  await opened
  socket.send('hello')
  t.equal(String((await once(socket, 'message'))[0]), 'hello')
  socket.close()
  await once(socket, 'close')
})

t.test('an upgrade that has to wait for too long, or comes when too many wait, gets a 503', async (t) => {
  const { bench, seen } = await startPaused(t, { services: hold({ withinMs: 100, requests: 1 }) })
  const first = dial(t, bench.port, UPGRADE)
  await untilHeld(bench, 1)
  for (const wire of [dial(t, bench.port, UPGRADE), first]) t.equal(statusOf(await wire.closed()), 503)
  t.equal(bench.table.held(0), 0)
  t.same(seen, [])
})

t.test(
  'while nothing is live requests wait where the service wants it, and are refused where not',
  async (t) => {
    const [other] = hold({ nothingLive: true })
    if (!other) throw new Error('there is one')
    const services = [service({ hosts: ['a.test'] }), { ...other, name: 'other', hosts: ['b.test'] }]
    const bench = await startRelay(t, { services })
    const app = await startApp(t, (_, response) => response.end('late'))
    t.match(await dial(t, bench.port, GET).until(hasAnswer), /^HTTP\/1\.1 503 [\s\S]*nothing_live/)
    const wire = dial(t, bench.port, GET.replace('a.test', 'b.test'))
    t.ok(await eventually(() => bench.table.held(1) === 1))
    await bench.promote(app.address, 'blue', 1)
    bench.relay.letIn(1)
    t.match(await wire.until(hasAnswer), /late$/)
  },
)

t.test(
  'those who wait for a release that then is down are refused, with all that they sent behind',
  async (t) => {
    const bench = await startRelay(t)
    await bench.relay.setBackend(0, 'blue', { release: 'r1', addresses: [] })
    bench.table.flip(0, 'blue')
    bench.table.pause(0)
    // Each of them is over at once, and the next one behind it begins while they are let in.
    const wires = Array.from({ length: 900 }, () => dial(t, bench.port, GET + GET))
    await untilHeld(bench, 900)
    resume(bench)
    const statuses = async (wire: Wire) =>
      answersIn(await wire.until((text) => answersIn(text).length === 2)).map(({ status }) => status)
    for (const wire of wires) t.same(await statuses(wire), [503, 503])
    t.equal(bench.claims(), 0)
  },
)

t.test('when the front door closes, who waits gets a 503 at once', async (t) => {
  const { bench } = await startPaused(t)
  const wires = [dial(t, bench.port, GET), dial(t, bench.port, UPGRADE)]
  await untilHeld(bench, 2)
  const closed = bench.relay.close(60_000)
  for (const wire of wires) t.equal(statusOf(await wire.closed()), 503)
  await closed
})

t.test(
  'with threads, all of them hold, count together and are told; one that dies loses its own',
  async (t) => {
    const threads = watchThreads(t)
    const bench = await startRelay(t, { threads: 2, services: hold({ requests: 40 }) })
    const app = await startApp(t, (_, response) => response.end('hello'))
    await bench.promote(app.address)
    bench.table.pause(0)
    const wires = Array.from({ length: 40 }, () => dial(t, bench.port, GET))
    await untilHeld(bench, 40)
    t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 503)
    const [first] = threads.started
    const replaced = threads.after(2)
    await first?.terminate()
    const stillOpen = () => wires.filter(({ ended }) => ended === undefined).length
    // What it held is given back before its clients hear of its end, or after that.
    t.ok(await eventually(() => stillOpen() < 40 && bench.table.held(0) === stillOpen()))
    const left = stillOpen()
    await replaced
    // The new thread finds the service paused.
    const late = Array.from({ length: 40 - left }, () => dial(t, bench.port, GET))
    await untilHeld(bench, 40)
    resume(bench)
    const waited = [...wires.filter(({ ended }) => ended === undefined), ...late]
    t.equal(waited.length, 40)
    for (const wire of waited) t.match(await wire.until(hasAnswer), /hello$/)
    t.equal(bench.table.held(0), 0)
  },
)
