// The end of a drain for what has no end of its own: WebSockets are told to go elsewhere, event streams break off, one after
// the other, and nothing of them is left.
import '../support/without-domains.ts'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { GOING_AWAY } from '../../src/relay/upgrade/frames.ts'
import { eventually } from '../support/turns.ts'
import {
  collect,
  dial,
  GET,
  hasAnswer,
  NEVER,
  type Scope,
  startApp,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'
import { begin, open, SWITCHED, startEcho, UPGRADE } from './tunnels.ts'

const FAREWELL = GOING_AWAY.toString('latin1')

/** How long a frame that is under way may still take, in milliseconds. */
const FRAME_MS = 1_000
/** The longest that telling everybody may take, in milliseconds; machines may be busy. */
const ALL_TOLD_MS = 2_000
const BUSY_MS = 5_000

const SOCKETS = 200

for (const threads of [0, 2]) {
  const where = threads === 0 ? 'the main thread' : `${threads} threads`

  t.test(
    `in ${where}: WebSockets go on until they are cut, then all are told, one after the other`,
    async (t) => {
      const bench = await startRelay(t, { threads })
      const app = await startEcho(t)
      await bench.promote(app.address)
      const clients = Array.from({ length: SOCKETS }, () => new WebSocket(`ws://127.0.0.1:${bench.port}/`))
      await Promise.all(clients.map((client) => once(client, 'open')))
      dial(t, bench.port, GET.replace('/', '/slow'))
      await eventually(() => bench.claims() === SOCKETS + 1)
      t.same(bench.table.claims(0, 1), { requests: 1, tunnels: SOCKETS })
      const other = await startEcho(t)
      await bench.promote(other.address, 'green')
      t.equal(await bench.relay.cut(0, [1], 'requests'), 1)
      await bench.relay.whenDrained(0, [1], 'requests', NEVER)
      t.same(bench.table.claims(0, 1), { requests: 0, tunnels: SOCKETS }, 'requests are cut apart from them')
      await Promise.all(
        clients.map(async (client) => {
          const heard = once(client, 'message')
          client.send('still there?')
          t.equal(String((await heard)[0]), 'still there?')
        }),
      )
      const atMs: number[] = []
      const ended = clients.map(async (client) => {
        const [code] = await once(client, 'close')
        atMs.push(performance.now())
        return code
      })
      const fromMs = performance.now()
      t.equal(await bench.relay.cut(0, [1], 'tunnels'), SOCKETS)
      await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
      t.ok(
        clients.every(({ readyState }) => readyState !== WebSocket.OPEN),
        'drained means that all were told',
      )
      t.same(new Set(await Promise.all(ended)), new Set([1001]))
      t.ok(await eventually(() => app.codes.length === SOCKETS))
      t.same(new Set(app.codes), new Set([1001]), 'the app has heard it from the clients')
      const lastMs = Math.max(...atMs) - fromMs
      t.ok(lastMs < ALL_TOLD_MS + BUSY_MS, `the last one after ${lastMs} ms`)
      // Each thread tells one every 4 ms or less often. A busy machine can make that later, but never earlier.
      const leastMs = (nth: number) => 4 * (nth / Math.max(1, threads) - 1)
      const early = atMs.sort((a, b) => a - b).findIndex((at, nth) => at - fromMs < leastMs(nth) - 2)
      t.equal(early, -1, 'they are spread over the time there is')
      t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 0 })
      const cutLines = () => bench.lines.filter(({ code, status }) => code === 'drain_cut' && status === 101)
      t.ok(await eventually(() => cutLines().length === SOCKETS), 'the log has each')
    },
  )

  t.test(`in ${where}: event streams break off one after the other, none with a clean end`, async (t) => {
    const bench = await startRelay(t, { threads })
    const streams: ServerResponse[] = []
    const app = await startApp(t, (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: one\n\n')
      streams.push(response)
    })
    await bench.promote(app.address)
    const clients = Array.from({ length: 40 }, () => dial(t, bench.port, GET))
    const atMs: number[] = []
    await Promise.all(clients.map((client) => client.until((text) => text.includes('data: one'))))
    t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 40 })
    const gone = streams.map((response) => once(response, 'close'))
    const ended = clients.map(async (client) => {
      t.notMatch(await client.closed(), /\r\n0\r\n/)
      atMs.push(performance.now())
    })
    t.equal(await bench.relay.cut(0, [1], 'tunnels'), 40)
    await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
    await Promise.all([...ended, ...gone])
    const spreadMs = Math.max(...atMs) - Math.min(...atMs)
    t.ok(spreadMs > 60, `spread over ${spreadMs} ms`)
    t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 0 })
  })
}

