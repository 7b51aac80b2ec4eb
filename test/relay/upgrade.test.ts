// Tunnels as pipes: every octet both ways, back-pressure, half-closing, resets at any moment; and refused upgrades, which
// are answers like any other.
import '../support/without-domains.ts'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { feed, LARGE_BYTES, PIECE_BYTES, sentBy, untilStill } from '../support/back-pressure.ts'
import { readAnswers } from '../support/http-bytes.ts'
import { between, randomOf } from '../support/random.ts'
import { eventually, followSockets } from '../support/turns.ts'
import {
  collect,
  dial,
  GET,
  hasAnswer,
  OK,
  refusedAddress,
  SMUGGLED,
  startApp,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'
import { begin, open, SWITCHED, UPGRADE } from './tunnels.ts'

const hashOf = (octets: Buffer): string => createHash('sha256').update(octets).digest('hex')

/** Counts and hashes what arrives from now on, without keeping it. */
function measure(socket: Socket, from = 0) {
  const hash = createHash('sha256')
  const arrived = { bytes: 0, hash: '', whole: (_: number): Promise<void> => Promise.resolve() }
  let wanted = Number.POSITIVE_INFINITY
  const { promise, resolve } = Promise.withResolvers<void>()
  let skip = from
  socket.on('data', (chunk: Buffer) => {
    const octets = chunk.subarray(Math.min(skip, chunk.length))
    skip -= chunk.length - octets.length
    hash.update(octets)
    arrived.bytes += octets.length
    if (arrived.bytes >= wanted) resolve()
  })
  arrived.whole = async (bytes) => {
    wanted = bytes
    if (arrived.bytes < bytes) await promise
    arrived.hash = hash.digest('hex')
  }
  return arrived
}

/** Makes the relay hold a little that its client does not take, and less than would make it stop reading the app. */
async function fillUp(toClient: () => Socket | undefined, app: Socket, octets: Buffer): Promise<Buffer> {
  for (let at = 0; at < octets.length; at += PIECE_BYTES) {
    app.write(octets.subarray(at, at + PIECE_BYTES))
    await new Promise((resolve) => setImmediate(resolve))
    if ((toClient()?.writableLength ?? 0) > 0) return octets.subarray(0, at + PIECE_BYTES)
  }
  throw new Error('the client took it all')
}

/** @returns how much of what was written has left the socket, once nothing leaves it any more */
const untilStuck = (socket: Socket): Promise<number> => untilStill(() => sentBy(socket))

// What arrives.

t.test('random octets in random pieces arrive both ways as they were, from before the 101 on', async (t) => {
  const seed = randomBytes(4).readUInt32LE()
  t.comment(`seed ${seed}`)
  const random = randomOf(seed)
  const bytes = 300_000
  const { client, app } = await begin(t)
  const [up, down] = [randomBytes(bytes), randomBytes(bytes)]
  const head = app.text.length
  const [atApp, atClient] = [measure(app.socket), measure(client.socket, SWITCHED.length)]
  const send = async (socket: Socket, octets: Buffer) => {
    for (let at = 0; at < octets.length; ) {
      const end = Math.min(octets.length, at + between(random, 1, random() < 0.9 ? 2_000 : 40_000))
      socket.write(octets.subarray(at, end))
      at = end
      if (random() < 0.7) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const sent = send(client.socket, up)
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(app.text.length, head, 'nothing before the 101')
  app.socket.write(SWITCHED)
  await Promise.all([sent, send(app.socket, down), atApp.whole(bytes), atClient.whole(bytes)])
  t.equal(atApp.hash, hashOf(up))
  t.equal(atClient.hash, hashOf(down))
})

t.test('fragments, pings, pongs and close codes of WebSockets go through both ways', async (t) => {
  const bench = await startRelay(t)
  const app = await startApp(t, (_, response) => response.end())
  const server = new WebSocketServer({ server: app.server })
  await bench.promote(app.address)
  const meet = async () => {
    const connected = once(server, 'connection') as Promise<[WebSocket, IncomingMessage]>
    const client = new WebSocket(`ws://127.0.0.1:${bench.port}/`)
    const [[peer]] = await Promise.all([connected, once(client, 'open')])
    return [client, peer] as const
  }
  for (const side of ['client', 'app']) {
    const ends = await meet()
    const [one, other] = side === 'client' ? ends : [ends[1], ends[0]]
    const fragments = Array.from({ length: 5 }, () => randomBytes(30_000))
    const heard = once(other, 'message')
    for (const [nth, fragment] of fragments.entries()) {
      one.send(fragment, { binary: true, fin: nth === 4 })
      if (nth !== 2) continue
      // RFC 6455 §5.4: a control frame may stand between the fragments of a message.
      const [pinged, ponged] = [once(other, 'ping'), once(one, 'pong')]
      one.ping('between')
      t.equal(String((await pinged)[0]), 'between', `${side}: ping`)
      t.equal(String((await ponged)[0]), 'between', `${side}: pong`)
    }
    t.ok(Buffer.concat(fragments).equals((await heard)[0]), `${side}: the message is whole`)
    const ended = Promise.all([once(one, 'close'), once(other, 'close')])
    one.close(4_001, 'that was all')
    for (const [code, why] of await ended) t.same([code, String(why)], [4_001, 'that was all'], side)
  }
  t.ok(await eventually(() => bench.claims() === 0))
})

t.test('octets above ASCII in the fields of a 101 stay as they are', async (t) => {
  const { client, app } = await begin(t, UPGRADE.replace('Origin', 'X-Name: \xe9\xff\r\nOrigin'))
  t.match(app.text, /\r\nx-name: \xe9\xff\r\n/i)
  app.socket.write(Buffer.from(SWITCHED.replace('\r\n\r\n', '\r\nX-Name: \xe9\xff\r\n\r\n'), 'latin1'))
  t.match(await client.until((text) => text.endsWith('\r\n\r\n')), /\r\nx-name: \xe9\xff\r\n/i)
})

t.test('an upgrade may follow a plain request on the same connection', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket, nth) => {
    const wire = collect(socket)
    socket.once('data', () => socket.write(nth === 1 ? OK : SWITCHED))
    if (nth === 2) wire.until((text) => text.endsWith('early')).then(() => socket.write('late'))
  })
  await bench.promote(app.address)
  const client = dial(t, bench.port, `${GET}${UPGRADE}early`)
  const text = await client.until((text) => text.endsWith('late'))
  t.match(text, /^HTTP\/1\.1 200 OK[\s\S]*\r\n\r\nokHTTP\/1\.1 101 Switching/)
})

