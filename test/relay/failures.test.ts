// What the client and the log get when the app fails: 502, 503 and 504, the one retry, and nothing that leaks.
import t from 'tap'
import {
  dial,
  GET,
  hasAnswer,
  headOf,
  OK,
  refusedAddress,
  type Scope,
  startApp,
  startRawApp,
  startRelay,
  statusOf,
} from './support.ts'

t.test('an app that does not listen is a 502, on a connection that stays', async (t) => {
  const bench = await startRelay(t)
  await bench.promote(await refusedAddress(t))
  const wire = dial(t, bench.port, GET)
  const text = await wire.until(hasAnswer)
  t.equal(statusOf(text), 502)
  wire.socket.write(GET)
  await wire.until((all) => all.length > text.length)
  t.match(await bench.logged(() => true), {
    level: 'warn',
    code: 'upstream_refused',
    status: 502,
    service: 'invoices',
    release: 'r-blue',
    slot: 'blue',
    generation: 1,
    method: 'GET',
    client: '127.0.0.1',
  })
})

t.test('a missing Unix socket is a 502 too', async (t) => {
  const bench = await startRelay(t)
  await bench.promote({ kind: 'unix', path: '/nowhere/app.sock' })
  t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 502)
})

t.test('the page is HTML for who asks for HTML and a problem document for everybody else', async (t) => {
  const bench = await startRelay(t)
  const address = await refusedAddress(t)
  await bench.promote(address)
  const port = address.kind === 'tcp' ? String(address.port) : ''
  const id = 'X-Request-Id: id-1\r\n'
  const ask = async (accept: string) =>
    headOf(await dial(t, bench.port, `GET / HTTP/1.1\r\nHost: a.test\r\n${id}${accept}\r\n`).until(hasAnswer))
  const html = await ask('Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n')
  t.match(Object.fromEntries(html.fields), {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
  })
  t.match(html.body, /<p>The app refused the connection\.<\/p>/)
  t.match(html.body, /id-1/)
  for (const accept of ['', 'Accept: */*\r\n', 'Accept: application/json\r\n']) {
    const { fields, body } = await ask(accept)
    t.match(Object.fromEntries(fields), { 'content-type': 'application/problem+json' })
    t.match(JSON.parse(body), { code: 'upstream_refused', status: 502, stage: 'relay', request_id: 'id-1' })
    for (const leak of [port, '127.0.0.1', 'ECONN', 'node_modules']) t.notOk(body.includes(leak), leak)
  }
  const head = await dial(
    t,
    bench.port,
    'HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n',
  ).closed()
  t.equal(headOf(head).body, '')
})

t.test('what a client sends is not markup in its page', async (t) => {
  const bench = await startRelay(t)
  const text = await dial(
    t,
    bench.port,
    'CONNECT <b>:80 HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\nX-Request-Id: <b>\r\n\r\n',
  ).closed()
  t.notMatch(headOf(text).body, /<b>/)
})

const INVALID: Record<string, string> = {
  'not HTTP': '\x16\x03\x01garbage',
  'two lengths': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok',
  'length and chunks': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'another coding': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  'chunked twice':
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'chunks in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'HTTP/2.0 in text': 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'a folded field': 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok',
  'a line that ends early': 'HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: x=1\r\nContent-Length: 2\r\n\r\nok',
  'too many fields': `HTTP/1.1 200 OK\r\n${'x:\r\n'.repeat(1_500)}Content-Length: 2\r\n\r\nok`,
}

t.test('an answer that cannot be relayed is a 502', async (t) => {
  for (const [how, bytes] of Object.entries(INVALID)) {
    const bench = await startRelay(t)
    const app = await startRawApp(t, (socket) => {
      socket.on('data', () => socket.write(Buffer.from(bytes, 'latin1')))
    })
    await bench.promote(app.address)
    t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 502, how)
    t.match(await bench.logged(() => true), { code: 'upstream_invalid' }, how)
  }
})

t.test(
  'an app that closes without a word is a 502, once: a fresh connection is no reason to try again',
  async (t) => {
    const bench = await startRelay(t)
    const app = await startRawApp(t, (socket) => {
      socket.once('data', () => socket.end())
    })
    await bench.promote(app.address)
    t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 502)
    t.match(await bench.logged(() => true), { code: 'upstream_failed' })
    t.equal(app.sockets.length, 1)
  },
)

