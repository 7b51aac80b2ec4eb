// What the bench counts as one answer is one answer, however its bytes arrive; else its figures would mean nothing.
import t from 'tap'
import { chunkedResponse, response, SMALL_BODY } from '../../bench/canned.ts'
import { MessageReader } from '../../bench/message.ts'

const COUNTED = response(SMALL_BODY)
const CHUNKED = chunkedResponse(SMALL_BODY, 3)
const EMPTY = response(Buffer.alloc(0))

/** @returns the body of each message that ends in these bytes, which arrive in the given parts */
function bodiesIn(parts: readonly Buffer[]): string[] {
  const bodies: string[] = []
  let body = ''
  const reader = new MessageReader({
    head: () => {
      body = ''
    },
    body: (bytes) => {
      body += bytes.toString()
    },
    end: () => void bodies.push(body),
  })
  for (const part of parts) {
    // Sockets read into memory that is used again.
    const memory = Buffer.from(part)
    reader.push(memory)
    memory.fill(0)
  }
  return bodies
}

t.test('messages of every framing are found, one behind the other, split at every byte', async (t) => {
  const all = Buffer.concat([COUNTED, CHUNKED, EMPTY, COUNTED])
  const expected = [SMALL_BODY.toString(), SMALL_BODY.toString(), '', SMALL_BODY.toString()]
  t.strictSame(bodiesIn([all]), expected, 'whole')
  t.strictSame(bodiesIn(Array.from(all, (byte) => Buffer.from([byte]))), expected, 'byte by byte')
  for (let at = 1; at < all.length; at++)
    t.strictSame(bodiesIn([all.subarray(0, at), all.subarray(at)]), expected, `split at ${at}`)
})

t.test('a message that is cut off does not count', async (t) => {
  for (const whole of [COUNTED, CHUNKED])
    for (let length = 0; length < whole.length; length++)
      t.strictSame(bodiesIn([whole.subarray(0, length)]), [], `${length} of ${whole.length} bytes`)
})
