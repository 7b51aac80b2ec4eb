// Which fields go on, and the heads that are written with them: by the pure functions alone.
import t from 'tap'
import { HeadReader } from '../../../src/relay/http1/head.ts'
import {
  afterContent,
  beforeContent,
  dateField,
  interimHead,
  membersOf,
  type RequestFacts,
  requestFields,
  requestHead,
  responseHead,
  switchFields,
  timesPassed,
} from '../../../src/relay/http1/outgoing.ts'
import { RELAY_CONFIG } from '../support.ts'
import { each, octets, requestOf, responseOf } from './support.ts'

const FACTS: RequestFacts = {
  minor: 1,
  host: 'a.test',
  requestId: 'id',
  peer: '192.0.2.1',
  trusted: false,
  forwarded: 'x-forwarded',
  framing: { kind: 'none' },
  maxForwards: undefined,
  trace: null,
}
const OURS =
  'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\nVia: 1.1 slotgate\r\nX-Request-Id: id\r\n'
/** The fields of the same names, as they are written where a trusted proxy has a say. */
const OURS_TRUSTED =
  'x-forwarded-for: 192.0.2.1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a.test\r\nVia: 1.1 slotgate\r\nX-Request-Id: id\r\n'

/** What goes on of a client's field lines, between its Host and our own fields. */
function kept(lines: string, facts: Partial<RequestFacts> = {}): string {
  const fields = requestFields(requestOf(lines), { ...FACTS, ...facts })
  const ours = facts.trusted ? OURS_TRUSTED : OURS
  if (!fields.startsWith('Host: a.test\r\n') || !fields.endsWith(ours)) throw new Error(fields)
  return fields.slice('Host: a.test\r\n'.length, -ours.length)
}

const DATE = 'Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n'
/** What goes on of an app's field lines. */
const keptOfAnswer = (lines: string): string => {
  const head = responseHead(responseOf(DATE + lines), { kind: 'none' }, false)
  return head.slice(`HTTP/1.1 200 OK\r\n${DATE}`.length, -2)
}

t.test('members of a list are set apart by commas, spaces and tabs, and by nothing else', async (t) => {
  t.same(membersOf(['a, B\t,\t c', 'D']), ['a', 'b', 'c', 'd'])
  t.same(membersOf(['', ' , ']), ['', '', ''])
  t.same(membersOf(['\xa0close', 'x\xa0', 'a b']), ['\xa0close', 'x\xa0', 'a b'])
})

t.test('long runs of blanks in a list take no time', async (t) => {
  const begunAt = performance.now()
  membersOf([`a${' \t'.repeat(200_000)}b`, `${' '.repeat(200_000)},`])
  t.ok(performance.now() - begunAt < 1_000)
})

t.test('fields that are written as usual go on in one piece, others with one space', async (t) => {
  t.equal(kept('A: 1\r\nB: 2\r\n'), 'A: 1\r\nB: 2\r\n')
  t.equal(kept('A:1\r\nB:  2\r\nC: 3 \r\nD:\t4\r\nE: 5\t\r\n'), 'A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n')
})

t.test('an empty value stays an empty value', async (t) => {
  each(t, kept, 'A: \r\n', ['A:\r\n', 'A: \r\n', 'A:\t \r\n'])
  t.equal(kept('A: \r\nB: 1\r\n'), 'A: \r\nB: 1\r\n')
})

t.test('a dropped field leaves its neighbours as they were, wherever it stands', async (t) => {
  const drop = 'TE: trailers\r\n'
  t.equal(kept(`${drop}A: 1\r\nB:2\r\n`), 'A: 1\r\nB: 2\r\n')
  t.equal(kept(`A: 1\r\n${drop}B: 2\r\n`), 'A: 1\r\nB: 2\r\n')
  t.equal(kept(`A: 1\r\nB:2\r\n${drop}`), 'A: 1\r\nB: 2\r\n')
  t.equal(kept(`${drop}${drop}A: 1\r\n${drop}`), 'A: 1\r\n')
  t.equal(kept(drop), '')
})

