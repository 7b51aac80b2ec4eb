// Which fields go on: hop-by-hop, forwarded, request ids, look-alikes, in both directions.
import t from 'tap'
import { clientOf, createTrust } from '../../src/relay/forwarded.ts'
import { valuesIn } from '../support/http-bytes.ts'
import {
  type Bench,
  dial,
  GET,
  hasAnswer,
  headOf,
  type Options,
  type Scope,
  startObserved,
} from './support.ts'

type Ask = (lines: string, first?: string) => Promise<[string, string][]>

/** Sends a request with these field lines and returns the fields that the app got. */
async function start(t: Scope, part: Options = {}): Promise<{ bench: Bench; ask: Ask }> {
  const { bench, seen } = await startObserved(t, part)
  return {
    bench,
    async ask(lines, first = 'GET / HTTP/1.1') {
      await dial(t, bench.port, `${first}\r\nHost: A.test:8080\r\n${lines}\r\n`).until(hasAnswer)
      return headOf(seen.at(-1) ?? '').fields
    },
  }
}

/** What the app is told of where the request comes from. */
function toldIn(fields: [string, string][]): Record<string, string[]> {
  const names = ['for', 'proto', 'host'].map((name) => `x-forwarded-${name}`)
  return Object.fromEntries([...names, 'forwarded'].map((name) => [name, valuesIn(fields, name)]))
}

t.test('what belongs to the client connection stays there, and what Connection names goes too', async (t) => {
  const { ask } = await start(t)
  const fields = await ask(
    'Connection: keep-alive, X-Hop\r\nConnection: X-Other\r\nX-Hop: 1\r\nX-Other: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n' +
      'Trailer: X\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nProxy: http://evil\r\nX-Stays: 1\r\n',
  )
  t.same(fields.map(([name]) => name).sort(), [
    'host',
    'via',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-request-id',
    'x-stays',
  ])
})

t.test('no field of a client takes away or doubles a field that slotgate adds', async (t) => {
  const { ask } = await start(t)
  const names = [
    'Host',
    'X-Forwarded-For',
    'X-Forwarded-Proto',
    'X-Forwarded-Host',
    'Via',
    'X-Request-Id',
    'Content-Length',
  ]
  const fields = await ask(
    `Connection: close, ${names.join(', ')}\r\nContent-Length: 0\r\n`,
    'POST / HTTP/1.1',
  )
  for (const name of names) t.equal(valuesIn(fields, name.toLowerCase()).length, 1, name)
})

t.test('Host is kept as it was sent', async (t) => {
  const { ask } = await start(t)
  t.same(valuesIn(await ask(''), 'host'), ['A.test:8080'])
})

t.test('what an untrusted peer says of others is not passed on', async (t) => {
  const { ask } = await start(t)
  const fields = await ask(
    'X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n' +
      'X-Forwarded-Port: 443\r\nForwarded: for=1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nSlotgate-Role: live\r\n',
  )
  t.same(toldIn(fields), {
    'x-forwarded-for': ['127.0.0.1'],
    'x-forwarded-proto': ['http'],
    'x-forwarded-host': ['A.test:8080'],
    forwarded: [],
  })
  for (const name of ['x-forwarded-port', 'x-real-ip', 'slotgate-role'])
    t.same(valuesIn(fields, name), [], name)
})