t.test('interim answers to an upgrade reach the client', async (t) => {
  const { client, app } = await begin(t)
  app.socket.write(
    `HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-A\r\nX-A: 1\r\n\r\n${SWITCHED}`,
  )
  const text = await client.until((text) => text.includes('101 Switching') && text.endsWith('\r\n\r\n'))
  t.match(text, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>\r\n\r\nHTTP\/1\.1 101/i)
})

t.test('an upgrade that got no answer has no time of one', async (t) => {
  const bench = await startRelay(t)
  await bench.promote(await refusedAddress(t))
  t.equal(statusOf(await dial(t, bench.port, UPGRADE).closed()), 502)
  t.notOk('upstream_ms' in (await bench.logged(() => true)))
  const [counted] = bench.relay.meter.counted()
  t.equal(counted?.head.sumMs, 0)
})

t.test('a 101 with two Sec-WebSocket-Accept is a 502', async (t) => {
  const { client, app } = await begin(t)
  app.socket.write(SWITCHED.replace('\r\n\r\n', '\r\nSec-WebSocket-Accept: other\r\n\r\n'))
  t.equal(statusOf(await client.closed()), 502)
})

// Back-pressure.

for (const slow of ['client', 'app'] as const) {
  t.test(
    `the ${slow}'s side of a tunnel may be slow: the other one has to wait, and nothing is lost`,
    async (t) => {
      const ends = await open(t)
      const fast = ends[slow === 'client' ? 'app' : 'client'].socket
      const reader = ends[slow].socket
      reader.pause()
      const octets = randomBytes(LARGE_BYTES)
      feed(fast, octets)
      const sent = await untilStuck(fast)
      t.ok(sent < LARGE_BYTES / 2, `${sent} bytes were taken`)
      const arrived = measure(reader)
      reader.resume()
      await arrived.whole(LARGE_BYTES)
      t.equal(arrived.hash, hashOf(octets))
    },
  )
}