t.test('the client may write its Host as it likes', async (t) => {
  for (const line of ['Host:a.test', 'HOST:  a.test\t']) {
    const head = new HeadReader(RELAY_CONFIG)
    const text = octets(`GET / HTTP/1.1\r\n${line}\r\n\r\n`)
    head.readRequest(text, 0, text.length)
    t.equal(requestFields(head, FACTS), `${line.slice(0, 4)}: a.test\r\n${OURS}`)
  }
})

t.test('what stands before a head in the buffer is no part of what goes on', async (t) => {
  const head = new HeadReader(RELAY_CONFIG)
  const before = 'GET /before HTTP/1.1\r\nHost: b.test\r\n\r\n'
  const text = octets(`${before}GET / HTTP/1.1\r\nHost: a.test\r\nA: 1\r\nTE: x\r\nB: 2\r\n\r\nbehind`)
  head.readRequest(text, before.length, text.length)
  t.equal(requestFields(head, FACTS), `Host: a.test\r\nA: 1\r\nB: 2\r\n${OURS}`)
})

t.test('octets beyond ASCII and fields of the same name go on, in order', async (t) => {
  t.equal(kept('X: \xe9\xff\r\nx: b\r\nX: a\r\n'), 'X: \xe9\xff\r\nx: b\r\nX: a\r\n')
})

t.test('names that objects have of their own are names like any other', async (t) => {
  t.equal(kept('__proto__: 1\r\nconstructor: 2\r\n'), '__proto__: 1\r\nconstructor: 2\r\n')
})

t.test('Connection takes away what it names, in any case, on any line', async (t) => {
  t.equal(kept('Connection: X-A, x-b\r\nx-a: 1\r\nX-B: 1\r\nX-AB: 1\r\n'), 'X-AB: 1\r\n')
  t.equal(kept('X-A: 1\r\nX-B: 1\r\nConnection: close\r\nCONNECTION: x-b ,\tX-A\r\n'), '')
  t.equal(kept('Connection: accept\r\nAccept: */*\r\n'), '')
})

t.test('an option with another octet at its end is another option', async (t) => {
  t.equal(kept('Connection: X-A\xa0\r\nX-A: 1\r\n'), 'X-A: 1\r\n')
})

t.test('Connection takes away nothing that decides who asks, where, and how much', async (t) => {
  const names = ['Authorization', 'Cookie', 'Date']
  for (const name of names) t.equal(kept(`Connection: ${name}\r\n${name}: x\r\n`), `${name}: x\r\n`, name)
  t.match(requestFields(requestOf('Connection: Host\r\n'), FACTS), /^Host: a\.test\r\n/)
  const ours = 'Via, X-Request-Id, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Content-Length'
  const fields = requestFields(requestOf(`Connection: ${ours}\r\nContent-Length: 3\r\n`), {
    ...FACTS,
    framing: { kind: 'length', bytes: 3 },
  })
  t.equal(fields, `Host: a.test\r\n${OURS}Content-Length: 3\r\n`)
})

t.test('Connection takes nothing away that a trusted proxy says', async (t) => {
  const lines = 'X-Forwarded-Port: 1\r\nX-Real-IP: 192.0.2.9\r\n'
  t.equal(kept(`Connection: X-Forwarded-Port, X-Real-IP\r\n${lines}`, { trusted: true }), lines)
})

t.test('what an untrusted client says of others goes, however it is spelled', async (t) => {
  for (const name of ['x-forwarded-port', 'X-FORWARDED-', 'X-Real-IP', 'Forwarded', 'X-Forwarded-For'])
    t.equal(kept(`${name}: 1\r\n`), '', name)
  for (const name of ['X-Forwarded', 'XX-Forwarded-For', 'Forwarded-For'])
    t.equal(kept(`${name}: 1\r\n`), `${name}: 1\r\n`, name)
})

