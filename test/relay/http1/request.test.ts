// What a request's head is refused for, and what the rest of the journey is told of it: by the pure functions alone.
import { METHODS } from 'node:http'
import t from 'tap'
import { type Code, SlotgateError } from '../../../src/errors.ts'
import { HeadReader, Malformed, TooLong, TooManyFields } from '../../../src/relay/http1/head.ts'
import {
  asRefusal,
  bodyMustFit,
  declaredFraming,
  isPersistent,
  type Request,
  screen,
} from '../../../src/relay/http1/request.ts'
import { RELAY_CONFIG } from '../support.ts'
import { each, octets, requestOf, responseOf, thrownBy } from './support.ts'

const screened = (lines = '', first?: string): Request => screen(requestOf(lines, first))

/** How it is refused: a code of ours, or `malformed`; `taken` if it is not. */
function outcomeOf(act: () => unknown): Code | 'malformed' | 'taken' {
  const error = thrownBy(act)
  if (error === undefined) return 'taken'
  if (error instanceof SlotgateError) return error.code
  if (error instanceof Malformed) return 'malformed'
  throw error
}

const outcome = (lines = '', first?: string) => outcomeOf(() => screened(lines, first))

/** The request with these lines alone, without the Host that the others have. */
function outcomeOfAll(lines: string, first = 'GET / HTTP/1.1'): ReturnType<typeof outcomeOf> {
  const head = new HeadReader(RELAY_CONFIG)
  const text = octets(`${first}\r\n${lines}\r\n`)
  return outcomeOf(() => {
    head.readRequest(text, 0, text.length)
    return screen(head)
  })
}

t.test('a plain request asks for its target, without a body, and may be followed by another', async (t) => {
  t.same(screened('', 'GET /x?y HTTP/1.1'), {
    method: 'GET',
    minor: 1,
    target: '/x?y',
    host: 'a.test',
    hostname: 'a.test',
    framing: { kind: 'none' },
    awaitsContinue: false,
    persistent: true,
    upgrade: false,
    maxForwards: undefined,
    local: false,
  })
})

t.test(
  'methods of HTTP are relayed; CONNECT, TRACE, unknown ones and those of other protocols are not',
  async (t) => {
    const foreign = [
      'ANNOUNCE',
      'DESCRIBE',
      'FLUSH',
      'PAUSE',
      'PLAY',
      'RECORD',
      'SETUP',
      'SOURCE',
      'TEARDOWN',
    ]
    for (const method of METHODS) {
      const expected = /^(?:CONNECT|TRACE)$/.test(method)
        ? 'method_not_relayed'
        : foreign.includes(method)
          ? 'not_implemented'
          : 'taken'
      t.equal(outcome('', `${method} / HTTP/1.1`), expected, method)
    }
    each(t, (method) => outcome('', `${method} / HTTP/1.1`), 'not_implemented', [
      ...foreign,
      'get',
      'Get',
      'GETT',
      'GE',
      'POSTT',
      'x',
      "!#$%&'*+-.^_`|~",
      '__proto__',
    ])
  },
)

t.test('there is one Host, and it is a host', async (t) => {
  t.equal(outcomeOfAll(''), 'bad_request')
  t.equal(outcomeOfAll('Host: a.test\r\nHost: a.test\r\n'), 'bad_request')
  t.equal(outcomeOfAll('', 'GET / HTTP/1.0'), 'bad_request')
  each(t, (host) => outcomeOfAll(`Host: ${host}\r\n`), 'taken', [
    'a.test',
    'A.TEST.:65535',
    '[::1]',
    '[2001:db8::1]:1',
    '127.0.0.1:0',
    'x_y',
  ])
  each(t, (host) => outcomeOfAll(`Host: ${host}\r\n`), 'bad_request', [
    '',
    ' ',
    'a b',
    'a,b',
    'a/',
    'u@a',
    'a:',
    'a:65536',
    '[::1',
    '::1',
    '[a.test]',
    '-',
    'a..b',
    'a\xe9',
  ])
})

