// What happens around an answer that comes before its request is complete, and around connections that are used again.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { collect, dial, hasAnswer, OK, startRawApp, startRelay, statusOf } from './support.ts'

const POST = 'POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\n'

t.test('an upload goes on beyond the stall limit when the app has sent its head already', async (t) => {
  const bench = await startRelay(t, { relay: { stallTimeoutMs: 200 } })
  let received = 0
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n'))
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1').split('\r\n\r\n').at(-1)?.length ?? 0
      if (received === 100) socket.write('ok')
    })
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, POST)
  await wire.until((text) => text.includes('\r\n\r\n'))
  let sent = 0
  const drip = setInterval(() => {
    wire.socket.write('x')
    if (++sent === 100) clearInterval(drip)
  }, 10)
  t.teardown(() => clearInterval(drip))
  t.match(await wire.until((text) => text.endsWith('ok')), /^HTTP\/1.1 200/)
  t.equal(received, 100)
})

t.test('who gives the rest of an upload up after an early answer gets all of that answer', async (t) => {
  const bench = await startRelay(t)
  const size = 6_000_000
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
      socket.write(Buffer.alloc(size, 97))
    })
  })
  await bench.promote(app.address)
  const socket = connect({ host: '127.0.0.1', port: bench.port, allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  socket.write(`${POST}abc`)
  await once(socket, 'readable')
  socket.end()
  const text = await collect(socket).closed()
  t.equal(text.split('\r\n\r\n')[1]?.length, size)
})

t.test('a connection that ends its answer while the door closes does not keep it open', async (t) => {
  const bench = await startRelay(t)
  const app = await startRawApp(t, (socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab'))
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n')
  await wire.until((text) => text.endsWith('ab'))
  const startedMs = performance.now()
  const closed = bench.relay.close(30_000)
  app.sockets[0]?.write('cd')
  t.match(await wire.closed(), /abcd$/)
  wire.socket.destroy()
  await closed
  t.ok(performance.now() - startedMs < 15_000)
})

t.test(
  'a connection to the app with octets still on their way is not used for the next request',
  async (t) => {
    const bench = await startRelay(t)
    const size = 8 * 1024 * 1024
    const app = await startRawApp(t, (socket, nth) => {
      if (nth > 1) return void socket.on('data', () => socket.write(OK))
      // Answers as soon as it has seen the head, and reads no further.
      socket.once('data', () => {
        socket.pause()
        socket.write(OK)
      })
    })
    await bench.promote(app.address)
    const upload = dial(t, bench.port, `POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: ${size}\r\n\r\n`)
    upload.socket.write(Buffer.alloc(size))
    t.equal(statusOf(await upload.until(hasAnswer)), 200)
    const next = dial(t, bench.port, 'POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx')
    t.equal(statusOf(await next.until(hasAnswer)), 200)
    t.equal(app.sockets.length, 2)
  },
)