// Where the close frame may stand.

/** A frame as a server sends it. */
function frameOf(payload: Buffer): Buffer {
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.from([0x82, length]), payload])
  const head = Buffer.alloc(length < 65_536 ? 4 : 10)
  head[0] = 0x82
  head[1] = length < 65_536 ? 126 : 127
  if (length < 65_536) head.writeUInt16BE(length, 2)
  else head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, payload])
}

const latin = (octets: Buffer): string => octets.toString('latin1')

/** A tunnel, cut when this much of what the app says has arrived. */
async function cutAfter(t: Scope, said: Buffer) {
  const ends = await open(t)
  const head = ends.client.text.length
  const heard = () => ends.client.text.slice(head)
  ends.app.socket.write(said)
  await ends.client.until(() => heard().length === said.length)
  const fromMs = performance.now()
  const count = await ends.bench.relay.cut(0, [1], 'tunnels')
  return { ...ends, heard, count, tookMs: () => performance.now() - fromMs }
}

async function nothingLeft(t: Test, { bench, app }: Awaited<ReturnType<typeof cutAfter>>): Promise<void> {
  await app.closed()
  app.socket.end()
  await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
  t.match(await bench.logged(() => true), { status: 101, code: 'drain_cut' })
}

t.test('between two frames the close frame is sent at once, and the connection ends with it', async (t) => {
  const frame = frameOf(randomBytes(300))
  const cut = await cutAfter(t, Buffer.concat([frame, frame]))
  await cut.client.closed()
  t.equal(cut.client.ended, 'fin')
  t.ok(cut.heard() === latin(frame) + latin(frame) + FAREWELL)
  await nothingLeft(t, cut)
})

t.test('a frame that is under way is completed first, wherever it was', async (t) => {
  for (const payload of [20, 300, 70_000]) {
    const frame = frameOf(randomBytes(payload))
    const next = frameOf(randomBytes(50))
    for (const at of [1, 2, 3, 4, 9, 10, 11, frame.length - 1].filter((at) => at < frame.length)) {
      const cut = await cutAfter(t, frame.subarray(0, at))
      t.equal(cut.count, 1)
      t.equal(cut.client.ended, undefined)
      cut.app.socket.write(Buffer.concat([frame.subarray(at), next]))
      await cut.client.closed()
      t.ok(cut.heard() === latin(frame) + FAREWELL, `${payload} octets, cut at ${at}`)
      cut.client.socket.end()
      await nothingLeft(t, cut)
    }
  }
})

t.test('a frame that comes drop by drop is completed, if that takes no longer than a second', async (t) => {
  const frame = frameOf(randomBytes(40))
  const cut = await cutAfter(t, frame.subarray(0, 5))
  const timer = setInterval(() => {
    const at = cut.app.socket.bytesWritten - Buffer.byteLength(SWITCHED)
    if (at < frame.length) cut.app.socket.write(frame.subarray(at, at + 1))
  }, 10)
  t.teardown(() => clearInterval(timer))
  await cut.client.closed()
  t.ok(cut.heard() === latin(frame) + FAREWELL)
  clearInterval(timer)
  await nothingLeft(t, cut)
})

t.test('a frame that does not end is cut off after a second, without a close frame', async (t) => {
  const frame = frameOf(randomBytes(1_000))
  const cut = await cutAfter(t, frame.subarray(0, 500))
  cut.app.socket.write(frame.subarray(500, 600))
  await cut.client.closed()
  t.equal(cut.client.ended, 'fin')
  t.ok(cut.tookMs() > FRAME_MS * 0.9, `not before a second: ${cut.tookMs()} ms`)
  t.ok(cut.tookMs() < FRAME_MS + BUSY_MS, `soon after: ${cut.tookMs()} ms`)
  t.ok(cut.heard() === latin(frame.subarray(0, 600)))
  await nothingLeft(t, cut)
})

t.test('an app that ends in the middle of its frame ends the tunnel', async (t) => {
  const cut = await cutAfter(t, frameOf(randomBytes(1_000)).subarray(0, 500))
  cut.app.socket.end()
  await cut.client.closed()
  t.ok(cut.tookMs() < FRAME_MS, `at once: ${cut.tookMs()} ms`)
  t.equal(cut.heard().length, 500)
  await nothingLeft(t, cut)
})