t.test('a refused host is refused again, and does not stand in for the next', async (t) => {
  for (const [host, expected] of [
    ['a.test', 'taken'],
    ['a/', 'bad_request'],
    ['a/', 'bad_request'],
    ['a.test', 'taken'],
    ['', 'bad_request'],
    ['', 'bad_request'],
  ] as const)
    t.equal(outcomeOfAll(`Host: ${host}\r\n`), expected, host)
})

t.test('each of more hosts than are remembered gets its own name', async (t) => {
  const head = new HeadReader(RELAY_CONFIG)
  for (let round = 0; round < 2; round++) {
    for (let at = 0; at < 600; at++) {
      const text = octets(`GET / HTTP/1.1\r\nHost: H${at}.test.:80\r\n\r\n`)
      head.readRequest(text, 0, text.length)
      const { host, hostname } = screen(head)
      if (hostname !== `h${at}.test` || host !== `H${at}.test.:80`) t.fail(`${host} is ${hostname}`)
    }
  }
  t.pass('all')
})

t.test('a path goes on as it is', async (t) => {
  for (const target of ['/', '//a//b', '/a/../b%2e%2f', '/?', '/%', '/*', '/|{}<>"\\^`', '/http://b.test/'])
    t.equal(screened('', `GET ${target} HTTP/1.1`).target, target)
})

t.test('an absolute target goes on as its path, if it names the very host', async (t) => {
  for (const [target, path] of [
    ['http://a.test', '/'],
    ['http://a.test/', '/'],
    ['HTTP://A.TEST/x?y', '/x?y'],
    ['http://a.test?y/z', '/?y/z'],
    ['http://a.test//x', '//x'],
  ] as const)
    t.equal(screened('', `GET ${target} HTTP/1.1`).target, path, target)
  each(t, (target) => outcome('', `GET ${target} HTTP/1.1`), 'bad_request', [
    'http://b.test/',
    'http://a.test:80/',
    'http://u@a.test/',
    'http:///x',
    'http:a.test/',
    'https://a.test/',
    'ftp://a.test/',
    'http//a.test',
    'a.test:80',
    'a.test',
    '*',
    '?',
    '1http://a.test/',
  ])
})

t.test('a target that the host is asked for itself is for OPTIONS alone', async (t) => {
  t.match(screened('', 'OPTIONS * HTTP/1.1'), { target: '*', local: true })
  t.match(screened('', 'OPTIONS http://a.test HTTP/1.1'), { target: '*', local: true })
  t.match(screened('', 'OPTIONS http://a.test/ HTTP/1.1'), { target: '/', local: false })
  t.match(screened('', 'OPTIONS http://a.test?x HTTP/1.1'), { target: '/?x', local: false })
  t.equal(outcome('', 'OPTIONS ** HTTP/1.1'), 'bad_request')
  t.equal(outcome('', 'OPTIONS *x HTTP/1.1'), 'bad_request')
})

t.test('Max-Forwards counts for OPTIONS alone, and at nought the answer is ours', async (t) => {
  const options = 'OPTIONS / HTTP/1.1'
  t.match(screened('Max-Forwards: 5\r\n', options), { maxForwards: 4, local: false })
  t.match(screened('Max-Forwards: 0\r\n', options), { local: true })
  t.match(screened('Max-Forwards: 007\r\n', options), { maxForwards: 6 })
  each(t, (value) => outcome(`Max-Forwards: ${value}\r\n`, options), 'bad_request', [
    '',
    '-1',
    '1.0',
    '1, 1',
    'x',
    '1234567890',
  ])
  t.equal(outcome('Max-Forwards: 1\r\nMax-Forwards: 1\r\n', options), 'bad_request')
  t.match(screened('Max-Forwards: x\r\nMax-Forwards: 0\r\n'), { maxForwards: undefined, local: false })
})

