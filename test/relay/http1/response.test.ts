// Which answers of an app may go on, and where their bodies end: by the pure functions alone.
import t from 'tap'
import { Malformed } from '../../../src/relay/http1/head.ts'
import { isEventStream, screenResponse } from '../../../src/relay/http1/response.ts'
import { each, responseOf, thrownBy } from './support.ts'

const screened = (lines: string, status = 200, method = 'GET', minor = 1) =>
  screenResponse(responseOf(lines, `HTTP/1.${minor} ${status} X`), method)

const LENGTH = { kind: 'length', bytes: 5 }
const NONE = { kind: 'none' }
const CLOSE = { kind: 'close' }
const CHUNKED = { kind: 'chunked' }

t.test('a body ends by its length, by its chunks, or with the connection', async (t) => {
  t.same(screened('Content-Length: 5\r\n'), { framing: LENGTH, declared: LENGTH })
  t.same(screened('Transfer-Encoding: chunked\r\n'), { framing: CHUNKED, declared: CHUNKED })
  t.same(screened(''), { framing: CLOSE, declared: CLOSE })
  t.same(screened('', 200, 'GET', 0), { framing: CLOSE, declared: CLOSE })
})

t.test('HEAD and 304 have no body, and may tell the length of one', async (t) => {
  for (const [status, method] of [
    [200, 'HEAD'],
    [304, 'GET'],
  ] as const) {
    t.same(screened('Content-Length: 5\r\n', status, method), { framing: NONE, declared: LENGTH })
    t.same(screened('Transfer-Encoding: chunked\r\n', status, method), { framing: NONE, declared: NONE })
    t.same(screened('', status, method), { framing: NONE, declared: NONE })
  }
})

t.test('204 has no body and tells of none, to HEAD as well', async (t) => {
  for (const method of ['GET', 'HEAD'])
    for (const lines of ['', 'Content-Length: 5\r\n', 'Transfer-Encoding: chunked\r\n'])
      t.same(screened(lines, 204, method), { framing: NONE, declared: NONE }, JSON.stringify(lines))
})

t.test('205 and others have the body that they declare', async (t) => {
  for (const status of [201, 205, 206, 404, 500, 999])
    t.same(screened('Content-Length: 5\r\n', status), { framing: LENGTH, declared: LENGTH })
})

t.test('framing that is wrong is refused, even where there is no body', async (t) => {
  for (const lines of [
    'Content-Length: 5\r\nContent-Length: 5\r\n',
    'Content-Length: 5, 5\r\n',
    'Content-Length: x\r\n',
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
    'Transfer-Encoding: gzip, chunked\r\n',
    'Transfer-Encoding: chunked\t\r\n',
  ])
    for (const [status, method] of [
      [200, 'GET'],
      [200, 'HEAD'],
      [204, 'GET'],
      [304, 'GET'],
    ] as const)
      t.ok(
        thrownBy(() => screened(lines, status, method)) instanceof Malformed,
        `${method} ${status} ${lines}`,
      )
  t.ok(thrownBy(() => screened('Transfer-Encoding: chunked\r\n', 200, 'GET', 0)) instanceof Malformed)
})

t.test('what is no final answer is none', async (t) => {
  for (const status of [100, 101, 103, 199])
    t.ok(thrownBy(() => screened('', status)) instanceof Malformed, String(status))
  for (const status of ['000', '001', '099'])
    t.ok(
      thrownBy(() => screenResponse(responseOf('', `HTTP/1.1 ${status} X`), 'GET')) instanceof Malformed,
      status,
    )
  t.same(screened('Content-Length: 5\r\n', 200).framing, LENGTH)
})

t.test('an event stream is told by its type, whatever its parameters', async (t) => {
  each(t, (type) => isEventStream(responseOf(`Content-Type: ${type}\r\n`)), true, [
    'text/event-stream',
    'Text/Event-Stream',
    'text/event-stream; charset=utf-8',
    'text/event-stream ;x',
  ])
  each(t, (type) => isEventStream(responseOf(`Content-Type: ${type}\r\n`)), false, [
    '',
    'text/event-streams',
    'text/plain',
    'x/text/event-stream',
    'text/plain; x=text/event-stream',
  ])
  t.equal(isEventStream(responseOf('')), false)
})