t.test('look-alikes of what means something here go, with and without the other', async (t) => {
  each(t, (name) => kept(`A: 1\r\n${name}: 1\r\nB: 2\r\n`), 'A: 1\r\nB: 2\r\n', [
    'Content_Length',
    'Transfer_Encoding',
    'transfer_ENCODING',
    'X_Forwarded_For',
    'X-Forwarded_For',
    'X_Forwarded-Anything',
    'X_Real_IP',
    'X_Request_Id',
    'Keep_Alive',
    'Proxy_Connection',
    'Max_Forwards',
    'HTTP2_Settings',
    'Slotgate_Role',
  ])
})

t.test('other names with an underscore stay, unless the same name with dashes is there', async (t) => {
  t.equal(kept('api_key: 1\r\nhos_t: 2\r\n'), 'api_key: 1\r\nhos_t: 2\r\n')
  t.equal(kept('X_Tenant: 1\r\nx-tenant: 2\r\n'), 'x-tenant: 2\r\n')
  t.equal(kept('x-tenant: 2\r\nX_TENANT: 1\r\nX_Ten: 3\r\n'), 'x-tenant: 2\r\nX_Ten: 3\r\n')
  t.equal(kept('A-B_C: 1\r\na-b-c: 2\r\n'), 'a-b-c: 2\r\n')
})

t.test('an underscore in one name is no reason to drop a field with another', async (t) => {
  t.equal(kept('_: 1\r\nA:2\r\n'), '_: 1\r\nA: 2\r\n')
})

t.test('Via goes on with slotgate behind it, and says what the client spoke', async (t) => {
  const via = (lines: string, minor: number) =>
    /Via: (.*)\r\n/.exec(requestFields(requestOf(lines), { ...FACTS, minor }))?.[1]
  t.equal(via('', 0), '1.0 slotgate')
  t.equal(via('Via: 1.0 fred\r\nA: 1\r\nvia: 1.1 x (a, b)\r\n', 1), '1.0 fred, 1.1 x (a, b), 1.1 slotgate')
})

t.test('passing by is counted by our own name alone', async (t) => {
  t.equal(timesPassed(requestOf('')), 0)
  t.equal(timesPassed(requestOf('Via: 1.1 slotgate, 1.1 slotgate-2\r\nVia: HTTP/1.1\tSlotgate (x)\r\n')), 2)
  t.equal(timesPassed(requestOf('Via: slotgate\r\n')), 0)
})

t.test('framing is one field of ours, or none', async (t) => {
  const lines = 'Content-Length: 5\r\nTransfer-Encoding: gzip\r\nMax-Forwards: 9\r\nExpect: x\r\n'
  const end = (framing: RequestFacts['framing']) =>
    requestFields(requestOf(lines), { ...FACTS, framing }).slice(`Host: a.test\r\n${OURS}`.length)
  t.equal(end({ kind: 'none' }), '')
  t.equal(end({ kind: 'length', bytes: 0 }), 'Content-Length: 0\r\n')
  t.equal(end({ kind: 'length', bytes: 999_999_999_999_999 }), 'Content-Length: 999999999999999\r\n')
  t.equal(end({ kind: 'chunked' }), 'Transfer-Encoding: chunked\r\n')
})

t.test('Max-Forwards is written where it was counted down', async (t) => {
  t.match(requestFields(requestOf(''), { ...FACTS, maxForwards: 4 }), /\r\nMax-Forwards: 4\r\n$/)
})

