// Reading bodies: where each ends, what of it is content, and what is no body; however it is cut up.
import t from 'tap'
import { BodyReader, type Framing } from '../../../src/relay/http1/body.ts'
import { Malformed } from '../../../src/relay/http1/head.ts'
import { each, octets, thrownBy } from './support.ts'

const CHUNKED: Framing = { kind: 'chunked' }

interface Read {
  content: string
  /** How many octets belonged to the body. */
  used: number
  done: boolean
}

/** @param size of the pieces in which it arrives; what comes behind the body is not fed any more */
function read(framing: Framing, text: string, size = text.length): Read {
  const body = new BodyReader(framing)
  let content = ''
  let used = 0
  for (let at = 0; at < text.length && !body.done; at += size) {
    const buffer = octets(text.slice(at, at + size))
    used += body.read(buffer, 0, buffer.length)
    content += buffer.toString('latin1', body.from, body.to)
  }
  return { content, used, done: body.done }
}

const isRefused = (text: string, size?: number): boolean =>
  thrownBy(() => read(CHUNKED, text, size)) instanceof Malformed

t.test('no body is read at once, and takes nothing', async (t) => {
  for (const framing of [{ kind: 'none' }, { kind: 'length', bytes: 0 }] satisfies Framing[]) {
    const body = new BodyReader(framing)
    t.equal(body.done, true)
    t.equal(body.read(octets('abc'), 1, 3), 1)
    t.same([body.from, body.to, body.done], [1, 1, true])
  }
})

t.test('a body with a length ends there, and what follows is left', async (t) => {
  for (const size of [1, 2, 3, 9])
    t.same(read({ kind: 'length', bytes: 5 }, 'helloGET', size), { content: 'hello', used: 5, done: true })
  t.same(read({ kind: 'length', bytes: 9 }, 'hello'), { content: 'hello', used: 5, done: false })
})

t.test('a body that ends with the connection takes everything until then', async (t) => {
  const body = new BodyReader({ kind: 'close' })
  t.equal(body.read(octets('abc'), 1, 3), 3)
  t.same([body.from, body.to, body.done], [1, 3, false])
  body.end()
  t.same([body.from, body.to, body.done], [0, 0, true])
})

t.test('of a body in chunks only the content is left, in one piece, wherever it is cut', async (t) => {
  for (const [text, content] of [
    ['0\r\n\r\n', ''],
    ['5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n', 'abcdef'],
    ['00A\r\n0123456789\r\n000000000000\r\n\r\n', '0123456789'],
    ['a\r\n0\r\n\r\nGET /\r\n0\r\n\r\n', '0\r\n\r\nGET /'],
    ['1;a\r\nx\r\n1;a=b;c="\\"\xff; \\\\"\r\ny\r\n0;!=~\r\n\r\n', 'xy'],
    ['1\r\nx\r\n0\r\nX: y\r\na:\r\nb:\t\xff \r\n\r\n', 'x'],
  ] as const) {
    for (let size = 1; size <= text.length; size++)
      t.same(
        read(CHUNKED, text, size),
        { content, used: text.length, done: true },
        JSON.stringify([text, size]),
      )
    t.same(read(CHUNKED, `${text}GET /`), { content, used: text.length, done: true }, `${text} and more`)
    for (let end = 1; end < text.length; end++) t.equal(read(CHUNKED, text.slice(0, end)).done, false)
  }
})

t.test('what stands before and behind a body in the buffer stays as it is', async (t) => {
  const body = '1;x=y\r\na\r\n2\r\nbc\r\n0\r\nX: y\r\n\r\n'
  const buffer = octets(`before ${body}behind`)
  const reader = new BodyReader(CHUNKED)
  const next = reader.read(buffer, 7, buffer.length)
  t.equal(buffer.toString('latin1', reader.from, reader.to), 'abc')
  t.equal(buffer.toString('latin1', next), 'behind')
  t.equal(buffer.toString('latin1', 0, 7), 'before ')
})

t.test('a piece that ends before the buffer does is all that is read', async (t) => {
  const buffer = octets('5\r\nhello\r\n0\r\n\r\n')
  const reader = new BodyReader(CHUNKED)
  t.equal(reader.read(buffer, 0, 5), 5)
  t.equal(buffer.toString('latin1', reader.from, reader.to), 'he')
  t.equal(reader.read(buffer, 5, buffer.length), buffer.length)
  t.equal(buffer.toString('latin1', reader.from, reader.to), 'llo')
})

t.test('a piece with nothing but framing in it has no content', async (t) => {
  const reader = new BodyReader(CHUNKED)
  for (const piece of ['5', ';x', '\r\n', 'hello', '\r\n', '0\r', '\n', 'X:', 'y\r\n\r\n']) {
    const buffer = octets(piece)
    reader.read(buffer, 0, buffer.length)
    t.equal(buffer.toString('latin1', reader.from, reader.to), piece === 'hello' ? piece : '', piece)
  }
  t.equal(reader.done, true)
})

