// Reading heads octet by octet: what is found in them, what is refused and when, and the limits to the octet.
import t from 'tap'
import { HeadReader, Malformed, TooLong, TooManyFields } from '../../../src/relay/http1/head.ts'
import { numberOf, OTHER } from '../../../src/relay/http1/names.ts'
import { octets, thrownBy } from './support.ts'

const LIMITS = { headLimitBytes: 200, targetLimitBytes: 40, fieldLimit: 5 }
const H = 'Host: a.test\r\n'

type Read = 'readRequest' | 'readResponse'

/** How a head is taken that comes whole: `whole`, `part`, or the class of what is thrown. */
function outcome(read: Read, text: string, limits = LIMITS): string {
  const head = new HeadReader(limits)
  let headEnd = -1
  const error = thrownBy(() => {
    headEnd = head[read](octets(text), 0, text.length)
  })
  if (error instanceof Malformed) return error.version ? 'version' : 'malformed'
  if (error instanceof TooLong) return error.part
  if (error instanceof TooManyFields) return 'fields'
  if (error !== undefined) throw error
  return headEnd < 0 ? 'part' : headEnd === text.length ? 'whole' : `ends at ${headEnd}`
}

const ofRequest = (text: string, limits = LIMITS) => outcome('readRequest', text, limits)
const ofResponse = (text: string, limits = LIMITS) => outcome('readResponse', text, limits)

function read(text: string, start = 0): HeadReader {
  const head = new HeadReader(LIMITS)
  head.readRequest(octets(text), start, text.length)
  return head
}

t.test('a request line has a method, a target and a version', async (t) => {
  const head = read(`M-SEARCH /x?y|{} HTTP/1.0\r\n${H}\r\n`)
  t.same([head.method, head.target, head.minor, head.count], ['M-SEARCH', '/x?y|{}', 0, 1])
})

t.test('a request line has one space, twice, and nothing else', async (t) => {
  for (const line of [
    ' GET / HTTP/1.1',
    '\tGET / HTTP/1.1',
    'GET  / HTTP/1.1',
    'GET\t/ HTTP/1.1',
    'GET /  HTTP/1.1',
    'GET /\tHTTP/1.1',
    'GET / HTTP/1.1 ',
    'GET / HTTP/1.1\t',
    'GET / x HTTP/1.1',
    'GET /',
    'GET',
    'GET HTTP/1.1',
    '/ HTTP/1.1',
    '',
  ])
    t.equal(ofRequest(`${line}\r\n${H}\r\n`), 'malformed', JSON.stringify(line))
})

t.test('a target has visible ASCII without a hash, and nothing else', async (t) => {
  for (let octet = 0; octet < 256; octet++) {
    const target = `/${String.fromCharCode(octet)}x`
    const fits = octet > 0x20 && octet < 0x7f && octet !== 0x23
    t.equal(ofRequest(`GET ${target} HTTP/1.1\r\n${H}\r\n`), fits ? 'whole' : 'malformed', `octet ${octet}`)
  }
})

t.test('a method and a field name are tokens', async (t) => {
  for (let octet = 0; octet < 256; octet++) {
    const sign = String.fromCharCode(octet)
    const fits = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(sign)
    t.equal(ofRequest(`G${sign}T / HTTP/1.1\r\n${H}\r\n`) === 'whole', fits, `octet ${octet} in a method`)
    const name = ofRequest(`GET / HTTP/1.1\r\n${H}X${sign}Y: z\r\n\r\n`)
    // A colon ends the name, and the value begins.
    t.equal(name, fits || sign === ':' ? 'whole' : 'malformed', `octet ${octet} in a name`)
  }
})

t.test('a value and a reason phrase have no control octets but tabs', async (t) => {
  for (let octet = 0; octet < 256; octet++) {
    const text = `a${String.fromCharCode(octet)}b`
    const expected = octet === 0x09 || (octet >= 0x20 && octet !== 0x7f) ? 'whole' : 'malformed'
    t.equal(ofRequest(`GET / HTTP/1.1\r\n${H}X: ${text}\r\n\r\n`), expected, `octet ${octet} in a value`)
    t.equal(ofResponse(`HTTP/1.1 200 ${text}\r\n\r\n`), expected, `octet ${octet} in a phrase`)
  }
})