t.test('what a trusted proxy says is kept and continued', async (t) => {
  const { bench, ask } = await start(t, {
    relay: { trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'], forwarded: 'both' },
  })
  const fields = await ask(
    'X-Forwarded-For: 6.6.6.6, 203.0.113.7\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: https\r\n' +
      'X-Forwarded-Host: shop.test\r\nForwarded: for=203.0.113.7;proto=https\r\n',
  )
  t.same(toldIn(fields), {
    'x-forwarded-for': ['6.6.6.6, 203.0.113.7, 10.0.0.9, 127.0.0.1'],
    'x-forwarded-proto': ['https'],
    'x-forwarded-host': ['shop.test'],
    forwarded: ['for=203.0.113.7;proto=https, for=127.0.0.1;host=shop.test;proto=https'],
  })
  t.match(await bench.logged(() => true), { client: '203.0.113.7' })
})

t.test('a trusted proxy that passes nonsense on is not believed in that', async (t) => {
  const { ask } = await start(t, { relay: { trustedProxies: ['127.0.0.1'], forwarded: 'both' } })
  const fields = await ask(
    'X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a/b\r\nForwarded: for="1.1.1.1\r\n',
  )
  t.same(toldIn(fields), {
    'x-forwarded-for': ['127.0.0.1'],
    'x-forwarded-proto': ['http'],
    'x-forwarded-host': ['A.test:8080'],
    forwarded: ['for=127.0.0.1;host="A.test:8080";proto=http'],
  })
})

t.test('the client of the log is the last address that no trusted proxy has', async (t) => {
  const isTrusted = createTrust(['10.0.0.0/8', '::1', 'fd00::/8'])
  t.equal(clientOf('192.0.2.1', ['6.6.6.6'], isTrusted), '192.0.2.1')
  t.equal(clientOf('10.0.0.1', ['6.6.6.6, 192.0.2.7', '10.1.1.1'], isTrusted), '192.0.2.7')
  t.equal(clientOf('::1', ['2001:db8::1, fd00::3'], isTrusted), '2001:db8::1')
  t.equal(clientOf('10.0.0.1', ['6.6.6.6, nonsense'], isTrusted), '10.0.0.1')
  t.equal(clientOf('10.0.0.1', [], isTrusted), '10.0.0.1')
})

t.test(
  'names that a CGI-style app would confuse with others are dropped, other underscores stay',
  async (t) => {
    const { ask } = await start(t)
    const fields = await ask(
      'X_Forwarded_For: 6.6.6.6\r\nX_FORWARDED_PROTO: https\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n' +
        'X-Tenant: 1\r\nX_Tenant: 2\r\nX_Real_IP: 1.1.1.1\r\napi_key: kept\r\n',
    )
    t.same(
      fields.filter(([name]) => name.includes('_')),
      [['api_key', 'kept']],
    )
  },
)

t.test('a request id is kept when it is harmless, else made', async (t) => {
  const { ask } = await start(t)
  t.same(valuesIn(await ask('X-Request-Id: abc-1_2.3:4\r\n'), 'x-request-id'), ['abc-1_2.3:4'])
  for (const lines of [
    '',
    'X-Request-Id: a b\r\n',
    `X-Request-Id: ${'x'.repeat(129)}\r\n`,
    'X-Request-Id: a\r\nX-Request-Id: b\r\n',
  ]) {
    const [id = ''] = valuesIn(await ask(lines), 'x-request-id')
    t.match(id, /^[\w-]{12,}-[0-9a-z]+$/)
  }
})

t.test('repeated fields stay in order, Cookie lines too, and octets beyond ASCII', async (t) => {
  const { ask } = await start(t)
  const fields = await ask(
    'X-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\n__proto__: x\r\nX-Obs: \xe9\xff\r\n',
  )
  t.same(valuesIn(fields, 'x-a'), ['1', '2'])
  t.same(valuesIn(fields, 'cookie'), ['a=1', 'b=2'])
  t.same(valuesIn(fields, 'x-obs'), ['\xe9\xff'])
})

t.test(
  'an answer keeps its own fields in order and spelling, and loses those of its connection',
  async (t) => {
    const lines = [
      'Set-Cookie: a=1',
      'Set-Cookie: b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT',
      'Connection: keep-alive, X-Hop',
      'X-Hop: 1',
      'Keep-Alive: timeout=99',
      'Upgrade: h2c',
      'set-cookie: c=3',
      'X-Obs: \xe9\xff',
      'Content-Length: 2',
    ]
    const answer = `HTTP/1.1 200 F\xe9in\r\n${lines.join('\r\n')}\r\n\r\nok`
    const { bench } = await startObserved(t, {}, () => answer)
    const text = await dial(t, bench.port, GET).until(hasAnswer)
    const { line, fields } = headOf(text)
    t.match(line, /^HTTP\/1\.1 200 F/)
    t.same(valuesIn(fields, 'set-cookie'), ['a=1', 'b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'c=3'])
    t.same(valuesIn(fields, 'x-obs'), ['\xe9\xff'])
    t.equal(valuesIn(fields, 'date').length, 1)
    for (const name of ['x-hop', 'upgrade']) t.same(valuesIn(fields, name), [], name)
    t.notSame(valuesIn(fields, 'keep-alive'), ['timeout=99'])
  },
)
