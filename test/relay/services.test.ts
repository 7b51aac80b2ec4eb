// What one service has otherwise than the rest of the front door: its prefix taken off, limits and error pages of its own.
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import { answerTo } from '../../src/relay/refuse.ts'
import {
  collect,
  dial,
  GET,
  H,
  hasAnswer,
  headOf,
  type Options,
  refusedAddress,
  service,
  startApp,
  startObserved,
  startRelay,
  statusOf,
} from './support.ts'
import { UPGRADE } from './tunnels.ts'

const upgradeRequest = (target: string): string => UPGRADE.replace('/ws?a=b', target)

const STRIPPED = service({ pathPrefix: '/app', stripPrefix: true })

const TARGETS: [sent: string, got: string][] = [
  ['/app', '/'],
  ['/app/', '/'],
  ['/app?x=1', '/?x=1'],
  ['/app/?x=1', '/?x=1'],
  ['/app/app/x', '/app/x'],
  ['/app/a%2Fb/%20?q=%2F%23', '/a%2Fb/%20?q=%2F%23'],
  ['/app//x', '//x'],
  ['/app/../x', '/../x'],
  ['/app/./x', '/./x'],
  ['http://a.test/app/x?y', '/x?y'],
  ['http://a.test/app', '/'],
]

t.test('a prefix is taken off, and nothing else of the target is touched', async (t) => {
  const { bench, seen } = await startObserved(t, { services: [STRIPPED] })
  for (const [sent, got] of TARGETS) {
    const wire = dial(t, bench.port, `GET ${sent} HTTP/1.1\r\n${H}\r\n`)
    t.equal(statusOf(await wire.until(hasAnswer)), 200, sent)
    const { line, fields } = headOf(seen.at(-1) ?? '')
    t.equal(line, `GET ${got} HTTP/1.1`, sent)
    t.same(
      fields.filter(([name]) => name === 'x-forwarded-prefix'),
      [['x-forwarded-prefix', '/app']],
    )
  }
  const count = seen.length
  for (const target of ['/apple', '/App/x', '/%61pp/x', '/', '//app/x']) {
    const wire = dial(t, bench.port, `GET ${target} HTTP/1.1\r\n${H}\r\n`)
    t.equal(statusOf(await wire.until(hasAnswer)), 404, target)
  }
  const local = dial(t, bench.port, `OPTIONS * HTTP/1.1\r\n${H}\r\n`)
  t.equal(statusOf(await local.until(hasAnswer)), 204)
  t.equal(seen.length, count, 'and what is not below the prefix is not its')
})

t.test('the app is told of the prefix by nobody but slotgate and who is trusted', async (t) => {
  const said = 'X-Forwarded-Prefix: /outer\r\n'
  const prefixes = async (options: Options, lines: string) => {
    const { bench, seen } = await startObserved(t, options)
    const wire = dial(t, bench.port, `GET /app/x HTTP/1.1\r\n${H}${lines}\r\n`)
    await wire.until(hasAnswer)
    return headOf(seen.at(-1) ?? '').fields.flatMap(([name, value]) =>
      name.replace('_', '-') === 'x-forwarded-prefix' ? [value] : [],
    )
  }
  const trusting = { relay: { trustedProxies: ['127.0.0.1'] } }
  t.same(await prefixes({ services: [STRIPPED] }, said), ['/app'])
  t.same(await prefixes({ services: [STRIPPED] }, 'X_Forwarded-Prefix: /outer\r\n'), ['/app'])
  t.same(await prefixes({ ...trusting, services: [STRIPPED] }, said), ['/outer/app'])
  t.same(await prefixes({ ...trusting, services: [STRIPPED] }, `${said}${said}`), ['/app'])
  t.same(await prefixes({ ...trusting, services: [STRIPPED] }, 'X-Forwarded-Prefix: //evil/\r\n'), ['/app'])
  t.same(await prefixes({ ...trusting, services: [service({ pathPrefix: '/app' })] }, said), ['/outer'])
})

