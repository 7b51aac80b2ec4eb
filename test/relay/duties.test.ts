// The front door's duties (HTTP.md §1) that neither the vectors nor the other tests of the relay hold it to; each sentence has its number.
import '../support/without-domains.ts'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { LARGE_BYTES, untilStill } from '../support/back-pressure.ts'
import { readAnswers, valuesIn } from '../support/http-bytes.ts'
import { echo, type Recorder, startRecorder } from '../support/recorder.ts'
import { eventually, turn } from '../support/turns.ts'
import {
  type Bench,
  collect,
  dial,
  GET,
  H,
  hasAnswer,
  OK,
  refusedAddress,
  type Scope,
  SMUGGLED,
  service,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'
import {
  behindValid,
  cutPlays,
  judge,
  playAll,
  playOne,
  type RequestVector,
  startWorld,
  wholePlay,
} from './vectors/support.ts'

/** Where the other duties are held: a vector's name, or the title of a test and its file here. */
const ELSEWHERE: Record<number, string | [title: string, file: string]> = {
  1: 'obs-text-value-verbatim',
  5: 'space-before-first-header',
  6: 'tls-client-hello-on-plaintext',
  9: 'space-in-target',
  15: 'absolute-form-host-mismatch',
  18: 'options-asterisk',
  20: 'connect-authority',
  21: 'dot-segments',
  26: 'host-missing-1.0',
  30: 'nul-in-value',
  31: 'too-many-headers-then-cl',
  32: 'set-cookie-x3',
  34: 'xff-underscore-spoof',
  38: 'te-chunked-then-gzip',
  39: 'te-gzip-chunked',
  46: 'pipelined-poison',
  47: 'cl-negative',
  48: ['a body for HEAD', 'vectors/responses'],
  50: ['chunks for HEAD', 'vectors/responses'],
  51: 'short-cl',
  52: 'get-with-body',
  54: 'connection-two-lines',
  56: 'connection-named-strip',
  59: 'options-max-forwards-5',
  60: 'trace-max-forwards-0',
  61: ['what belongs to the client connection stays there', 'fields'],
  63: ['100 is answered by the front door', 'stream'],
  65: ['goes on as a plain request', 'tunnel'],
  66: 'no-date',
  70: 'pipelined-after-close',
  72: ['nothing else is sent twice', 'failures'],
  74: ['in the middle of an upload with a length', 'faults'],
}

const readHere = (file: string) => readFileSync(new URL(file, import.meta.url), 'utf8')

t.test('each of the 75 duties is held by something', async (t) => {
  const own = readFileSync(new URL(import.meta.url), 'utf8').match(/'dut(?:y|ies) [\d, ]+: /g) ?? []
  const held = new Set([...own.join().matchAll(/\d+/g)].map(([number]) => Number(number)))
  const vectors = ['requests', 'responses'].map((name) => readHere(`../vectors/${name}.json`)).join()
  for (let duty = 1; duty <= 75; duty++) {
    const where = ELSEWHERE[duty]
    if (typeof where === 'string') t.ok(vectors.includes(`"name": "${where}"`), `duty ${duty}: ${where}`)
    else if (where) t.ok(readHere(`${where[1]}.test.ts`).includes(where[0]), `duty ${duty}: ${where[0]}`)
    else t.ok(held.has(duty), `duty ${duty}`)
  }
})

const get = (line: string, lines = H) => `${line}\r\n${lines}\r\n`
const post = (lines: string, body = '') => `POST / HTTP/1.1\r\n${H}${lines}\r\n${body}`
const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body)
const FIVE = '5\r\nhello\r\n0\r\n\r\n'

/** Bytes, what the client may get, and how many requests may reach the app. */
type Row = [bytes: string, statuses: number[], maxForwarded: number]

const refused = (bytes: string, ...statuses: number[]): Row => [
  bytes,
  statuses.length > 0 ? statuses : [400],
  0,
]
const may = (bytes: string, ...statuses: number[]): Row => [bytes, statuses, 1]
/** The head is good, so it may have gone on by the time the body is found broken. */
const broken = (bytes: string): Row => [bytes, [400, 413], 1]

/** Requests that the vectors have relatives of. */
const BYTES: Record<string, Row[]> = {
  'duty 2: an empty line before a request is skipped': [may(`\r\n${GET}`, 200)],
  'duty 3: a bare CR is refused wherever it stands': [
    refused(`GET / HTTP/1.1\r\n${H}X: a\rb\r\n\r\n`),
    refused(`GET / HTTP/1.1\r\n${H}X: a\r\r\n\r\n`),
    refused(`GET / HTTP/1.1\r\n${H}X: a\r\n\r\r\n`),
    refused(`GET / HTTP/1.1\r\r\n${H}\r\n`),
    refused(`GET / HTTP/1.1\r${H}\r\n`),
    refused(`\r${GET}`),
    refused(`GET /a\rb HTTP/1.1\r\n${H}\r\n`),
  ],
  'duty 4: a bare LF is refused wherever it stands': [
    refused(`\n${GET}`),
    refused(`GET / HTTP/1.1\r\n${H}\n`),
    refused(`GET / HTTP/1.1\r\nHost: a.test\n\r\n`),
    refused(`GET / HTTP/1.1\r\n${H}X: a\nb\r\n\r\n`),
  ],
  'duty 10: nothing but one space stands between the parts of a request line': [
    refused(get('GET\t/ HTTP/1.1')),
    refused(get('GET  / HTTP/1.1')),
    refused(get('GET /  HTTP/1.1')),
    refused(get('GET / HTTP/1.1 ')),
    refused(get(' GET / HTTP/1.1')),
    refused(get('GET /\tHTTP/1.1')),
  ],
  'duty 8: no other version is spoken': [
    refused(get('GET / HTTP/1.11'), 400, 505),
    refused(get('GET / HTTP/11'), 400, 505),
    refused(get('GET / HTTP/0.9'), 400, 505),
    refused(get('GET / HTTP/3.0'), 400, 505),
    refused(get('GET / HTTP/1,1'), 400, 505),
    refused(get('GET / HTTPS/1.1'), 400, 501, 505),
  ],
  'duty 13: a method that is no token, or too long, is refused': [
    refused(get(`${'G'.repeat(20_000)} / HTTP/1.1`), 400, 414, 431, 501),
    refused(get('GE(T / HTTP/1.1')),
    refused(get('GET\x00 / HTTP/1.1')),
    refused(get('\xc7ET / HTTP/1.1')),
  ],
  'duty 14: get is not GET': [
    refused(get('get / HTTP/1.1'), 400, 501),
    refused(get('Get / HTTP/1.1'), 400, 501),
  ],
  'duty 16: a target in absolute form is plain http, with a host and without userinfo': [
    refused(get('GET http://u:p@a.test/ HTTP/1.1'), 400, 421),
    refused(get('GET http://@a.test/ HTTP/1.1'), 400, 421),
    refused(get('GET http:///x HTTP/1.1'), 400, 421),
    refused(get('GET http:/a.test/ HTTP/1.1'), 400, 421),
    refused(get('GET http://a.test:x/ HTTP/1.1'), 400, 421),
    refused(get('GET http://a.test\\@evil.test/ HTTP/1.1'), 400, 421),
  ],
  'duty 17: an asterisk is a target for OPTIONS alone': [
    refused(get('POST * HTTP/1.1')),
    refused(get('HEAD * HTTP/1.1')),
    refused(get('GET *a HTTP/1.1')),
  ],
  'duty 19: an authority is no target for GET': [refused(get('GET a.test:80 HTTP/1.1'))],
  'duty 22: no octet below 0x21 and no DEL is part of a target': [
    ...['\x01', '\x1f', '\x0b', '\x0c', '\x7f'].map((octet) => refused(get(`GET /${octet} HTTP/1.1`))),
  ],
  'duty 23: a request without a Host is refused': [
    refused('GET / HTTP/1.1\r\n\r\n'),
    refused('GET http://a.test/ HTTP/1.1\r\n\r\n'),
  ],
  'duty 24: two Hosts are refused, whatever they are': [
    refused(get('GET / HTTP/1.1', 'Host: a.test\r\nHost: b.test\r\n')),
    refused(get('GET / HTTP/1.1', 'Host: a.test\r\nhost:\r\n')),
    refused(get('GET http://a.test/ HTTP/1.1', 'Host: a.test\r\nHost: a.test\r\n')),
  ],
  'duty 25: a Host that is none is refused': [
    ...[
      'a/b',
      'a b',
      'a:1:2',
      'a\\b',
      'a..b',
      '[::1]x',
      '[::1]:x',
      ':80',
      'a.test:',
      'a?b',
      'a#b',
      'a%zz',
      '"a"',
      '*',
    ].map((host) =>
      refused(get('GET / HTTP/1.1', `Host: ${host}\r\n`), 400, ...(host === 'a.test:' ? [200] : [])),
    ),
  ].map(([bytes, statuses]): Row => [bytes, statuses, statuses.includes(200) ? 1 : 0]),
  'duty 28: a space before the colon is refused, and hides nothing': [
    refused(post('Content-Length : 40\r\n', SMUGGLED)),
    refused(post('Transfer-Encoding : chunked\r\n', FIVE)),
    refused(get('GET / HTTP/1.1', `${H}X : a\r\n`)),
    refused(get('GET / HTTP/1.1', `${H}X Y: a\r\n`)),
  ],
  'duty 29: a folded line is refused': [
    refused(get('GET / HTTP/1.1', `${H}X: a\r\n b\r\n`)),
    refused(get('GET / HTTP/1.1', `${H}X: a\r\n\tb\r\n`)),
    refused(get('GET / HTTP/1.1', `${H}X:\r\n \r\n`)),
    refused(post('Content-Length: 5\r\n 0\r\n', 'hello')),
  ],
  'duty 35: a length beside chunks is refused in either order': [
    refused(post('Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', `0\r\n\r\n${SMUGGLED}`)),
    refused(post('Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', `0\r\n\r\n${SMUGGLED}`)),
    refused(post('Transfer-Encoding: chunked\r\nContent-Length: 0\r\n', `0\r\n\r\n${SMUGGLED}`)),
    refused(post('Transfer-Encoding: chunked\r\nContent-Length: x\r\n', '0\r\n\r\n')),
    refused(get('GET / HTTP/1.1', `${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n`)),
  ],
  'duty 36: chunks in HTTP/1.0 are refused': [
    refused(`POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n${FIVE}`),
    refused(
      `POST / HTTP/1.0\r\n${H}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${FIVE}${SMUGGLED}`,
    ),
  ],
  'duty 37: another coding is refused': [
    ...['gzip', 'identity', 'deflate, chunked', 'trailers', 'chunked;', 'chunked\x00', '[chunked]', ''].map(
      (coding) => refused(post(`Transfer-Encoding: ${coding}\r\n`, FIVE), 400, 422, 501),
    ),
    refused(post('Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n', FIVE), 400, 422, 501),
    refused(post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n', FIVE), 400, 422, 501),
  ],
  'duties 40, 53: a length that is no plain number, or one beyond all numbers, is refused': [
    ...[
      '+5',
      '-0',
      '-1',
      '0x5',
      '5_0',
      '5,6',
      '5, 5',
      '',
      '5e1',
      '5.',
      '\x0b5',
      '\xb2',
      '５',
      '1 1',
      '"5"',
    ].map((length) => refused(post(`Content-Length: ${length}\r\n`, 'hello'), 400, 413)),
    ...['9007199254740993', '18446744073709551621', '4294967301000000000000'].map((length) =>
      refused(post(`Content-Length: ${length}\r\n`, 'hello'), 400, 413),
    ),
    refused(post('Content-Length: 5\r\nContent-Length: \r\n', 'hello')),
    refused(post('Content-Length: 5\r\ncontent-length: 5\r\nX: y\r\n', 'hello')),
  ].map(([bytes, statuses]): Row => [bytes.replace('５', '\xef\xbc\x95'), statuses, 0]),
  'duty 41: a chunk size that is no plain hexadecimal number, or too large a one, is refused': [
    ...[
      '-5',
      '+5',
      '0x5',
      '5h',
      '',
      ' 5',
      '5.0',
      '８',
      '8000000000000000',
      'FFFFFFFFFFFFFFFF',
      'FFFFFFFFFFFFFFFFF',
    ].map((size) => broken(chunked(`${size}\r\nhello\r\n0\r\n\r\n`))),
    broken(chunked(`5\r\rhello\r\n0\r\n\r\n`)),
    broken(chunked(`5\r\nhello\r\r\n0\r\n\r\n`)),
    broken(chunked(`5\r\nhello\r\n0\r\n\r\r`)),
    broken(chunked(`5\r\nhello\r\n0\r\n\n`)),
  ].map(([bytes, statuses, most]): Row => [bytes.replace('８', '\xef\xbc\x98'), statuses, most]),
  'duty 41: sizes in either case and with a zero in front are sizes': [
    may(chunked('a\r\n0123456789\r\n0\r\n\r\n'), 200),
    may(chunked('A\r\n0123456789\r\n00\r\n\r\n'), 200, 400),
    may(chunked(`${'0'.repeat(64)}5\r\nhello\r\n0\r\n\r\n`), 200, 400),
    may(chunked('05\r\nhello\r\n0\r\n\r\n'), 200, 400),
  ],
  'duties 42, 43: extensions are dropped if they are ones, and bounded': [
    may(chunked('5;a\r\nhello\r\n0\r\n\r\n'), 200),
    may(chunked('5;a=b;c="d \\" e"\r\nhello\r\n0;x=y\r\n\r\n'), 200),
    broken(chunked('5;a\x01\r\nhello\r\n0\r\n\r\n')),
    broken(chunked('5;a\rb\r\nhello\r\n0\r\n\r\n')),
    broken(chunked('5;a\nb\r\nhello\r\n0\r\n\r\n')),
    broken(chunked('5 x\r\nhello\r\n0\r\n\r\n')),
    broken(chunked(`${`1;${'a'.repeat(1_000)}\r\nx\r\n`.repeat(100)}0\r\n\r\n`)),
  ],
  'duty 44: trailers never become fields, and broken ones are refused': [
    may(chunked('5\r\nhello\r\n0\r\nContent-Length: 9\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n'), 200, 400),
    may(chunked('0\r\nTransfer-Encoding: chunked\r\nHost: evil.test\r\n\r\n'), 200, 400),
    broken(chunked('0\r\nX : y\r\n\r\n')),
    broken(chunked('0\r\nX: y\r\n z\r\n\r\n')),
    broken(chunked('0\r\nX\r\n\r\n')),
    broken(chunked('0\r\nX: \x00\r\n\r\n')),
    broken(chunked('0\r\n: y\r\n\r\n')),
  ],
  'duty 55: what frames a message cannot be named away': [
    may(post('Connection: Content-Length\r\nContent-Length: 40\r\n', SMUGGLED), 200, 400),
    may(
      post(
        'Connection: close, content-length, host, x-forwarded-for, via\r\nContent-Length: 40\r\n',
        SMUGGLED,
      ),
      200,
      400,
    ),
  ],
  'duty 62: an expectation that is not known is refused or ignored, never taken for another': [
    may(post('Expect: 200-ok\r\nContent-Length: 5\r\n', 'hello'), 417, 400, 200),
    may(post('Expect: 100-continued\r\nContent-Length: 5\r\n', 'hello'), 417, 400, 200),
    may(post('Expect:\r\nContent-Length: 5\r\n', 'hello'), 417, 400, 200),
  ],
  'a PROXY protocol header that nobody asked for is refused': [
    refused('\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x7b\x16\x2e'),
    refused(`PROXY UNKNOWN\r\n${GET}`),
  ],
}

const vectorOf = (sentence: string, [raw, statuses, maxForwarded]: Row): RequestVector => ({
  name: sentence,
  raw,
  statuses,
  maxForwarded,
  group: '',
  why: '',
})

const SHORT_BYTES = 300

const cutsOf = ({ raw }: RequestVector): number[] =>
  raw.length > SHORT_BYTES ? [] : Array.from({ length: raw.length - 1 }, (_, nth) => nth + 1)

for (const [sentence, rows] of Object.entries(BYTES)) {
  t.test(sentence, async (t) => {
    const world = await startWorld(t)
    for (const row of rows) {
      const vector = vectorOf(sentence, row)
      const whole = await playOne(world, wholePlay(vector))
      const problems = await judge(world, vector, [whole])
      problems.push(...(await judge(world, vector, [await playOne(world, behindValid(vector))])))
      const cut = await playAll(world, cutPlays(vector, whole, cutsOf(vector)))
      problems.push(...(await judge(world, vector, cut)))
      t.same(problems.slice(0, 4), [], JSON.stringify(vector.raw.slice(0, 120)))
    }
  })
}

interface Start {
  bench: Bench
  app: Recorder
}

async function start(t: Scope, options: Parameters<typeof startRelay>[1] = {}): Promise<Start> {
  const bench = await startRelay(t, options)
  const app = await startRecorder(t)
  await bench.promote(app.address)
  return { bench, app }
}

/** A relay in front of an app that answers every request with these bytes. */
async function startWith(t: Scope, answer: string, closes = false): Promise<Start> {
  const bench = await startRelay(t)
  const app = await startRecorder(t, (_, { socket }) => {
    socket.write(Buffer.from(answer, 'latin1'))
    if (closes) socket.end()
  })
  await bench.promote(app.address)
  return { bench, app }
}

t.test('duty 7: what an HTTP/1.0 client asks goes on as HTTP/1.1, and is answered as HTTP/1.1', async (t) => {
  const { bench, app } = await start(t)
  const text = await dial(t, bench.port, `GET /old HTTP/1.0\r\n${H}\r\n`).closed()
  t.match(text, /^HTTP\/1\.1 200 OK\r\n/)
  t.match(app.requests[0]?.raw, /^GET \/old HTTP\/1\.1\r\n/)
})

t.test('duty 11: a request line of 8000 octets goes through byte for byte', async (t) => {
  const { bench, app } = await start(t)
  const target = `/${'a'.repeat(8_000 - 'GET / HTTP/1.1\r\n'.length)}`
  const text = await dial(t, bench.port, `GET ${target} HTTP/1.1\r\n${H}\r\n`).until(hasAnswer)
  t.equal(statusOf(text), 200)
  t.equal(app.requests[0]?.target, target)
})

t.test('duty 12: a target of 64 KiB is refused, and the connection closed', async (t) => {
  const { bench, app } = await start(t)
  const wire = dial(t, bench.port, `GET /${'a'.repeat(65_536)} HTTP/1.1\r\n${H}\r\n${SMUGGLED}`)
  const text = await wire.closed()
  t.ok([414, 431].includes(statusOf(text)), text.slice(0, 40))
  t.equal(readAnswers(text, true).answers.length, 1)
  t.same(app.requests, [])
})

t.test('duty 27: a host that no service has is not given to the first one', async (t) => {
  const { bench, app } = await start(t, { services: [service({ hosts: ['a.test'] })] })
  for (const host of ['b.test', 'a.test.evil.test', 'xa.test', '127.0.0.1', '[::1]']) {
    const text = await dial(t, bench.port, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).until(hasAnswer)
    t.ok([404, 421].includes(statusOf(text)), `${host}: ${statusOf(text)}`)
  }
  const absolute = await dial(t, bench.port, `GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n`).until(
    hasAnswer,
  )
  t.ok([404, 421].includes(statusOf(absolute)))
  t.same(app.requests, [])
  t.equal(
    statusOf(await dial(t, bench.port, `GET / HTTP/1.1\r\nHost: A.TEST:8080\r\n\r\n`).until(hasAnswer)),
    200,
  )
})

t.test('duty 33: fields that nobody knows go on, with the names and values they had', async (t) => {
  const { bench, app } = await start(t)
  const fields: [string, string][] = [
    ['user-agent', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36'],
    ['accept', 'text/html,application/xhtml+xml,*/*;q=0.8'],
    ['accept-encoding', 'gzip, deflate, br, zstd'],
    ['sec-ch-ua', '"Chromium";v="140", "Not=A?Brand";v="24"'],
    ['if-none-match', 'W/"x,y"'],
    ['range', 'bytes=0-1'],
    ['authorization', 'Basic dTpw'],
    ['cookie', 'a=1; b="2"'],
    ['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
    ['x-foo', 'bar'],
    ['x-empty', ''],
    ["!#$%&'*+.^`|~x", 'odd but a token'],
    ['x-order', '1'],
    ['x-order', '2'],
  ]
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  await dial(t, bench.port, `GET / HTTP/1.1\r\n${H}${lines}\r\n`).until(hasAnswer)
  const [request] = app.requests
  for (const name of new Set(fields.map(([one]) => one))) {
    t.same(valuesIn(request?.fields ?? [], name), valuesIn(fields, name), name)
  }
})

t.test(
  'duty 45: a body shorter than its length, ended by its client, is never whole at the app',
  async (t) => {
    const { bench, app } = await start(t)
    const wire = dial(t, bench.port, post('Content-Length: 10\r\n', 'abc'))
    t.ok(await eventually(() => app.connections.some(({ rest }) => rest.endsWith('abc'))))
    wire.socket.end()
    const text = await wire.closed()
    t.ok([400, 408].includes(statusOf(text)), text.slice(0, 40))
    const [connection] = app.connections
    if (connection && !connection.isClosed) await once(connection.socket, 'close')
    t.same(app.requests, [])
    t.equal(connection?.rest.endsWith('abc'), true)
  },
)

t.test('duty 49: a 204 and a 304 without a body have no framing, and their connections go on', async (t) => {
  for (const status of ['204 No Content', '304 Not Modified']) {
    const { bench, app } = await startWith(t, `HTTP/1.1 ${status}\r\nETag: "x"\r\n\r\n`)
    const wire = dial(t, bench.port, GET)
    await wire.until((text) => text.includes('\r\n\r\n'))
    wire.socket.write(GET)
    const text = await wire.until((all) => all.split('\r\n\r\n').length > 2)
    const { answers, rest } = readAnswers(text, false)
    t.same([answers.length, rest], [2, ''])
    for (const { fields } of answers) {
      t.same(valuesIn(fields, 'content-length'), [])
      t.same(valuesIn(fields, 'transfer-encoding'), [])
      t.same(valuesIn(fields, 'etag'), ['"x"'])
    }
    t.equal(app.connections.length, 1)
  }
})

t.test('duty 49: an HTTP/1.0 client gets chunks as bytes up to the end of its connection', async (t) => {
  const { bench } = await startWith(
    t,
    `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\n!!!\r\n0\r\nX: y\r\n\r\n`,
  )
  const wire = dial(t, bench.port, `GET / HTTP/1.0\r\n${H}\r\n`)
  const text = await wire.closed()
  t.match(readAnswers(text, true).answers, [{ status: 200, body: 'ok!!!', framing: 'close' }])
  t.equal(wire.ended, 'fin')
})

t.test('duty 57: Via is appended to, with the version that was received', async (t) => {
  const { bench, app } = await start(t)
  await dial(t, bench.port, `GET / HTTP/1.1\r\n${H}Via: 1.0 edge\r\nVia: 1.1 cache (x, y)\r\n\r\n`).until(
    hasAnswer,
  )
  await dial(t, bench.port, `GET / HTTP/1.0\r\n${H}\r\n`).closed()
  t.same(
    app.requests.map(({ fields }) => valuesIn(fields, 'via').join(', ')),
    ['1.0 edge, 1.1 cache (x, y), 1.1 slotgate', '1.0 slotgate'],
  )
})

t.test('duty 58: a request that has passed here again and again is a 508', async (t) => {
  const { bench, app } = await start(t)
  const via = Array.from({ length: 50 }, () => '1.1 slotgate').join(', ')
  t.equal(
    statusOf(await dial(t, bench.port, `GET / HTTP/1.1\r\n${H}Via: ${via}\r\n\r\n`).until(hasAnswer)),
    508,
  )
  t.same(app.requests, [])
})

t.test('duty 64: interim answers reach the client in order; an HTTP/1.0 client gets none', async (t) => {
  const answer = `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n${OK}`
  const { bench } = await startWith(t, answer)
  const { answers } = readAnswers(await dial(t, bench.port, GET).until((text) => text.endsWith('ok')), false)
  t.same(
    answers.map(({ status, fields }) => [status, ...valuesIn(fields, 'link'), ...valuesIn(fields, 'x-hop')]),
    [[102], [103, '</a>'], [103, '</b>'], [200]],
  )
  const old = readAnswers(await dial(t, bench.port, `GET / HTTP/1.0\r\n${H}\r\n`).closed(), true)
  t.same(
    old.answers.map(({ status }) => status),
    [200],
  )
})

t.test('duty 64: interim answers that the client does not take stop the app from sending more', async (t) => {
  const bench = await startRelay(t)
  const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(1_000)
  let written = 0
  const app = await startRawApp(t, (socket) => {
    const fill = () => {
      while (written < LARGE_BYTES && !socket.destroyed) {
        written += hints.length
        if (!socket.write(hints)) return void socket.once('drain', fill)
      }
    }
    socket.once('data', fill)
  })
  await bench.promote(app.address)
  const wire = dial(t, bench.port, GET)
  wire.socket.pause()
  await untilStill(() => written)
  t.ok(written < LARGE_BYTES, `${written} bytes were taken`)
})

t.test(
  'duties 67, 68: an answer before the body is read arrives although the client goes on sending',
  async (t) => {
    const bench = await startRelay(t)
    const answer = 'HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig'
    const app = await startRawApp(t, (socket) => {
      socket.once('data', () => socket.end(answer))
    })
    await bench.promote(app.address)
    for (const lines of ['Content-Length: 100000000\r\n', 'Transfer-Encoding: chunked\r\n']) {
      const wire = dial(t, bench.port, post(lines))
      // One chunk in the second case: its size is far more than what is sent.
      if (lines.startsWith('Transfer')) wire.socket.write('5F5E100\r\n')
      const piece = Buffer.alloc(16_384, 'x')
      while (!wire.text.includes('big') && !wire.ended) {
        wire.socket.write(piece)
        await turn()
      }
      for (let more = 0; more < 20 && !wire.ended; more++) {
        wire.socket.write(piece)
        await turn()
      }
      const text = wire.text
      t.equal(statusOf(text), 413, lines)
      t.match(text, /\r\nconnection: close\r\n/i)
      wire.socket.end()
      await wire.closed()
      t.equal(readAnswers(wire.text, true).answers.length, 1)
    }
    t.ok(await eventually(() => bench.claims() === 0))
  },
)

t.test(
  'duty 69: pipelined requests are answered in their order, however long the app takes for each',
  async (t) => {
    const bench = await startRelay(t)
    let open = 0
    let most = 0
    let claims = 0
    const app = await startRecorder(t, async (request, connection) => {
      most = Math.max(most, ++open)
      claims = Math.max(claims, bench.claims())
      // Later ones would be sooner if they were asked at once.
      for (let left = 60 - 2 * Number(request.target.slice(1)); left > 0; left--) await turn()
      open--
      echo(request, connection)
    })
    await bench.promote(app.address)
    const targets = Array.from({ length: 30 }, (_, nth) => `/${nth}`)
    const wire = dial(t, bench.port, targets.map((target) => `GET ${target} HTTP/1.1\r\n${H}\r\n`).join(''))
    const text = await wire.until((all) => all.includes('GET /29 #') && readAnswers(all, false).rest === '')
    t.same(
      readAnswers(text, false).answers.map(({ body }) => body.split(' ')[1]),
      targets,
    )
    t.same([most, claims], [1, 1])
  },
)

t.test('duty 71: an HTTP/1.0 client that asks for a kept connection does not get one', async (t) => {
  const { bench, app } = await start(t)
  const wire = dial(t, bench.port, `GET / HTTP/1.0\r\n${H}Connection: keep-alive\r\n\r\n${SMUGGLED}`)
  const { answers } = readAnswers(await wire.closed(), true)
  t.equal(answers.length, 1)
  t.notMatch(valuesIn(answers[0]?.fields ?? [], 'connection').join(), /keep-alive/i)
  t.equal(app.requests.length, 1)
})

t.test(
  'duty 73: a client that has closed its half behind pipelined requests gets all of its answers',
  async (t) => {
    const { bench } = await start(t)
    const wire = dial(t, bench.port)
    wire.socket.end(
      `GET /1 HTTP/1.1\r\n${H}\r\nPOST /2 HTTP/1.1\r\n${H}Content-Length: 2\r\n\r\nokGET /3 HTTP/1.1\r\n${H}\r\n`,
    )
    const { answers } = readAnswers(await wire.closed(), true)
    t.same(
      answers.filter(({ status }) => status >= 200).map(({ body }) => body.replace(/ #.*/, '')),
      ['GET /1', 'POST /2', 'GET /3'],
    )
  },
)

t.test(
  'duty 75: refused is 502, silent is 504, nothing live is 503, and none says where the app is',
  async (t) => {
    const silent = await startRawApp(t, (socket) => {
      collect(socket)
    })
    for (const [address, status] of [
      [await refusedAddress(t), 502],
      [silent.address, 504],
      [undefined, 503],
    ] as const) {
      const bench = await startRelay(t, { relay: { upstreamTimeoutMs: 100 } })
      if (address) await bench.promote(address)
      const text = await dial(t, bench.port, GET).until(hasAnswer)
      t.equal(statusOf(text), status)
      if (status === 503) t.match(text, /\r\nretry-after: \d+\r\n/i)
      const port = address?.kind === 'tcp' ? String(address.port) : 'no port'
      for (const leak of ['127.0.0.1', port]) t.notOk(text.includes(leak), leak)
    }
  },
)
