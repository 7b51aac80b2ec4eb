// Previews on the wire: what the app gets and what the client gets, for one service and for several on one host.
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { makePass, passKey } from '../../src/passes.ts'
import {
  type Bench,
  dial,
  hasAnswer,
  headOf,
  OK,
  type Options,
  PASS_SECRET,
  refusedAddress,
  type Scope,
  service,
  startObserved,
  statusOf,
} from './support.ts'

const passOf = (name: string, number = 0): string =>
  makePass(passKey(PASS_SECRET, name, number), Date.now() + 60_000)

const cookieOf = (name: string, number = 0): string => `slotgate-preview-${name}=${passOf(name, number)}`

const PREVIEWED = service({ preview: { hosts: ['p.test'] } })

/** What is live and what is idle answer alike; the place of the preview is behind those of the services. */
async function start(t: Scope, options: Options = {}, answerTo: (piece: string) => string = () => OK) {
  const { services = [PREVIEWED] } = options
  const { bench, app, seen } = await startObserved(t, { ...options, services }, answerTo)
  for (const place of services.keys()) {
    await bench.promote(app.address, 'blue', place)
    await bench.promote(app.address, 'green', services.length + place)
  }
  return { bench, seen }
}

const ask = (t: Scope, { port }: Bench, lines: string, target = '/', host = 'a.test') =>
  dial(t, port, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`).until(hasAnswer)

const isPreview = (text: string): boolean => /^slotgate-preview: r-green\r$/im.test(text)

const cookiesIn = (piece: string): string[] =>
  headOf(piece).fields.flatMap(([name, value]) => (name === 'cookie' ? [value] : []))

t.test('the app gets the other cookies, and no pass', async (t) => {
  const { bench, seen } = await start(t)
  const pass = cookieOf('invoices')
  const CASES: [sent: string, got: string[]][] = [
    [`Cookie: ${pass}\r\n`, []],
    [`Cookie: a=b; ${pass}; c=d\r\n`, ['a=b; c=d']],
    [`cOOkie:a=b;${pass}\r\n`, ['a=b']],
    [`Cookie: a=b\r\nCookie: ${pass}\r\nCookie: c=d\r\n`, ['a=b', 'c=d']],
    [`Cookie: slotgate-preview-invoices=old; ${pass}\r\n`, []],
    [`Cookie: xslotgate-preview-invoices=1; ${pass}\r\n`, ['xslotgate-preview-invoices=1']],
  ]
  for (const [sent, got] of CASES) {
    t.ok(isPreview(await ask(t, bench, sent)), sent)
    t.same(cookiesIn(seen.at(-1) ?? ''), got, sent)
  }
  const forged = Array.from(
    { length: 4 },
    (_, nth) => `slotgate-preview-invoices=1795352645.${'a'.repeat(42)}${nth}`,
  )
  t.ok(isPreview(await ask(t, bench, `Cookie: ${[...forged.slice(1), pass].join('; ')}\r\n`)))
  t.notOk(
    isPreview(await ask(t, bench, `Cookie: ${[...forged, pass].join('; ')}\r\n`)),
    'not all of many are tried',
  )
  // Those of other services on its host are none of its business either.
  const others = `Cookie: slotgate-preview-invoices=1.2; a=b; ${cookieOf('orders')}\r\n`
  for (const host of ['a.test', 'p.test']) {
    t.equal(isPreview(await ask(t, bench, others, '/', host)), host === 'p.test')
    t.same(cookiesIn(seen.at(-1) ?? ''), ['a=b'])
  }
})

t.test('nobody keeps an answer of a preview, and nobody else says that it is one', async (t) => {
  const kept = [
    'Cache-Control: public, max-age=600',
    'CDN-Cache-Control: max-age=600',
    'Surrogate-Control: max-age=600',
    'Expires: Thu, 01 Jan 2099 00:00:00 GMT',
    'Pragma: cache',
    'slotgate-preview: other',
  ]
  const { bench } = await start(
    t,
    {},
    () => `HTTP/1.1 200 OK\r\nETag: "1"\r\n${kept.join('\r\n')}\r\nContent-Length: 2\r\n\r\nok`,
  )
  const { fields } = headOf(await ask(t, bench, '', '/', 'p.test'))
  const named = (name: string) => fields.filter(([one]) => one === name).map(([, value]) => value)
  t.same(named('cache-control'), ['no-store'])
  t.same(named('slotgate-preview'), ['r-green'])
  t.same(named('etag'), ['"1"'])
  for (const name of ['cdn-cache-control', 'surrogate-control', 'expires', 'pragma']) t.same(named(name), [])
  t.match(await ask(t, bench, ''), kept.slice(0, 5).join('\r\n'), 'of what is live they may')
})

t.test('an error of a preview is one of the release that was asked', async (t) => {
  const { bench } = await start(t)
  await bench.promote(await refusedAddress(t), 'green', 1)
  const failed = await ask(t, bench, '', '/', 'p.test')
  t.equal(statusOf(failed), 502)
  t.ok(isPreview(failed))
  t.match(await bench.logged(({ preview }) => preview === true), {
    code: 'upstream_refused',
    release: 'r-green',
  })
  const counted = bench.relay.meter.counted().filter(({ service }) => service !== 1)
  t.ok(
    counted.every(({ statuses }) => statuses.size === 0),
    'and counts for nobody else',
  )
  // More changes of the idle slot than there are blocks for them.
  for (let generation = 0; generation < 70; generation++) bench.table.flip(1, 'blue')
  await ask(t, bench, '', '/', 'p.test')
  await bench.logged(({ preview, status }) => preview === true && status === 503)
  t.same(Object.fromEntries(bench.relay.meter.previewed(1)), { 502: 1, 503: 1 }, 'but for previews it does')
})

t.test('services that share a host have passes, links and cookies of their own', async (t) => {
  const { bench, seen } = await start(t, {
    services: [
      service({ name: 'shop', preview: { hosts: [] } }),
      service({ name: 'api', pathPrefix: '/api', stripPrefix: true, preview: { hosts: [] } }),
    ],
  })
  const both = `Cookie: ${cookieOf('shop')}; ${cookieOf('api')}\r\n`
  const shop = `Cookie: ${cookieOf('shop')}\r\n`
  t.ok(isPreview(await ask(t, bench, both, '/api/x')))
  t.match(seen.at(-1), /^GET \/x /)
  t.same(cookiesIn(seen.at(-1) ?? ''), [])
  t.ok(isPreview(await ask(t, bench, shop)))
  t.notOk(isPreview(await ask(t, bench, shop, '/api/x')))
  const link = await ask(t, bench, '', `/api/.slotgate/preview?pass=${passOf('api')}`)
  t.match(link, /^HTTP\/1\.1 303 /)
  t.match(link, /^Location: \/api\r$/m)
  t.match(
    link,
    /^Set-Cookie: slotgate-preview-api=\d+\.[\w-]+; Path=\/api; Max-Age=\d+; HttpOnly; SameSite=Lax\r$/m,
  )
  t.match(await ask(t, bench, '', `/api/.slotgate/preview?pass=${passOf('shop')}`), /^HTTP\/1\.1 403 /)
  const count = seen.length
  await ask(t, bench, '', '/api/.slotgate/preview/x')
  await ask(t, bench, '', '/x/.slotgate/preview')
  t.equal(seen.length, count + 2, 'the paths around are the app’s')
})

for (const threads of [0, 2]) {
  t.test(`passes of another number are void at once, with ${threads} threads`, async (t) => {
    const { bench } = await start(t, { threads })
    const before = `Cookie: ${cookieOf('invoices')}\r\n`
    const after = `Cookie: ${cookieOf('invoices', 9)}\r\n`
    t.ok(isPreview(await ask(t, bench, before)))
    bench.table.setPasses(1, 9)
    for (let round = 0; round < 10; round++) {
      t.notOk(isPreview(await ask(t, bench, before)))
      t.ok(isPreview(await ask(t, bench, after)))
    }
  })
}

t.test('who comes while what is staged changes waits for it, and no longer than others', async (t) => {
  const { bench } = await start(t)
  bench.table.pause(1)
  const waiting = ask(t, bench, '', '/', 'p.test')
  while (bench.table.held(1) === 0) await setImmediate()
  t.notOk(isPreview(await ask(t, bench, '')), 'nobody else waits')
  bench.table.resume(1)
  bench.relay.letIn(1)
  t.ok(isPreview(await waiting))
  bench.table.pause(1)
  const health = ask(t, bench, '', '/healthz', 'p.test')
  while (bench.table.held(1) === 0) await setImmediate()
  await bench.relay.close(0)
  t.match(await health, /"code":"nothing_to_preview"/)
})
