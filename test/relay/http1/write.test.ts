// Writing a message: the octets are right, small ones leave at once, and large ones are not copied.
import { once } from 'node:events'
import type { Socket } from 'node:net'
import t from 'tap'
import { writeMessage } from '../../../src/relay/http1/write.ts'
import type { Scope } from '../support.ts'
import { meet, octets, patternOf } from './support.ts'

const PATTERN = patternOf(256 * 1024)

/** What arrives of what is written, until the writer ends. */
async function sent(t: Scope, write: (socket: Socket) => void): Promise<Buffer> {
  const { client, accepted: socket } = await meet(t)
  const pieces: Buffer[] = []
  client.on('data', (piece) => pieces.push(octetsOf(piece)))
  write(socket)
  socket.end()
  await once(client, 'end')
  return Buffer.concat(pieces)
}

const octetsOf = (piece: Buffer | string): Buffer => (typeof piece === 'string' ? octets(piece) : piece)

for (const size of [0, 1, 8_191, 8_192, 8_193, 200_000]) {
  t.test(`head, ${size} octets and tail arrive as they are, in order`, async (t) => {
    for (const [head, tail] of [
      ['head \xff', '\xe9 tail'],
      ['', ''],
      ['head', ''],
      ['', 'tail'],
    ] as const) {
      const from = 13
      const got = await sent(t, (socket) => writeMessage(socket, head, PATTERN, from, from + size, tail))
      const expected = Buffer.concat([octets(head), PATTERN.subarray(from, from + size), octets(tail)])
      t.ok(got.equals(expected), JSON.stringify([head, tail]))
    }
  })
}

t.test('a small message no longer depends on its buffer, even if it could not leave yet', async (t) => {
  const buffer = Buffer.from(PATTERN.subarray(0, 4_096))
  const got = await sent(t, (socket) => {
    socket.cork()
    writeMessage(socket, 'head', buffer, 0, buffer.length, 'tail')
    buffer.fill(0)
    socket.uncork()
  })
  t.ok(got.equals(Buffer.concat([octets('head'), PATTERN.subarray(0, 4_096), octets('tail')])))
})

t.test('nothing to write writes nothing', async (t) => {
  t.equal((await sent(t, (socket) => writeMessage(socket, '', PATTERN, 5, 5, ''))).length, 0)
})

t.test('a message leaves with one write, whatever its size', async (t) => {
  for (const size of [100, 100_000]) {
    let writes = 0
    await sent(t, (socket) => {
      const { _writev, _write } = socket
      socket._write = (...args) => {
        writes++
        _write.apply(socket, args)
      }
      socket._writev = (...args) => {
        writes++
        _writev?.apply(socket, args)
      }
      writeMessage(socket, 'head', PATTERN, 0, size, 'tail')
    })
    t.equal(writes, 1, `${size} octets`)
  }
})