t.test('what a client sends before the 101 is kept up to a bound, then the client waits', async (t) => {
  const { client, app } = await begin(t)
  const octets = randomBytes(LARGE_BYTES)
  feed(client.socket, octets)
  const sent = await untilStuck(client.socket)
  t.ok(sent < LARGE_BYTES / 2, `${sent} bytes were taken`)
  const arrived = measure(app.socket)
  app.socket.write(SWITCHED)
  await arrived.whole(LARGE_BYTES)
  t.equal(arrived.hash, hashOf(octets))
})

// Half-closing.

t.test('an app that has said all can still be told something', async (t) => {
  const { bench, client, app } = await open(t)
  app.socket.end('farewell')
  t.match(await client.closed(), /farewell$/)
  client.socket.write('one more')
  await app.until((text) => text.endsWith('one more'))
  t.equal(bench.claims(), 1)
  client.socket.end('last words')
  t.match(await app.closed(), /one morelast words$/)
  t.match(await bench.logged(() => true), { status: 101, code: undefined })
})

t.test('the end of a tunnel waits for a client that is slow to take it', async (t) => {
  const sockets = followSockets(t)
  const { client, app } = await open(t)
  client.socket.pause()
  const toClient = () => sockets.accepted(client.socket)
  const octets = await fillUp(toClient, app.socket, randomBytes(LARGE_BYTES))
  app.socket.end()
  // Twice the second that a tunnel which is cut has to flush: this one is not cut, it ends.
  await pause(2_000)
  const arrived = measure(client.socket)
  client.socket.resume()
  const ended = once(client.socket, 'end')
  await arrived.whole(octets.length)
  t.equal(arrived.hash, hashOf(octets))
  await ended
})

t.test('a client that has closed its half before its upgrade had its turn is gone', async (t) => {
  const bench = await startRelay(t)
  const asked = Promise.withResolvers<Socket>()
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => asked.resolve(socket))
  })
  await bench.promote(app.address)
  const client = dial(t, bench.port)
  client.socket.end(`${GET}${UPGRADE}`)
  const first = await asked.promise
  // Interim answers go to clients that have closed their half: the FIN was seen.
  await client.until((text) => text.includes('100 Continue'))
  first.write(OK)
  t.match(await client.closed(), /HTTP\/1\.1 200 OK[\s\S]*ok$/)
  t.match(await bench.logged(({ path }) => path === '/ws'), { code: 'client_closed', status: 499 })
  await closesAtOnce(t, bench.relay)
})

/** Nothing is left for the front door to wait for. */
async function closesAtOnce(t: Test, relay: { close(withinMs: number): Promise<void> }): Promise<void> {
  const fromMs = performance.now()
  await relay.close(20_000)
  const tookMs = performance.now() - fromMs
  t.ok(tookMs < 5_000, `closed after ${tookMs} ms`)
}

// Resets.

const RESETS = {
  'after its request': '',
  'after the 101': SWITCHED,
  // A frame of 100 octets, of which few have come.
  'in the middle of a frame': `${SWITCHED}\x82\x64only these`,
}

