// What the front door refuses before anything is routed: ambiguous heads, foreign protocols, limits.
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { dial, H, hasAnswer, SMUGGLED, startApp, startObserved, startRelay, statusOf } from './support.ts'

/** Bytes that neither the vectors nor the duties hold to this very status. */
const REFUSED: [title: string, bytes: string, status: number][] = [
  ['no Host in HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', 400],
  ...['', 'u@a.test', 'a:x', 'a:70000', '[::g]', '-a', '\xffa'].map((host): [string, string, number] => [
    `Host "${host}"`,
    `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
    400,
  ]),
  ['HTTP/2.0 in text', `GET / HTTP/2.0\r\n${H}\r\n`, 505],
  ['ICE', `SOURCE /x ICE/1.0\r\n${H}\r\n`, 400],
  ['RTSP', `DESCRIBE /x RTSP/1.0\r\n${H}\r\n`, 400],
  [
    'CONNECT with a request behind it',
    `CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n${SMUGGLED}`,
    405,
  ],
  ['TRACE', `TRACE / HTTP/1.1\r\n${H}\r\n`, 405],
  ['another scheme', `GET ftp://a.test/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['https on a plain listener', `GET https://a.test/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['userinfo', `GET http://u:p@a.test/ HTTP/1.1\r\n${H}\r\n`, 400],
  ['a target that names another host', `GET http://b.test/ HTTP/1.1\r\n${H}\r\n`, 400],
  [
    'length and chunks',
    `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
  ],
  ['two lengths', `POST / HTTP/1.1\r\n${H}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx`, 400],
  ['chunks in HTTP/1.0', `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
  ...['gzip, chunked', 'identity, chunked', ',chunked', 'xchunked', 'gzip', 'chunked, gzip', '"chunked"'].map(
    (coding): [string, string, number] => [
      `Transfer-Encoding ${coding}`,
      `POST / HTTP/1.1\r\n${H}Transfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n${SMUGGLED}`,
      400,
    ],
  ),
  ...['+5', '05', '5,5', '5 5', '9007199254740993'].map((length): [string, string, number] => [
    `Content-Length ${length}`,
    `POST / HTTP/1.1\r\n${H}Content-Length: ${length}\r\n\r\nhello`,
    400,
  ]),
  [
    'an expectation in disguise',
    `POST / HTTP/1.1\r\n${H}Expect: x 100-continue\r\nContent-Length: 1\r\n\r\nx`,
    417,
  ],
  ['two expectations', `POST / HTTP/1.1\r\n${H}Expect: 100-continue, y\r\nContent-Length: 1\r\n\r\nx`, 417],
  ['too many fields', `GET / HTTP/1.1\r\n${H}${'x: y\r\n'.repeat(100)}\r\n`, 431],
  ['too large a head', `GET / HTTP/1.1\r\n${H}X: ${'y'.repeat(17_000)}\r\n\r\n`, 431],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01', 400],
]

const answersIn = (text: string): number => text.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0

t.test(
  'an ambiguous or foreign request is answered, its connection closed, and the app never asked',
  async (t) => {
    const { bench, seen } = await startObserved(t)
    for (const [title, bytes, status] of REFUSED) {
      const wire = dial(t, bench.port, bytes)
      const text = await wire.closed()
      t.equal(statusOf(text), status, title)
      t.equal(answersIn(text), 1, `${title}: one answer`)
    }
    t.same(seen, [])
    t.equal(bench.claims(), 0)
  },
)

t.test('a target in absolute form goes on as a path', async (t) => {
  const { bench, seen } = await startObserved(t)
  for (const target of ['http://a.test/x?y=1', 'HTTP://A.test', 'http://a.test?q']) {
    await dial(t, bench.port, `GET ${target} HTTP/1.1\r\n${H}\r\n`).until(hasAnswer)
  }
  t.same(
    seen.map((text) => text.split('\r\n', 1)[0]),
    ['GET /x?y=1 HTTP/1.1', 'GET / HTTP/1.1', 'GET /?q HTTP/1.1'],
  )
})

t.test(
  'OPTIONS for the front door itself is answered there; one with hops left goes on with one fewer',
  async (t) => {
    const { bench, seen } = await startObserved(t)
    t.equal(statusOf(await dial(t, bench.port, `OPTIONS * HTTP/1.1\r\n${H}\r\n`).until(hasAnswer)), 204)
    t.equal(
      statusOf(
        await dial(t, bench.port, `OPTIONS /x HTTP/1.1\r\n${H}Max-Forwards: 0\r\n\r\n`).until(hasAnswer),
      ),
      204,
    )
    t.same(seen, [])
    await dial(t, bench.port, `OPTIONS /x HTTP/1.1\r\n${H}Max-Forwards: 5\r\n\r\n`).until(hasAnswer)
    t.match(seen[0], /\r\nMax-Forwards: 4\r\n/)
  },
)

t.test('a broken chunk ends the request at the app and answers 400 once', async (t) => {
  const bench = await startRelay(t)
  const begun = Promise.withResolvers<IncomingMessage>()
  const app = await startApp(t, begun.resolve)
  await bench.promote(app.address)
  const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`)
  const request = await begun.promise
  const aborted = once(request, 'error')
  wire.socket.write(`zz\r\n${SMUGGLED}`)
  const text = await wire.closed()
  await aborted
  t.notOk(request.complete)
  t.equal(statusOf(text), 400)
  t.equal(answersIn(text), 1)
})

t.test('a body above the limit is refused by its length, or when it gets there', async (t) => {
  const { bench } = await startObserved(t, { relay: { bodyLimitBytes: 10 } })
  const byLength = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 11\r\n\r\nhello world`)
  t.equal(statusOf(await byLength.until(hasAnswer)), 413)
  const byChunks = dial(
    t,
    bench.port,
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n`,
  )
  t.equal(statusOf(await byChunks.until(hasAnswer)), 413)
  const within = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 10\r\n\r\nhello worl`)
  t.equal(statusOf(await within.until(hasAnswer)), 200)
})

t.test('a body that does not go on is a 408', async (t) => {
  const bench = await startRelay(t, { relay: { stallTimeoutMs: 100 } })
  const app = await startApp(t, () => {})
  await bench.promote(app.address)
  const wire = dial(t, bench.port, `POST / HTTP/1.1\r\n${H}Content-Length: 10\r\n\r\nhel`)
  t.equal(statusOf(await wire.until(hasAnswer)), 408)
  t.match(await bench.logged(() => true), { code: 'request_timeout', status: 408 })
})