t.test('an upgrade gets the target without the prefix as well', async (t) => {
  const { bench, seen } = await startObserved(
    t,
    { services: [STRIPPED] },
    () => 'HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n',
  )
  for (const [sent, got] of TARGETS) {
    await dial(t, bench.port, upgradeRequest(sent)).until(hasAnswer)
    const { line, fields } = headOf(seen.at(-1) ?? '')
    t.equal(line, `GET ${got} HTTP/1.1`, sent)
    t.ok(fields.some(([name, value]) => name === 'x-forwarded-prefix' && value === '/app'))
  }
})

t.test('an internal path is hidden as the app would get it', async (t) => {
  const hiding = service({ pathPrefix: '/app', stripPrefix: true, hiddenPaths: ['/healthz'] })
  const { bench, seen } = await startObserved(t, { services: [hiding] })
  for (const target of [
    '/app/healthz',
    '/app//healthz',
    '/app/x/../healthz',
    '/app/%68ealthz',
    '/app/../healthz',
  ]) {
    const wire = dial(t, bench.port, `GET ${target} HTTP/1.1\r\n${H}\r\n`)
    t.equal(statusOf(await wire.until(hasAnswer)), 404, target)
  }
  t.same(seen, [])
})

t.test('a service has its own limit of a body, below or above that of all', async (t) => {
  const { bench } = await startObserved(t, {
    relay: { bodyLimitBytes: 10 },
    services: [
      service({ name: 'small', pathPrefix: '/small', limits: { bodyLimitBytes: 4, openRequests: 0 } }),
      service({ name: 'large', pathPrefix: '/large', limits: { bodyLimitBytes: 20, openRequests: 0 } }),
      service({ name: 'any', pathPrefix: '/any', limits: { bodyLimitBytes: 0, openRequests: 0 } }),
      service({ name: 'other', pathPrefix: '/' }),
    ],
  })
  const { address } = await startApp(t, (request, response) =>
    request.resume().on('end', () => response.end()),
  )
  for (const index of [0, 1, 2, 3]) await bench.promote(address, 'blue', index)
  const LENGTHS: [path: string, bytes: number, status: number][] = [
    ['/small', 4, 200],
    ['/small', 5, 413],
    ['/large', 20, 200],
    ['/large', 21, 413],
    ['/any', 1_000, 200],
    ['/other', 10, 200],
    ['/other', 11, 413],
  ]
  for (const [path, bytes, status] of LENGTHS) {
    const body = 'x'.repeat(bytes)
    const byLength = dial(
      t,
      bench.port,
      `POST ${path} HTTP/1.1\r\n${H}Content-Length: ${bytes}\r\n\r\n${body}`,
    )
    t.equal(statusOf(await byLength.until(hasAnswer)), status, `${path} ${bytes}`)
    const chunked = `POST ${path} HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`
    const byChunks = dial(t, bench.port, `${chunked}${bytes.toString(16)}\r\n${body}\r\n0\r\n\r\n`)
    t.equal(
      statusOf(await byChunks.until((text) => /^HTTP/.test(text))),
      status,
      `${path} ${bytes} in chunks`,
    )
  }
})

t.test('a service has its own time for the beginning of an answer', async (t) => {
  const bench = await startRelay(t, {
    services: [
      service({ name: 'quick', pathPrefix: '/quick', limits: { upstreamTimeoutMs: 100, openRequests: 0 } }),
      service({ name: 'other' }),
    ],
  })
  const slow = await startApp(t, () => {})
  await bench.promote(slow.address, 'blue', 0)
  const late = dial(t, bench.port, `GET /quick HTTP/1.1\r\n${H}\r\n`)
  t.equal(statusOf(await late.until(hasAnswer)), 504)
  const tunnel = dial(t, bench.port, upgradeRequest('/quick'))
  t.equal(statusOf(await tunnel.until(hasAnswer)), 504)
})