t.test('a length is a number that computers agree on', async (t) => {
  for (const [value, bytes] of [
    ['0', 0],
    ['5', 5],
    ['999999999999999', 999_999_999_999_999],
  ] as const)
    t.same(screened(`Content-Length: ${value}\r\n`).framing, { kind: 'length', bytes }, value)
  each(t, (value) => outcome(`Content-Length: ${value}\r\n`), 'malformed', [
    '',
    '+5',
    '-5',
    '05',
    '00',
    '0x5',
    '5.0',
    '5 5',
    '5,5',
    '5_0',
    '1e1',
    '1000000000000000',
    '\xb2',
    'Infinity',
  ])
})

t.test('blanks around a length are no part of it', async (t) => {
  t.same(screened('Content-Length:\t 5 \t\r\n').framing, { kind: 'length', bytes: 5 })
  t.same(screened('Content-Length:5\r\n').framing, { kind: 'length', bytes: 5 })
})

t.test('the one coding is chunked, in any case', async (t) => {
  for (const line of [
    'Transfer-Encoding: chunked',
    'transfer-encoding:CHUNKED',
    'Transfer-Encoding: \tchunked  ',
  ])
    t.same(screened(`${line}\r\n`).framing, { kind: 'chunked' }, line)
  each(t, (value) => outcome(`Transfer-Encoding: ${value}\r\n`), 'malformed', [
    '',
    'gzip',
    'identity',
    'gzip, chunked',
    'chunked, gzip',
    'chunked,',
    ',chunked',
    'chunked;x',
    'chunked chunked',
    '"chunked"',
    'xchunked',
    'chunked\xa0',
    '\xa0chunked',
  ])
})

t.test('chunked with a tab behind it is refused, since llhttp takes it for another coding', async (t) => {
  for (const value of ['chunked\t', 'chunked \t', 'chunked\t '])
    for (const after of ['', 'X: y\r\n'])
      t.equal(outcome(`Transfer-Encoding: ${value}\r\n${after}`), 'malformed', JSON.stringify(value + after))
  t.same(screened('Transfer-Encoding: chunked\r\nX:\ty\t\r\n').framing, { kind: 'chunked' })
})

t.test('two framings are none', async (t) => {
  const [length, coding] = ['Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n']
  each(t, outcome, 'malformed', [
    length + length,
    coding + coding,
    length + coding,
    coding + length,
    `${length}X: y\r\n${length}`,
  ])
})

t.test('HTTP/1.0 has no chunks', async (t) => {
  t.equal(outcome('Transfer-Encoding: chunked\r\n', 'POST / HTTP/1.0'), 'malformed')
  t.same(screened('Content-Length: 5\r\n', 'POST / HTTP/1.0').framing, { kind: 'length', bytes: 5 })
})

t.test('a message that declares nothing declares nothing', async (t) => {
  t.equal(declaredFraming(responseOf('')), undefined)
  t.same(declaredFraming(responseOf('Content-Length: 1\r\n')), { kind: 'length', bytes: 1 })
})

t.test('a body above the limit is refused by what it declares, and one at the limit is not', async (t) => {
  const of = (lines: string, received: number, limit = 10) =>
    outcomeOf(() => bodyMustFit(screened(lines), received, limit))
  t.equal(of('Content-Length: 10\r\n', 0), 'taken')
  t.equal(of('Content-Length: 11\r\n', 0), 'request_too_large')
  t.equal(of('Content-Length: 11\r\n', 0, 0), 'taken')
  t.equal(of('Transfer-Encoding: chunked\r\n', 10), 'taken')
  t.equal(of('Transfer-Encoding: chunked\r\n', 11), 'request_too_large')
})

