// What a hostile client or a full log must not do to everybody else.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { withLive } from '../support/world.ts'

t.test(
  'who sends hundreds of requests without waiting for answers loses the connection, and nobody else does',
  async (t) => {
    const world = await withLive(t)
    const { port } = world.doors.frontDoor
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => {})
    socket.resume()
    const closed = once(socket, 'close')
    socket.write('GET /slow?ms=60000 HTTP/1.1\r\nHost: a.test\r\n\r\n'.repeat(500))
    await closed
    t.match(await world.get(), { status: 200, release: 'r42' })
    await world.until(
      async () => (await world.status()).live?.claims.requests === 0,
      'its claims are given back',
    )
  },
)

t.test('fifty requests in one write are answered in order', async (t) => {
  const world = await withLive(t)
  const socket = connect(world.doors.frontDoor.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const requests = Array.from({ length: 50 }, (_, n) => `GET /${n} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.write(requests.join(''))
  await world.until(async () => text.split('"url":"/').length > 50, 'all are answered')
  const order = [...text.matchAll(/"url":"\/(\d+)"/g)].map(([, number]) => Number(number))
  t.same(
    order,
    Array.from({ length: 50 }, (_, n) => n),
  )
})