for (const [moment, said] of Object.entries(RESETS)) {
  for (const who of ['client', 'app'] as const) {
    t.test(`a reset by the ${who} up to 50 ms ${moment} ends both sides and nothing else`, async (t) => {
      const bench = await startRelay(t)
      const atApp = new Set<Socket>()
      const app = await startRawApp(t, (socket, nth) => {
        atApp.add(socket)
        socket.once('close', () => atApp.delete(socket))
        socket.once('data', (head) => {
          if (!head.includes('websocket')) return void socket.write(OK)
          if (said) socket.write(Buffer.from(said, 'latin1'))
          if (who === 'app') setTimeout(() => socket.resetAndDestroy(), nth)
        })
      })
      await bench.promote(app.address)
      const gone = Array.from({ length: 50 }, async (_, afterMs) => {
        const socket = connect(bench.port, '127.0.0.1')
        socket.on('error', () => {})
        await once(socket, 'connect')
        socket.write(UPGRADE)
        if (said) socket.write(Buffer.from('\x82\xe4mask, and the beginning of something', 'latin1'))
        if (who === 'client') setTimeout(() => socket.resetAndDestroy(), afterMs)
        socket.resume()
        if (!socket.closed) await once(socket, 'close')
      })
      await Promise.all(gone)
      t.ok(
        await eventually(() => atApp.size === 0 && bench.claims() === 0),
        'nothing is open, nothing counted',
      )
      t.same(
        bench.lines.filter(({ code, msg }) => code === 'internal_error' || msg !== 'exchange'),
        [],
        'none of them is a fault of the front door',
      )
      t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 200)
      await closesAtOnce(t, bench.relay)
    })
  }
}

// Refused upgrades.

const BODY = randomBytes(300_000)
const chunked = (octets: Buffer): Buffer =>
  Buffer.concat([
    ...[0, 1, 100_000].flatMap((from, nth, all) => {
      const chunk = octets.subarray(from, all[nth + 1] ?? octets.length)
      return [Buffer.from(`${chunk.length.toString(16)};a=b\r\n`), chunk, Buffer.from('\r\n')]
    }),
    Buffer.from('0\r\nX-Trailer: 1\r\n\r\n'),
  ])

/** How an app may frame its refusal. */
const FRAMED: Record<string, { fields: string; octets: Buffer; body: Buffer }> = {
  'a length': { fields: `Content-Length: ${BODY.length}\r\n`, octets: BODY, body: BODY },
  chunks: { fields: 'Transfer-Encoding: chunked\r\n', octets: chunked(BODY), body: BODY },
  'the end of its connection': { fields: '', octets: BODY, body: BODY },
  'a length of zero': { fields: 'Content-Length: 0\r\n', octets: Buffer.alloc(0), body: Buffer.alloc(0) },
}

const REFUSALS = [
  '200 OK',
  '401 Unauthorized',
  '403 Forbidden',
  '404 Not Found',
  '426 Upgrade Required',
  '503 Busy',
]

for (const [framing, { fields, octets, body }] of Object.entries(FRAMED)) {
  for (const status of REFUSALS) {
    t.test(
      `a refusal with ${status} that ends with ${framing} reaches the client octet by octet, and what came behind nobody`,
      async (t) => {
        const { bench, client, app } = await begin(t, UPGRADE + SMUGGLED)
        const own = 'X-Name: \xe9\xff\r\nSet-Cookie: a=1\r\nWWW-Authenticate: Basic\r\nSet-Cookie: b=2\r\n'
        app.socket.write(Buffer.from(`HTTP/1.1 ${status}\r\n${own}${fields}\r\n`, 'latin1'))
        app.socket.end(octets)
        const text = await client.closed()
        const [answer, ...more] = readAnswers(text, true).answers
        t.same(more, [])
        t.equal(answer?.status, Number(status.slice(0, 3)))
        t.ok(answer?.body === body.toString('latin1'))
        t.ok(text.includes(own))
        t.match(text, /\r\nConnection: close\r\n/)
        t.notMatch(app.text, /smuggled/)
        t.equal(bench.claims(), 0)
        t.match(await bench.logged(() => true), { status: Number(status.slice(0, 3)), bytes: body.length })
        client.socket.end()
        await closesAtOnce(t, bench.relay)
      },
    )
  }
}

