// Bodies as they come: both ways, with back-pressure, interim answers, event streams, half-closed clients.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { feed, LARGE_BYTES, sentBy, untilStill } from '../support/back-pressure.ts'
import { dial, GET, hasAnswer, OK, startApp, startRawApp, startRelay, statusOf } from './support.ts'

t.test('a request body and an answer stream at the same time, chunk by chunk', async (t) => {
  const bench = await startRelay(t)
  const app = await startApp(t, async (request, response) => {
    response.flushHeaders()
    for await (const chunk of request) response.write(`<${chunk}>`)
    response.end()
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, 'POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n')
  await wire.until((text) => text.includes('\r\n\r\n'))
  for (const word of ['one', 'two', 'six']) {
    wire.socket.write(`3\r\n${word}\r\n`)
    await wire.until((text) => text.includes(`<${word}>`))
  }
  wire.socket.write('0\r\n\r\n')
  t.match(await wire.until((text) => text.endsWith('0\r\n\r\n')), /^HTTP\/1\.1 200/)
})

t.test('a client that does not read stops the app from writing', async (t) => {
  const bench = await startRelay(t)
  const begun = Promise.withResolvers<ServerResponse>()
  let written = 0
  const app = await startApp(t, (_, response) => {
    const chunk = Buffer.alloc(65_536)
    const fill = () => {
      while (written < LARGE_BYTES) {
        written += chunk.length
        if (!response.write(chunk)) {
          begun.resolve(response)
          response.once('drain', fill)
          return
        }
      }
      response.end()
    }
    fill()
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  wire.socket.pause()
  await begun.promise
  await untilStill(() => written)
  t.ok(written < LARGE_BYTES / 2, `${written} bytes were written`)
  wire.socket.resume()
  t.match(await bench.logged(() => true), { status: 200, bytes: LARGE_BYTES })
})

t.test('an app that does not read stops the client from sending, and gets all of it later', async (t) => {
  const bench = await startRelay(t)
  const asked = Promise.withResolvers<IncomingMessage>()
  const app = await startApp(t, (request, response) => {
    asked.resolve(request)
    request.on('end', () => response.end('done'))
  })
  await bench.promote(app.address)
  const wire = dial(
    t,
    bench.port,
    `POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`,
  )
  const request = await asked.promise
  feed(wire.socket, Buffer.alloc(LARGE_BYTES))
  const sent = await untilStill(() => sentBy(wire.socket))
  t.ok(sent < LARGE_BYTES / 2, `${sent} bytes were sent`)
  let received = 0
  request.on('data', (chunk: Buffer) => {
    received += chunk.length
  })
  t.equal(statusOf(await wire.until((text) => text.includes('done'))), 200)
  t.equal(received, LARGE_BYTES)
})

t.test('an event stream arrives event by event, counts as a tunnel, and ends with its client', async (t) => {
  const bench = await startRelay(t, { relay: { stallTimeoutMs: 100 } })
  const begun = Promise.withResolvers<ServerResponse>()
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).flushHeaders()
    begun.resolve(response)
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  const response = await begun.promise
  await wire.until((text) => text.includes('\r\n\r\n'))
  t.same(bench.table.claims(0, 1), { requests: 0, tunnels: 1 })
  for (const event of ['one', 'two']) {
    response.write(`data: ${event}\n\n`)
    await wire.until((text) => text.includes(`data: ${event}\n\n`))
  }
  const gone = once(response, 'close')
  wire.socket.destroy()
  await gone
  t.match(await bench.logged(() => true), { status: 499, code: 'client_closed' })
  t.equal(bench.claims(), 0)
})

t.test('a client that has only closed its half gets the whole answer, whenever it comes', async (t) => {
  const bench = await startRelay(t)
  const asked = Promise.withResolvers<ServerResponse>()
  const app = await startApp(t, (_, response) => asked.resolve(response))
  await bench.promote(app.address)
  const wire = dial(t, bench.port)
  wire.socket.end(GET)
  const response = await asked.promise
  // Interim answers tell a half-closed client from one that is gone; two of them mean that it was found alive.
  await wire.until((text) => text.split('100 Continue').length > 2)
  response.writeHead(200, { 'content-length': 10 }).write('hello')
  await wire.until((text) => text.includes('hello'))
  response.end('world')
  t.match(await wire.closed(), /helloworld$/)
  t.match(await bench.logged(() => true), { status: 200, code: undefined })
})

t.test('100 is answered by the front door, and Expect goes no further', async (t) => {
  const bench = await startRelay(t)
  let expect: string | undefined
  const app = await startApp(t, (request, response) => {
    expect = request.headers.expect
    request.resume().on('end', () => response.end('done'))
  })
  await bench.promote(app.address)
  const head = 'POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'
  const wire = dial(t, bench.port, head)
  await wire.until((text) => text === 'HTTP/1.1 100 Continue\r\n\r\n')
  wire.socket.write('hello')
  t.match(await wire.until((text) => text.includes('done')), /\r\n\r\nHTTP\/1\.1 200 OK/)
  t.equal(expect, undefined)
})

t.test(
  'an answer that comes before the body was read reaches the client, and the connection ends',
  async (t) => {
    const bench = await startRelay(t)
    const app = await startRawApp(t, (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig')
        socket.pause()
      })
    })
    await bench.promote(app.address)
    const wire = dial(
      t,
      bench.port,
      `POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${LARGE_BYTES}\r\n\r\n`,
    )
    wire.socket.write(Buffer.alloc(LARGE_BYTES))
    const text = await wire.until(hasAnswer)
    t.equal(statusOf(text), 413)
    t.match(text, /\r\nConnection: close\r\n/)
    await wire.closed()
    t.equal(bench.claims(), 0)
  },
)