t.test('a value ends where it ends, wherever it begins and whatever stands beside each octet', async (t) => {
  const head = new HeadReader({ ...LIMITS, headLimitBytes: 2_000 })
  const wrong: string[] = []
  for (const before of ['', 'a', 'ab', 'abc'])
    for (const beside of ['x', '\x80', '\xff', ' ', '\t', '\x7e'])
      for (let octet = 0; octet < 256; octet++) {
        const value = `v${beside}${before}${String.fromCharCode(octet)}${beside}${beside}w`
        const text = octets(`GET / HTTP/1.1\r\n${H}X: ${value}\r\nY: z\r\n\r\n`)
        const isValue = octet === 0x09 || (octet >= 0x20 && octet !== 0x7f)
        const error = thrownBy(() => head.readRequest(text, 0, text.length))
        const isRead = error === undefined && head.value(1) === value && head.value(2) === 'z'
        if (isValue ? !isRead : !(error instanceof Malformed)) wrong.push(JSON.stringify(value))
      }
  t.same(wrong, [])
})

t.test('what the head before has left behind is no part of the next', async (t) => {
  const head = new HeadReader({ ...LIMITS, fieldLimit: 10 })
  const long = octets(`GET /${'x'.repeat(20)} HTTP/1.1\r\n${'Aaa: bbbbbbb\r\n'.repeat(9)}\r\n`)
  const short = octets(`PUT /y HTTP/1.1\r\n${H}X-Y: \tz \r\n\r\n`)
  for (let size = 0; size < short.length; size++) {
    t.equal(head.readRequest(long, 0, long.length), long.length)
    t.equal(head.readRequest(short, 0, size), -1, `${size} octets`)
    t.equal(head.readRequest(short, 0, short.length), short.length)
    t.same([head.method, head.target, head.count, head.value(1)], ['PUT', '/y', 2, 'z'])
  }
})