t.test('a release answers so many requests at once and no more, over all threads', async (t) => {
  const bench = await startRelay(t, { threads: 2, services: [service({ limits: { openRequests: 3 } })] })
  const open: (() => void)[] = []
  const { server, address } = await startApp(t, (_, response) => void open.push(() => response.end('done')))
  await bench.promote(address)
  const first = [1, 2, 3].map(() => dial(t, bench.port, GET))
  while (open.length < 3) await once(server, 'request')
  const more = await Promise.all([1, 2, 3, 4].map(() => dial(t, bench.port, GET).until(hasAnswer)))
  for (const text of more) {
    t.equal(statusOf(text), 503)
    t.match(text, /"code":"too_many_open_requests"/)
    t.match(text, /Retry-After: /)
  }
  // Whoever is turned away is counted no more, once that is written.
  while (bench.claims() > 3) await setImmediate()
  for (const end of open.splice(0)) end()
  for (const wire of first) t.equal(statusOf(await wire.until(hasAnswer)), 200)
  const next = dial(t, bench.port, GET)
  while (open.length < 1) await once(server, 'request')
  for (const end of open) end()
  t.equal(statusOf(await next.until(hasAnswer)), 200)
})

const LIMITS = { bodyLimitBytes: 0, upstreamTimeoutMs: 1_000, openRequests: 0 }

const PAGES = {
  503: '<p>{status} {code}: {sentence}</p>',
  upstream_refused: '<p class="{own}">{code} {request_id}</p>',
}

const asking = (accept: string, path = '/', id = 'id-1') =>
  `GET ${path} HTTP/1.1\r\n${H}Accept: ${accept}\r\nX-Request-Id: ${id}\r\n\r\n`

const bodyOf = (text: string) => text.slice(text.indexOf('\r\n\r\n') + 4)

t.test('a service has pages of its own, by code before status, for who accepts HTML', async (t) => {
  const bench = await startRelay(t, {
    services: [service({ errorPages: PAGES }), service({ hosts: ['b.test'] })],
  })
  const answer = async (request: string) => dial(t, bench.port, request).until(hasAnswer)
  const nothing = await answer(asking('text/html'))
  t.match(nothing, /^HTTP\/1.1 503 [\s\S]*Content-Type: text\/html; charset=utf-8\r\n/)
  t.match(nothing, /Retry-After: /)
  t.equal(bodyOf(nothing), '<p>503 nothing_live: No release of this service is live yet.</p>')
  t.match(await answer(asking('application/json')), /"code":"nothing_live"/)
  t.match(await answer(asking('text/html').replace('a.test', 'b.test')), /<!doctype html>/)
  await bench.promote(await refusedAddress(t))
  t.equal(bodyOf(await answer(asking('text/html'))), '<p class="{own}">upstream_refused id-1</p>')
  const tunnel = await answer(upgradeRequest('/').replace('\r\n\r\n', '\r\nAccept: text/html\r\n\r\n'))
  t.match(bodyOf(tunnel), /^<p class="\{own\}">upstream_refused /)
})

t.test('what stands in for a placeholder is text, whatever it holds', async (t) => {
  const route = {
    index: 0,
    service: service({ errorPages: { 400: "<i title='{sentence}'>{code}" } }),
    limits: LIMITS,
    isPreview: false,
    preview: null,
  }
  const error = new SlotgateError('bad_request', { detail: `</i><b title='x' id="y">&` })
  const { body } = answerTo(error, { accept: 'text/html', requestId: 'id', route, release: undefined })
  t.match(body, '&lt;/i&gt;&lt;b title=&#39;x&#39; id=&quot;y&quot;&gt;&amp;')
  t.notMatch(body, '<b')
})

for (const threads of [0, 2]) {
  t.test(`pages change with a reload, with ${threads} threads`, async (t) => {
    const bench = await startRelay(t, { threads, services: [service({ errorPages: { 503: 'before' } })] })
    const page = async () => bodyOf(await dial(t, bench.port, asking('text/html')).until(hasAnswer))
    t.equal(await page(), 'before')
    bench.relay.setServices([service({ errorPages: { 503: 'after' } })])
    // Each thread is told in its own time; a connection may come to any of them.
    for (let round = 0; round < 5; round++) {
      while ((await page()) !== 'after');
    }
    t.equal(await page(), 'after')
  })
}

t.test('the page of the app itself is nobody else’s', async (t) => {
  const { bench } = await startObserved(
    t,
    { services: [service({ errorPages: { 503: 'ours' } })] },
    () => 'HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy',
  )
  const wire = collect(dial(t, bench.port, asking('text/html')).socket)
  t.equal(bodyOf(await wire.until(hasAnswer)), 'busy')
})