t.test('a huge frame to a client that does not read is not gathered while it is waited for', async (t) => {
  const head = Buffer.alloc(10)
  head[0] = 0x82
  head[1] = 127
  head.writeBigUInt64BE(2n ** 40n, 2)
  const cut = await cutAfter(t, head)
  cut.client.socket.pause()
  let taken = 0
  const piece = Buffer.alloc(64 * 1024)
  const fill = () => {
    while (!cut.app.socket.destroyed && cut.app.socket.write(piece)) taken += piece.length
    taken += piece.length
  }
  cut.app.socket.on('drain', fill)
  fill()
  await cut.app.closed()
  // What fits into the buffers of two connections of the kernel, and little more.
  t.ok(taken < 24 * 1024 * 1024, `${taken} bytes were taken`)
  cut.client.socket.resume()
  await cut.client.closed()
  await nothingLeft(t, cut)
})

t.test(
  'a client that does not stop sending gets the close frame, and is cut off a second later',
  async (t) => {
    const ends = await open(t)
    const { bench, client, app } = ends
    const timer = setInterval(() => client.socket.write(Buffer.alloc(10_000)), 1)
    t.teardown(() => clearInterval(timer))
    await app.until((text) => text.length > 1_000_000)
    const fromMs = performance.now()
    await bench.relay.cut(0, [1], 'tunnels')
    const text = await client.closed()
    t.equal(client.ended, 'fin')
    t.ok(text.endsWith(`\r\n\r\n${FAREWELL}`))
    await app.closed()
    const tookMs = performance.now() - fromMs
    t.ok(tookMs < FRAME_MS + BUSY_MS, `both are over after ${tookMs} ms`)
    await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
  },
)

t.test('what a client answers to the close frame reaches the app', async (t) => {
  const { client, app, ...rest } = await cutAfter(t, frameOf(Buffer.from('hello')))
  await client.closed()
  client.socket.end('its own farewell')
  t.match(await app.closed(), /its own farewell$/)
  app.socket.end()
  await rest.bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
})

t.test('a tunnel whose app has closed its half gets no close frame behind its end', async (t) => {
  const { bench, client, app } = await open(t)
  const frame = frameOf(Buffer.from('farewell'))
  app.socket.end(frame)
  t.ok((await client.closed()).endsWith(latin(frame)))
  client.socket.write('one more')
  await app.until((text) => text.endsWith('one more'))
  t.equal(await bench.relay.cut(0, [1], 'tunnels'), 1)
  await app.closed()
  t.equal(app.ended, 'fin')
  await bench.relay.whenDrained(0, [1], 'tunnels', NEVER)
  t.match(await bench.logged(() => true), { status: 101, code: 'drain_cut' })
})

// What is no tunnel yet.

t.test('an upgrade without an answer is a request: it is cut with those, and answered', async (t) => {
  const { bench, client, app } = await begin(t)
  t.same(bench.table.claims(0, 1), { requests: 1, tunnels: 0 })
  t.equal(await bench.relay.cut(0, [1], 'tunnels'), 0)
  t.equal(await bench.relay.cut(0, [1], 'requests'), 1)
  t.equal(statusOf(await client.until(hasAnswer)), 504)
  await app.closed()
  await bench.relay.whenDrained(0, [1], 'requests', NEVER)
})

t.test('a refusal that is being delivered is broken off with the requests', async (t) => {
  const { bench, client, app } = await begin(t)
  app.socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhalf')
  await client.until((text) => text.endsWith('half'))
  t.equal(await bench.relay.cut(0, [1], 'requests'), 1)
  t.match(await client.closed(), /half$/)
  await app.closed()
  t.match(await bench.logged(() => true), { status: 403, code: 'drain_cut' })
})

t.test('a refusal that was delivered is not cut, though its connection lingers', async (t) => {
  const { bench, client, app } = await begin(t)
  app.socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbody')
  await bench.logged(({ status }) => status === 403)
  t.equal(await bench.relay.cut(0, [1], 'requests'), 0)
  t.match(await client.closed(), /body$/)
})

t.test('closing says goodbye as well', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket) => {
    collect(socket)
    socket.once('data', () => socket.write(SWITCHED))
  })
  await bench.promote(app.address)
  const client = dial(t, bench.port, UPGRADE, false)
  await client.until((text) => text.endsWith('\r\n\r\n'))
  await bench.relay.close(50)
  t.ok((await client.closed()).endsWith(FAREWELL))
})