t.test(
  'HTTP/1.0 and HTTP/1.1 are spoken; other versions are told apart from what is no version',
  async (t) => {
    for (const version of ['HTTP/1.0', 'HTTP/1.1'])
      t.equal(ofRequest(`GET / ${version}\r\n${H}\r\n`), 'whole', version)
    for (const version of ['HTTP/1.2', 'HTTP/1.9', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/9.9']) {
      t.equal(ofRequest(`GET / ${version}\r\n${H}\r\n`), 'version', version)
      t.equal(ofResponse(`${version} 200 OK\r\n\r\n`), 'version', version)
    }
    for (const version of [
      'HTTP/1',
      'HTTP/1.',
      'HTTP/1.x',
      'HTTP/x.1',
      'HTTP/11',
      'HTTP/1,1',
      'HTTP/1.10',
      'HTTP/11.1',
      'http/1.1',
      'HTTP1.1',
      'ICE/1.0',
      'RTSP/1.0',
      'HTTP /1.1',
      'HTTP/ 1.1',
      'XHTTP/1.1',
    ])
      t.equal(ofRequest(`GET / ${version}\r\n${H}\r\n`), 'malformed', version)
  },
)

t.test('a line ends with CR LF, and with neither alone', async (t) => {
  const line = 'GET / HTTP/1.1'
  for (const text of [
    `${line}\n${H}\r\n`,
    `${line}\r${H}\r\n`,
    `${line}\r\r\n${H}\r\n`,
    `${line}\r\nHost: a.test\n\r\n`,
    `${line}\r\nHost: a.test\r\r\n\r\n`,
    `${line}\r\nHost: a.test\r\n\n`,
    `${line}\r\nHost: a.test\r\n\r\r\n`,
    `${line}\r\n${H}\rX: y\r\n\r\n`,
    `${line}\r\nX: a\rb\r\n\r\n`,
    `${line}\r\nX: a\r b\r\n\r\n`,
    `${line}\r\nX: a\0b\r\n\r\n`,
  ])
    t.equal(ofRequest(text), 'malformed', JSON.stringify(text))
})

t.test('a field has a name at the beginning of its line, and a colon right behind it', async (t) => {
  for (const line of [
    ' X: y',
    '\tX: y',
    'X : y',
    'X\t: y',
    ': y',
    'X',
    'X y',
    'X\r',
    '"X": y',
    'X,Y: z',
    '\0X: y',
    '\xefX: y',
  ])
    for (const before of ['', H])
      t.equal(ofRequest(`GET / HTTP/1.1\r\n${before}${line}\r\n\r\n`), 'malformed', JSON.stringify(line))
})

t.test('a line that goes on in the next one is refused', async (t) => {
  for (const fold of [' b', '\tb', ' ', ' X: y'])
    t.equal(ofRequest(`GET / HTTP/1.1\r\nX: a\r\n${fold}\r\n\r\n`), 'malformed', JSON.stringify(fold))
})

t.test('a value begins and ends with what is no blank', async (t) => {
  const head = read('GET / HTTP/1.1\r\nA: \t a b\tc \t\r\nB:\r\nC: \t \r\nD:d\r\nE: \xa0e\xa0\r\n\r\n')
  t.same(
    [0, 1, 2, 3, 4].map((field) => [head.name(field), head.value(field)]),
    [
      ['A', 'a b\tc'],
      ['B', ''],
      ['C', ''],
      ['D', 'd'],
      ['E', '\xa0e\xa0'],
    ],
  )
})

t.test('a value may hold anything that looks like another part of a head', async (t) => {
  const value = 'a: b, GET / HTTP/1.1; "\\": : x'
  t.equal(read(`GET / HTTP/1.1\r\nX: ${value}\r\n\r\n`).value(0), value)
})

t.test('octets are characters of the same number', async (t) => {
  const all = Array.from({ length: 128 }, (_, at) => String.fromCharCode(128 + at)).join('')
  t.equal(read(`GET / HTTP/1.1\r\nX: ${all}\r\n\r\n`).value(0), all)
})

t.test('known names are found in any case, in their order, each time they come', async (t) => {
  const head = read('GET / HTTP/1.1\r\nVIA: 1\r\nX-Via: 2\r\nvia: 3\r\nhost: x\r\nVia: 4\r\n\r\n')
  t.same(head.values('via'), ['1', '3', '4'])
  t.equal(head.first(numberOf('via')), 0)
  t.equal(head.times(numberOf('via')), 3)
  t.equal(head.first(numberOf('host')), 3)
  t.equal(head.first(numberOf('cookie')), -1)
  t.equal(head.times(numberOf('cookie')), 0)
  t.same(head.values('cookie'), [])
  t.same(
    [0, 1, 2, 3, 4].map((field) => head.known(field) === OTHER),
    [false, true, false, false, false],
  )
})

t.test('nothing of one head is left in the next, even if it was broken off', async (t) => {
  const head = new HeadReader(LIMITS)
  const take = (text: string) => thrownBy(() => head.readRequest(octets(text), 0, text.length))
  for (const before of [
    'GET / HTTP/1.1\r\nVia: 1\r\nContent-Length: 5\r\nX_Y: 1\r\nvia: 2\r\nHost: b\r\n\r\n',
    'GET / HTTP/1.1\r\nVia: 1\r\nContent-Length: 5\r\nX_Y: 1\r\nCookie: x\r\nVi',
    'GET / HTTP/1.1\r\nVia: 1\r\nContent-Length: 5\r\nX_Y: 1\r\n Cookie: x\r\n\r\n',
    `GET / HTTP/1.1\r\nVia: 1\r\n${'x: y\r\n'.repeat(9)}\r\n`,
  ]) {
    take(before)
    t.equal(take(`GET / HTTP/1.1\r\n${H}\r\n`), undefined)
    t.same([head.count, head.underscored, head.method, head.target], [1, false, 'GET', '/'])
    for (const name of ['via', 'content-length', 'cookie'] as const) {
      t.equal(head.first(numberOf(name)), -1, name)
      t.equal(head.times(numberOf(name)), 0, name)
      t.same(head.values(name), [], name)
    }
    t.same(head.values('host'), ['a.test'])
  }
})

t.test('an underscore is noticed in names alone', async (t) => {
  t.equal(read('GET /_ HTTP/1.1\r\nX: _\r\n\r\n').underscored, false)
  t.equal(read('GET / HTTP/1.1\r\nX: y\r\nA_: z\r\n\r\n').underscored, true)
})

t.test(
  'a head may begin anywhere in what has arrived, and what stands behind it is not looked at',
  async (t) => {
    const before = 'x'.repeat(37)
    const text = `GET /p HTTP/1.1\r\n${H}A:b\r\n\r\n`
    const head = new HeadReader(LIMITS)
    for (const behind of ['', '\0\xff', '\n', 'GET / HTTP/9.9\r\n\r\n', 'x'.repeat(500)]) {
      const all = octets(before + text + behind)
      t.equal(
        head.readRequest(all, before.length, all.length),
        before.length + text.length,
        JSON.stringify(behind),
      )
      t.same([head.text, head.target, head.value(0), head.value(1)], [text, '/p', 'a.test', 'b'])
      t.equal(all.toString('latin1'), before + text + behind)
    }
  },
)

t.test('a head is not whole before its last octet, and what is behind the end is not read', async (t) => {
  for (const [how, text] of [
    ['readRequest', `GET /p HTTP/1.1\r\n${H}A: b\r\n\r\n`],
    ['readResponse', 'HTTP/1.1 200 OK\r\nA: b\r\n\r\n'],
  ] as const) {
    const head = new HeadReader(LIMITS)
    const all = octets(text)
    for (let end = 0; end < text.length; end++) t.equal(head[how](all, 0, end), -1, `${how} of ${end} octets`)
    t.equal(head[how](all, 0, text.length), text.length)
  }
})

t.test('what is wrong is refused with the octet that is wrong', async (t) => {
  const cases: [Read, whole: string, wrong: string][] = [
    ['readRequest', 'GET', '\t'],
    ['readRequest', 'GET /', '\x7f'],
    ['readRequest', 'GET /x ', 'X'],
    ['readRequest', 'GET / HTTP/', '\r\n '],
    ['readRequest', 'GET / HTTP/1.1', ' '],
    ['readRequest', 'GET / HTTP/1.1\r', '\r'],
    ['readRequest', 'GET / HTTP/1.1\r\n', ' '],
    ['readRequest', 'GET / HTTP/1.1\r\nX', ' '],
    ['readRequest', 'GET / HTTP/1.1\r\nX: y', '\n'],
    ['readRequest', 'GET / HTTP/1.1\r\nX: y\r\n', '\n'],
    ['readRequest', 'GET / HTTP/1.1\r\nX: y\r\n\r', 'x'],
    ['readResponse', 'HTT', 'Q'],
    ['readResponse', 'HTTP/1.1', '\t'],
    ['readResponse', 'HTTP/1.1 2', ' '],
    ['readResponse', 'HTTP/1.1 200', '0'],
    ['readResponse', 'HTTP/1.1 200 O', '\0'],
  ]
  for (const [how, text, wrong] of cases) {
    t.equal(outcome(how, text), 'part', JSON.stringify(text))
    t.equal(outcome(how, text + wrong), 'malformed', JSON.stringify(text + wrong))
  }
})

t.test('a head of the limit is read, and one with an octet more is not', async (t) => {
  for (const [how, begin] of [
    ['readRequest', `GET / HTTP/1.1\r\n${H}X: `],
    ['readResponse', 'HTTP/1.1 200 OK\r\nX: '],
  ] as const) {
    const of = (size: number) => `${begin}${'y'.repeat(size - begin.length - 4)}\r\n\r\n`
    t.equal(outcome(how, of(200)), 'whole', how)
    t.equal(outcome(how, of(201)), 'head', how)
    t.equal(outcome(how, `${of(200)}body`), 'ends at 200', how)
    t.equal(outcome(how, `${of(201)}body`), 'head', how)
    t.equal(outcome(how, of(300).slice(0, 200)), 'part', how)
    t.equal(outcome(how, of(300).slice(0, 201)), 'head', how)
  }
})

t.test('the limit of a head counts from where it begins', async (t) => {
  const begin = `GET / HTTP/1.1\r\n${H}X: `
  const text = `${begin}${'y'.repeat(196 - begin.length)}\r\n\r\n`
  const head = new HeadReader(LIMITS)
  const all = octets(`${'z'.repeat(1_000)}${text}`)
  t.equal(head.readRequest(all, 1_000, all.length), all.length)
})

t.test('a head that never becomes one is refused at the limit, wherever it stays', async (t) => {
  const long = 'a'.repeat(201)
  for (const text of [
    long,
    `GET / HTTP/1.1\r\n${long}`,
    `GET / HTTP/1.1\r\nX: ${long}`,
    `GET / HTTP/1.1\r\nX:${' '.repeat(200)}`,
  ])
    t.equal(ofRequest(text), 'head', text.slice(0, 30))
  t.equal(ofResponse(`HTTP/1.1 200 ${long}`), 'head')
  t.equal(ofResponse(`HTTP/1.1 200 ${long}\r\n\r\n`), 'head')
  t.equal(ofRequest(`${long} / HTTP/1.1\r\n${H}\r\n`), 'head')
})

t.test(
  'a target of the limit is read, and one with an octet more is not, as soon as it is there',
  async (t) => {
    const of = (size: number) => `GET /${'a'.repeat(size - 1)}`
    t.equal(ofRequest(`${of(40)} HTTP/1.1\r\n${H}\r\n`), 'whole')
    t.equal(ofRequest(`${of(41)} HTTP/1.1\r\n${H}\r\n`), 'target')
    t.equal(ofRequest(of(40)), 'part')
    t.equal(ofRequest(of(41)), 'target')
  },
)

t.test('as many fields as the limit are read, and the beginning of one more is refused', async (t) => {
  const of = (count: number) => `GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(count)}`
  t.equal(ofRequest(`${of(5)}\r\n`), 'whole')
  t.equal(ofRequest(`${of(6)}\r\n`), 'fields')
  t.equal(ofRequest(of(5)), 'part')
  t.equal(ofRequest(`${of(5)}X`), 'fields')
  t.equal(ofResponse(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(5)}\r\n`), 'whole')
  t.equal(ofResponse(`HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(6)}\r\n`), 'fields')
})

t.test('a head without fields is a head', async (t) => {
  t.equal(ofRequest('GET / HTTP/1.1\r\n\r\n'), 'whole')
  t.equal(read('GET / HTTP/1.1\r\n\r\n').count, 0)
  t.equal(ofResponse('HTTP/1.1 200 OK\r\n\r\n'), 'whole')
})

t.test('a status is three digits, and what follows may be missing', async (t) => {
  const status = (line: string) => {
    const head = new HeadReader(LIMITS)
    const text = octets(`${line}\r\n\r\n`)
    head.readResponse(text, 0, text.length)
    return [head.status, head.reason, head.minor]
  }
  t.same(status('HTTP/1.1 200 OK'), [200, 'OK', 1])
  t.same(status('HTTP/1.0 999 '), [999, '', 0])
  t.same(status('HTTP/1.1 404'), [404, '', 1])
  t.same(status('HTTP/1.1 200  \xe9\t OK '), [200, ' \xe9\t OK ', 1])
  for (const line of [
    'HTTP/1.1',
    'HTTP/1.1 ',
    'HTTP/1.1 20',
    'HTTP/1.1 2000',
    'HTTP/1.1 20x OK',
    'HTTP/1.1 -20 OK',
    'HTTP/1.1  200 OK',
    'HTTP/1.1\t200 OK',
    'HTTP/1.1 200\tOK',
    'HTTP/1.1 200OK',
    ' HTTP/1.1 200 OK',
    '200 OK',
    '',
  ])
    t.equal(ofResponse(`${line}\r\n\r\n`), 'malformed', JSON.stringify(line))
})

t.test('a field is plain if it is on the wire just as it would be written', async (t) => {
  const head = read('GET / HTTP/1.1\r\nA: 1\r\nB:2\r\nC: 3 \r\nD: \r\nE:\t5\r\n\r\n')
  t.same(
    [0, 1, 2, 3, 4].map((field) => head.isPlain(field)),
    [true, false, false, true, false],
  )
  t.equal(read('GET / HTTP/1.1\r\nA: 1\r\n\r\n').isPlain(0), true)
  t.equal(read('GET / HTTP/1.1\r\nA:\t1\r\n\r\n').isPlain(0), false)
  t.equal(read('GET / HTTP/1.1\r\nA:  1\r\n\r\n').isPlain(0), false)
})