t.test('a chunk size is hexadecimal digits, and not too many', async (t) => {
  for (const size of [
    '',
    'g',
    '-1',
    '+1',
    '0x1',
    ' 1',
    '1 ',
    '1\t',
    '1\0',
    '\t1',
    '1_0',
    '1.',
    '\xb2',
    '1000000000000',
  ])
    t.ok(isRefused(`${size}\r\nx\r\n0\r\n\r\n`), JSON.stringify(size))
  t.notOk(isRefused('FfFfFfFfFfFf\r\nx'))
  t.notOk(isRefused('000000000001\r\nx\r\n0\r\n\r\n'))
  t.ok(isRefused('0000000000001\r\nx\r\n0\r\n\r\n'))
})

t.test('the largest chunk is counted exactly', async (t) => {
  const reader = new BodyReader(CHUNKED)
  const head = octets('ffffffffffff\r\nxy')
  t.equal(reader.read(head, 0, head.length), head.length)
  t.same([reader.to - reader.from, reader.done], [2, false])
})

t.test('the digits of one chunk do not count for the next', async (t) => {
  const chunk = '000000000001\r\nx\r\n'
  t.same(read(CHUNKED, `${chunk}${chunk}000000000000\r\n\r\n`).content, 'xx')
})

t.test('a line ends with CR LF, and with neither alone', async (t) => {
  for (const text of [
    '1\nx\r\n0\r\n\r\n',
    '1\rx\r\n0\r\n\r\n',
    '1\r\r\nx\r\n0\r\n\r\n',
    '1\r\nx\n0\r\n\r\n',
    '1\r\nx\r0\r\n\r\n',
    '1\r\nxx\r\n0\r\n\r\n',
    '1\r\nxx\n0\r\n\r\n',
    '1\r\nx0\r\n\r\n',
    '2\r\nx\r\n0\r\n\r\n',
    '0\n\r\n',
    '0\r\n\n',
    '0\r\n\r\r\n',
    '0\r\n\rX: y\r\n\r\n',
    '0\r\nX: y\n\r\n',
    '0\r\nX: y\r\r\n\r\n',
    '0\r\nX: y\r\n\n',
    '1;a\nx\r\n0\r\n\r\n',
    '1;a\rx\r\n0\r\n\r\n',
  ])
    for (const size of [text.length, 1]) t.ok(isRefused(text, size), JSON.stringify(text))
})

t.test('an extension has a name, and a value that is a token or quoted', async (t) => {
  const isTaken = (extension: string) => !isRefused(`1${extension}\r\nx\r\n0\r\n\r\n`)
  each(t, isTaken, true, [';a', ';a=b', ';a="";b', ';a="\t \\\x80\\"\xff"', ';a;b;c=d', ";!#$%&'*+-.^_`|~=1"])
  each(t, isTaken, false, [
    ';',
    ';;a',
    ';a;',
    ';=b',
    ';a=',
    ';a==b',
    ';a="',
    ';a="b"c',
    ';a="b" ',
    ';a=b"',
    ';a=b c',
    '; a',
    ' ;a',
    ';a =b',
    ';a= b',
    ';\xff',
    ';a="\n"',
    ';a="\\\n"',
    ';a="\\\0"',
    ';a="\0"',
    ';a=\0',
    ',a',
  ])
})

t.test('all extensions of a body together have a limit', async (t) => {
  const chunk = `1;${'a'.repeat(1_023)}\r\nx\r\n`
  // The name and the CR behind it count: 1024 octets.
  t.notOk(isRefused(`${chunk.repeat(4)}0\r\n\r\n`))
  t.ok(isRefused(`${chunk.repeat(4)}1;a\r\nx\r\n0\r\n\r\n`))
  t.ok(isRefused(`1;${'a'.repeat(5_000)}`))
  t.ok(isRefused(`1;a="${'\\"'.repeat(2_500)}`))
})

t.test('a trailer has fields, and nothing else', async (t) => {
  const isTaken = (trailer: string) => !isRefused(`0\r\n${trailer}\r\n`)
  each(t, isTaken, true, [
    '',
    'X: y\r\n',
    'X:\r\n',
    'X:GET / HTTP/1.1\r\n',
    'X: \xff\t\r\nY: :\r\n',
    'Content-Length: 9\r\n',
  ])
  each(t, isTaken, false, [
    'X\r\n',
    ': y\r\n',
    ' X: y\r\n',
    'X : y\r\n',
    'X: a\r\n b\r\n',
    'X: \0\r\n',
    'X\xff: y\r\n',
    'GET / HTTP/1.1\r\n',
    '\tX: y\r\n',
    '"": y\r\n',
  ])
})

t.test('a trailer has a limit', async (t) => {
  const of = (size: number) => `0\r\nX: ${'y'.repeat(size - 5)}\r\n\r\n`
  t.notOk(isRefused(of(16_000)))
  t.ok(isRefused(of(16_385)))
  t.ok(isRefused(`0\r\n${'a: b\r\n'.repeat(4_000)}`))
})

t.test('nothing more is read once it is done', async (t) => {
  const reader = new BodyReader(CHUNKED)
  const buffer = octets('0\r\n\r\n5\r\nhello')
  t.equal(reader.read(buffer, 0, buffer.length), 5)
  t.equal(reader.read(buffer, 5, buffer.length), 5)
  t.same([reader.from, reader.to, reader.done], [5, 5, true])
})