t.test(
  'a client waits for a 100 only if it sends a body, speaks HTTP/1.1, and expects nothing else',
  async (t) => {
    const body = 'Content-Length: 1\r\n'
    t.equal(screened(`Expect: 100-continue\r\n${body}`).awaitsContinue, true)
    t.equal(screened(`expect: 100-Continue , 100-continue\r\n${body}`).awaitsContinue, true)
    t.equal(screened('Expect: 100-continue\r\n').awaitsContinue, false)
    t.equal(screened(`Expect: whatever\r\n${body}`, 'POST / HTTP/1.0').awaitsContinue, false)
    each(t, (value) => outcome(`Expect: ${value}\r\n${body}`), 'expectation_failed', [
      '',
      'x',
      'x 100-continue',
      '100-continue, x',
      '100-continue,',
      '100-continue\xa0',
      '100-continue=1',
    ])
    t.equal(outcome(`Expect: 100-continue\r\nExpect: x\r\n${body}`), 'expectation_failed')
  },
)

t.test('a connection goes on unless somebody says that it ends', async (t) => {
  each(t, (lines) => isPersistent(requestOf(lines)), true, [
    '',
    'Connection: keep-alive\r\n',
    'Connection: Keep-Alive\r\n',
    'Connection: x, y\r\n',
    'Connection: closed\r\n',
    'Connection: "close"\r\n',
  ])
  each(t, (lines) => isPersistent(requestOf(lines)), false, [
    'Connection: close\r\n',
    'CONNECTION: CLOSE\r\n',
    'Connection: keep-alive, close\r\n',
    'Connection: keep-alive\r\nConnection: x,\tclose \r\n',
  ])
})

t.test('with HTTP/1.0 no connection goes on, whatever is said', async (t) => {
  t.equal(isPersistent(requestOf('Connection: keep-alive\r\n', 'GET / HTTP/1.0')), false)
  t.equal(isPersistent(responseOf('Connection: keep-alive\r\n', 'HTTP/1.0 200 OK')), false)
})

t.test(
  'a WebSocket is asked for with GET, in HTTP/1.1, without a body, by both fields, and nothing else is',
  async (t) => {
    const [upgrade, connection] = ['Upgrade: websocket\r\n', 'Connection: Upgrade\r\n']
    const asks = (lines: string, first?: string) => screened(lines, first).upgrade
    t.equal(asks(upgrade + connection), true)
    t.equal(asks('UPGRADE: WebSocket\r\nConnection: keep-alive, Upgrade\r\n'), true)
    t.equal(asks(upgrade), false)
    t.equal(asks(connection), false)
    t.equal(asks(upgrade + connection, 'POST / HTTP/1.1'), false)
    t.equal(asks(upgrade + connection, 'GET / HTTP/1.0'), false)
    t.equal(asks(`${upgrade + connection}Content-Length: 0\r\n`), false)
    t.equal(asks(`${upgrade + connection}Transfer-Encoding: chunked\r\n`), false)
    each(t, (value) => asks(`Upgrade: ${value}\r\n${connection}`), false, [
      'h2c',
      'websocket, h2c',
      'websocket,',
      'websocket/13',
      'websocket\xa0',
      '',
    ])
    t.equal(asks(`${upgrade + upgrade}${connection}`), false)
    t.equal(asks(`${upgrade}Connection: Upgraded\r\n`), false)
  },
)

t.test('a request that has passed three times is in a circle', async (t) => {
  t.equal(outcome('Via: 1.1 slotgate, 1.1 slotgate\r\n'), 'taken')
  t.equal(outcome('Via: 1.1 slotgate, 1.1 slotgate\r\nVia: 1.0 x, 1.0 slotgate\r\n'), 'loop_detected')
})

t.test('what the reader of heads throws becomes the answer of its kind', async (t) => {
  const answer = (error: unknown) => {
    const refusal = asRefusal(error, RELAY_CONFIG)
    return refusal instanceof SlotgateError ? refusal.entry.status : refusal
  }
  t.equal(answer(new Malformed('x')), 400)
  t.equal(answer(new Malformed('x', true)), 505)
  t.equal(answer(new TooManyFields()), 431)
  t.equal(answer(new TooLong('head')), 431)
  t.equal(answer(new TooLong('target')), 414)
  const other = new Error('x')
  t.equal(answer(other), other)
})
