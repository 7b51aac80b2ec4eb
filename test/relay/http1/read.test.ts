// Reading accepted connections into memory of ours: what arrives is what was sent, and lies where it was asked for.
import { once } from 'node:events'
import t from 'tap'
import { readInto, readsDirectly } from '../../../src/relay/http1/read.ts'
import { meet, patternOf } from './support.ts'

t.test('this Node has what reading directly needs', async (t) => {
  t.ok(readsDirectly, 'kBuffer, kBufferGen and kBufferCb; without them every read is allocated')
})

t.test('what arrives lies in the buffers that were named, in order, and can be stopped', async (t) => {
  const sent = patternOf(300_000)
  const { client, accepted: socket } = await meet(t)
  const buffers: Buffer[] = [Buffer.alloc(1_000), Buffer.alloc(5_000)]
  const strangers = new Set<Buffer>()
  const pieces: Buffer[] = []
  let turn = 0
  readInto(
    socket,
    () => buffers[turn++ % 2] ?? Buffer.alloc(0),
    (size, buffer) => {
      if (!buffers.includes(buffer)) strangers.add(buffer)
      pieces.push(Buffer.from(buffer.subarray(0, size)))
      if (pieces.length % 10 > 0) return true
      setImmediate(() => socket.resume())
      return false
    },
  )
  client.end(sent)
  await once(socket.resume(), 'end')
  t.equal(strangers.size, 0)
  t.ok(pieces.length >= sent.length / 5_000, `${pieces.length} pieces`)
  t.ok(Buffer.concat(pieces).equals(sent))
  socket.destroy()
})
