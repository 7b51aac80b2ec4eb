// Which service a request is for, and which paths of it are not for the front door.
import t from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import { HeadReader } from '../../src/relay/http1/head.ts'
import { screen } from '../../src/relay/http1/request.ts'
import { createRouter } from '../../src/relay/route.ts'
import { dial, hasAnswer, RELAY_CONFIG, service, startApp, startRelay, statusOf } from './support.ts'

function headOf(host: string, target: string) {
  const head = new HeadReader(RELAY_CONFIG)
  const octets = Buffer.from(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, 'latin1')
  head.readRequest(octets, 0, octets.length)
  return screen(head)
}

const SERVICES = [
  service({ name: 'any' }),
  service({ name: 'any-app', pathPrefix: '/app/v2' }),
  service({ name: 'shop', hosts: ['shop.test', '[::1]'] }),
  service({ name: 'shop-app', hosts: ['shop.test'], pathPrefix: '/app' }),
]

const FOUND: [host: string, url: string, name: string][] = [
  ['other.test', '/', 'any'],
  ['other.test', '/app/v2/x', 'any-app'],
  ['shop.test', '/', 'shop'],
  ['SHOP.test:8080', '/', 'shop'],
  ['shop.test.', '/', 'shop'],
  ['[::1]:8080', '/', 'shop'],
  ['sub.shop.test', '/', 'any'],
  ['shop.test', '/app', 'shop-app'],
  ['shop.test', '/app?x', 'shop-app'],
  ['shop.test', '/app/x', 'shop-app'],
  ['shop.test', '/apple', 'shop'],
  ['shop.test', '/app/v2', 'shop-app'],
]

t.test('a service is found by host first, then by the longest prefix that ends at a segment', async (t) => {
  const route = createRouter(SERVICES, RELAY_CONFIG)
  for (const [host, url, name] of FOUND)
    t.equal(route(headOf(host, url)).service.name, name, `${host} ${url}`)
  const none = createRouter([service({ hosts: ['shop.test'], pathPrefix: '/app' })], RELAY_CONFIG)
  t.throws(() => none(headOf('shop.test', '/apple')), { code: 'no_such_site' })
  t.throws(() => none(headOf('other.test', '/app')), new SlotgateError('no_such_site'))
})

const SPELLINGS = [
  '/healthz',
  '/healthz?x=1',
  '/healthz/',
  '//healthz',
  '/./healthz',
  '/x/../healthz',
  '/../healthz',
  '/%68ealthz',
  '/%2568ealthz',
  '/%2fhealthz',
  '/x%2f..%2fhealthz',
  '/%2e/healthz',
  '/%2E%2E/healthz',
  '/HealthZ',
  '/healthz;v=1',
  '/;/healthz',
  '/\\healthz',
  '/%5chealthz',
  '/healthz%00',
  '/healthz%20',
  '/healthz%3fx',
  '/schema/status',
  '/schema//status',
  '/schema%2fstatus',
  '/schema/x/%2e%2e/status/',
  '/migrations/run',
  'http://a.test/healthz',
]

t.test('an internal path is 404 in every spelling, with the same page as any other', async (t) => {
  const bench = await startRelay(t, {
    services: [service({ hiddenPaths: ['/healthz', '/schema/status', '/migrations/run'] })],
  })
  const seen: string[] = []
  const app = await startApp(t, (request, response) => {
    seen.push(request.url ?? '')
    response.end('the app')
  })
  await bench.promote(app.address)
  for (const target of SPELLINGS) {
    const wire = dial(t, bench.port, `GET ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
    t.equal(statusOf(await wire.until(hasAnswer)), 404, target)
  }
  t.same(seen, [])
  const open = ['/healthzz', '/x/healthz', '/schema', '/schema/status/x', '/?healthz']
  for (const target of open) {
    const wire = dial(t, bench.port, `GET ${target} HTTP/1.1\r\nHost: a.test\r\n\r\n`)
    t.equal(statusOf(await wire.until(hasAnswer)), 200, target)
  }
  t.same(seen, open)
})