t.test('connections to the app are kept and used again, and dropped before the app would', async (t) => {
  const bench = await startRelay(t, { relay: { upstreamIdleMs: 150 } })
  const app = await startRawApp(t, (socket) => {
    socket.on('data', () => socket.write(OK))
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port)
  for (let nth = 1; nth <= 3; nth++) {
    wire.socket.write(GET)
    await wire.until((text) => text.split('HTTP/1.1 200').length === nth + 1 && text.endsWith('ok'))
  }
  t.equal(app.sockets.length, 1)
  const [socket] = app.sockets
  if (socket && !socket.closed) await once(socket, 'close')
  t.ok(socket?.closed)
})

t.test('bytes that an app sends after its answer never become the next answer', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket, nth) => {
    socket.on('data', () => {
      socket.write(OK)
      if (nth === 1) setImmediate(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'))
    })
  })
  await bench.promote(app.address)
  await dial(t, bench.port, GET).until(hasAnswer)
  const [first] = app.sockets
  if (first && !first.closed) await once(first, 'close')
  t.match(await dial(t, bench.port, GET).until(hasAnswer), /ok$/)
  t.equal(app.sockets.length, 2)
})

t.test('an app on a Unix socket is reached like any other', async (t) => {
  const bench = await startRelay(t)
  // A Unix address is at most 107 bytes long, so not under the test's own folder.
  const folder = mkdtempSync(join(tmpdir(), 'relay-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'app.sock')
  const server = createServer((_, response) => response.end('unix')).listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  await bench.promote({ kind: 'unix', path })
  t.match(await dial(t, bench.port, GET).until(hasAnswer), /unix$/)
})

t.test('several addresses of a slot take turns', async (t) => {
  const bench = await startRelay(t)
  const one = await startApp(t, (_, response) => response.end('one'))
  const two = await startApp(t, (_, response) => response.end('two'))
  await bench.relay.setBackend(0, 'green', { release: 'r2', addresses: [one.address, two.address] })
  bench.table.flip(0, 'green')
  const said = new Set<string>()
  for (let nth = 0; nth < 4; nth++) said.add((await dial(t, bench.port, GET).until(hasAnswer)).slice(-3))
  t.same([...said].sort(), ['one', 'two'])
})