/** An app that answers one request on each connection, then closes at the next one, having read it. */
async function startStale(t: Scope, revives: boolean) {
  const bench = await startRelay(t)
  const requests: string[] = []
  const app = await startRawApp(t, (socket, nth) => {
    let answered = 0
    socket.on('data', (chunk: Buffer) => {
      requests.push(chunk.toString('latin1').split(' ', 1)[0] ?? '')
      if (answered === 0 && (nth === 1 || revives)) socket.write(OK)
      else socket.destroy()
      answered++
    })
  })
  await bench.promote(app.address)
  await dial(t, bench.port, GET).until(hasAnswer)
  requests.length = 0
  return { bench, app, requests }
}

t.test(
  'an idempotent request without a body is sent once more if a kept connection closed under it',
  async (t) => {
    const { bench, app, requests } = await startStale(t, true)
    t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 200)
    t.same(requests, ['GET', 'GET'])
    t.equal(app.sockets.length, 2)
  },
)

t.test('the second attempt is the last one', async (t) => {
  const { bench, requests } = await startStale(t, false)
  t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 502)
  t.same(requests, ['GET', 'GET'])
})

t.test('nothing else is sent twice', async (t) => {
  const heads = [
    'POST / HTTP/1.1\r\nHost: a.test\r\n\r\n',
    'POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n',
    'PATCH / HTTP/1.1\r\nHost: a.test\r\n\r\n',
    'PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx',
    'GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx',
  ]
  for (const bytes of heads) {
    const { bench, requests } = await startStale(t, true)
    t.equal(statusOf(await dial(t, bench.port, bytes).until(hasAnswer)), 502, bytes)
    t.equal(requests.length, 1, bytes)
  }
})

t.test('a kept connection that breaks after the first byte of an answer is not asked again', async (t) => {
  const bench = await startRelay(t)
  let requests = 0
  const app = await startRawApp(t, (socket) => {
    socket.on('data', () => {
      requests++
      if (requests === 1) socket.write(OK)
      else socket.write('HTTP/1.1 2', () => socket.resetAndDestroy())
    })
  })
  await bench.promote(app.address)
  await dial(t, bench.port, GET).until(hasAnswer)
  t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 502)
  t.equal(requests, 2)
})

t.test('an app that does not answer in time is a 504, and its connection is closed', async (t) => {
  const bench = await startRelay(t, { relay: { upstreamTimeoutMs: 100 } })
  const gone = Promise.withResolvers<void>()
  const app = await startApp(t, (request) => {
    request.socket.once('close', () => gone.resolve())
  })
  await bench.promote(app.address)
  t.equal(statusOf(await dial(t, bench.port, GET).until(hasAnswer)), 504)
  await gone.promise
  t.match(await bench.logged(() => true), { code: 'upstream_timeout', status: 504 })
})

t.test('an app that stops in the middle of a body is cut off', async (t) => {
  const bench = await startRelay(t, { relay: { stallTimeoutMs: 100 } })
  const app = await startApp(t, (_, response) => {
    response.writeHead(200, { 'content-length': 10 }).write('hello')
  })
  await bench.promote(app.address)
  t.match(await dial(t, bench.port, GET).closed(), /hello$/)
  t.match(await bench.logged(() => true), { code: 'upstream_timeout', status: 200 })
})

t.test('the log line of a good exchange has every field and no query', async (t) => {
  const bench = await startRelay(t)
  const app = await startApp(t, (_, response) => response.end('hello'))
  await bench.promote(app.address, 'green')
  await dial(
    t,
    bench.port,
    'GET /a/b?token=secret HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: id-1\r\n\r\n',
  ).until(hasAnswer)
  const { time, duration_ms, upstream_ms, ...line } = await bench.logged(() => true)
  t.same(line, {
    level: 'info',
    request_id: 'id-1',
    service: 'invoices',
    release: 'r-green',
    slot: 'green',
    generation: 1,
    method: 'GET',
    path: '/a/b',
    status: 200,
    bytes: 5,
    client: '127.0.0.1',
    msg: 'exchange',
  })
  t.type(duration_ms, 'number')
  t.type(upstream_ms, 'number')
})