for (const status of ['204 No Content', '304 Not Modified']) {
  t.test(`a refusal with ${status} has no body`, async (t) => {
    const { client, app } = await begin(t)
    app.socket.write(`HTTP/1.1 ${status}\r\nETag: "a"\r\n\r\n`)
    t.match(await client.closed(), /^HTTP\/1\.1 [23]04 [\s\S]*\r\nETag: "a"\r\n(?:[^\r]+\r\n)*\r\n$/)
  })
}

t.test(
  'a client that does not take a refusal makes the app wait, and gets all of it in the end',
  async (t) => {
    const { client, app } = await begin(t)
    client.socket.pause()
    const body = randomBytes(LARGE_BYTES)
    const head = `HTTP/1.1 403 Forbidden\r\nContent-Length: ${LARGE_BYTES}\r\n`
    app.socket.write(`${head}\r\n`)
    feed(app.socket, body)
    const sent = await untilStuck(app.socket)
    t.ok(sent < LARGE_BYTES / 2, `${sent} bytes were taken`)
    client.socket.resume()
    // Date and Connection are added.
    const relayed = await client.until((text) => text.includes('\r\n\r\n'))
    const arrived = measure(client.socket)
    const before = Buffer.from(relayed.slice(relayed.indexOf('\r\n\r\n') + 4), 'latin1')
    await arrived.whole(LARGE_BYTES - before.length)
    t.equal(arrived.hash, hashOf(body.subarray(before.length)))
  },
)

t.test('a client that takes the end of a refusal late still gets it', async (t) => {
  const sockets = followSockets(t)
  const { client, app } = await begin(t)
  client.socket.pause()
  app.socket.write('HTTP/1.1 403 Forbidden\r\n\r\n')
  const toClient = () => sockets.accepted(client.socket)
  const body = await fillUp(toClient, app.socket, randomBytes(LARGE_BYTES))
  app.socket.end()
  await pause(2_000)
  client.socket.resume()
  const { answers } = readAnswers(await client.closed(), true)
  t.ok(answers[0]?.body === body.toString('latin1'))
})

t.test(
  'a refusal reaches a client that has sent a lot behind its upgrade, none of which goes on',
  async (t) => {
    const sent = UPGRADE + SMUGGLED
    const { bench, backend, client, app } = await begin(t, sent)
    feed(client.socket, Buffer.alloc(LARGE_BYTES, 'x'))
    await untilStuck(client.socket)
    const body = randomBytes(1024 * 1024)
    app.socket.write(`HTTP/1.1 403 Forbidden\r\nContent-Length: ${body.length}\r\n\r\n`)
    app.socket.write(body)
    const text = await client.until((text) => text.length > body.length)
    t.ok(Buffer.from(text, 'latin1').subarray(-body.length).equals(body))
    await client.closed()
    t.notMatch(app.text, /smuggled|x{8}/)
    t.equal(backend.sockets.length, 1)
    t.equal(bench.claims(), 0)
  },
)

t.test('a refusal reaches a client that has closed its half meanwhile', async (t) => {
  const { client, app } = await begin(t)
  app.socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhello')
  await client.until((text) => text.endsWith('hello'))
  client.socket.end()
  await pause(100)
  app.socket.write('world')
  t.match(await client.closed(), /helloworld$/)
})

t.test('a refusal that the app breaks off is broken off', async (t) => {
  for (const fields of ['Content-Length: 10', 'Transfer-Encoding: chunked']) {
    const { bench, client, app } = await begin(t)
    app.socket.write(`HTTP/1.1 403 Forbidden\r\n${fields}\r\n\r\n`)
    app.socket.end(fields.startsWith('C') ? 'half' : '4\r\nhalf\r\n')
    t.match(await client.closed(), /half(?:\r\n)?$/)
    t.match(await bench.logged(() => true), { status: 403, code: 'upstream_failed' })
    t.equal(bench.claims(), 0)
  }
})

t.test('an app that stops in the middle of a refusal is cut off', async (t) => {
  const { bench, client, app } = await begin(t, UPGRADE, { stallTimeoutMs: 150 })
  app.socket.write('HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nhalf')
  t.match(await client.closed(), /half$/)
  t.match(await bench.logged(() => true), { status: 403, code: 'upstream_timeout' })
})