t.test('a head to an app says that the connection ends only where it does', async (t) => {
  t.equal(requestHead('GET', '/x?y', 'A: 1\r\n', true), 'GET /x?y HTTP/1.1\r\nA: 1\r\n\r\n')
  t.equal(requestHead('GET', '/', '', false), 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n')
})

t.test('an answer keeps its cookies apart, and loses what belongs to its connection', async (t) => {
  t.equal(keptOfAnswer('Set-Cookie: a\r\nset-cookie: b\r\n'), 'Set-Cookie: a\r\nset-cookie: b\r\n')
  t.equal(keptOfAnswer('Connection: X-Secret\r\nX-Secret: 1\r\nKeep-Alive: timeout=5\r\nA:1\r\n'), 'A: 1\r\n')
  t.equal(
    keptOfAnswer('Trailer: X\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nTransfer-Encoding: chunked\r\n'),
    '',
  )
})

t.test('an answer may have underscores, and fields that only requests lose', async (t) => {
  const lines =
    'X_Tenant: 1\r\nX-Tenant: 2\r\nX-Forwarded-For: 1\r\nX-Request-Id: 7\r\nVia: 1.1 app\r\nExpect: x\r\n'
  t.equal(keptOfAnswer(lines), lines)
})

t.test('an answer gets a Date if it has none, even if its Connection names it', async (t) => {
  const dates = (lines: string) =>
    responseHead(responseOf(lines), { kind: 'none' }, false).match(/^date: .+ GMT\r$/gim)?.length
  t.equal(dates(''), 1)
  t.equal(dates('Connection: date\r\n'), 1)
  t.equal(dates(`Connection: date\r\n${DATE}`), 1)
  t.equal(dates(DATE.toLowerCase().replace('gmt', 'GMT')), 1)
})

t.test('Date is the time of now, to the second', async (t) => {
  const [, date = ''] = /^Date: (.{29})\r\n$/.exec(dateField()) ?? []
  t.ok(Math.abs(Date.parse(date) - Date.now()) < 2_000, date)
})

t.test('the status line is our own: our version, the status, and the phrase of the app', async (t) => {
  const line = (first: string) =>
    responseHead(responseOf('', first), { kind: 'none' }, false).split('\r\n')[0]
  t.equal(line('HTTP/1.0 200 OK'), 'HTTP/1.1 200 OK')
  t.equal(line('HTTP/1.1 404'), 'HTTP/1.1 404 ')
  t.equal(line('HTTP/1.1 599 \xe9\ta '), 'HTTP/1.1 599 \xe9\ta ')
})

t.test('an answer ends with its framing and with whether the connection does', async (t) => {
  const end = (framing: RequestFacts['framing'], closes: boolean) =>
    responseHead(responseOf(`${DATE}Content-Length: 3\r\n`), framing, closes).split(DATE)[1]
  t.equal(end({ kind: 'length', bytes: 3 }, false), 'Content-Length: 3\r\n\r\n')
  t.equal(end({ kind: 'chunked' }, true), 'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n')
  t.equal(end({ kind: 'close' }, true), 'Connection: close\r\n\r\n')
})

t.test('an interim answer and a switch have no framing, and no Date of ours', async (t) => {
  const head = responseOf(
    'Link: </a>\r\nContent-Length: 3\r\nConnection: close\r\n',
    'HTTP/1.1 103 Early Hints',
  )
  t.equal(interimHead(head), 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n')
  t.equal(
    switchFields(responseOf('Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n')),
    'Sec-WebSocket-Accept: x\r\n',
  )
})

t.test('content is chunked piece by piece, and the end comes once', async (t) => {
  t.equal(beforeContent('chunked', 255), 'ff\r\n')
  t.equal(afterContent('chunked', 255, false), '\r\n')
  t.equal(afterContent('chunked', 255, true), '\r\n0\r\n\r\n')
  t.equal(beforeContent('chunked', 0), '')
  t.equal(afterContent('chunked', 0, false), '')
  t.equal(afterContent('chunked', 0, true), '0\r\n\r\n')
  for (const kind of ['none', 'length', 'close'] as const) {
    t.equal(beforeContent(kind, 5), '', kind)
    t.equal(afterContent(kind, 5, true), '', kind)
  }
})
