// A front door behind a load balancer that speaks the PROXY protocol: whom it believes, what it makes of it, and what it refuses.
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { valuesIn } from '../support/http-bytes.ts'
import { eventually } from '../support/turns.ts'
import { TCP4_BLOCK, TCP6_BLOCK, TLVS, tcp4Line, version2 } from './proxy-headers.ts'
import {
  collect,
  dial,
  GET,
  hasAnswer,
  headOf,
  type LogLine,
  OK,
  type Options,
  startObserved,
  statusOf,
} from './support.ts'
import { SWITCHED, UPGRADE } from './tunnels.ts'

const ON = { proxyProtocol: true, trustedProxies: ['127.0.0.1', '203.0.113.0/24'] }
const SPOOFED =
  'GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\r\n'

/** A relay behind a load balancer, and the heads that its app got. */
async function start(t: Test, relay: Options['relay'] = ON) {
  const answerTo = (head: string) => (head.includes('upgrade: websocket') ? SWITCHED : OK)
  const { bench, app, seen } = await startObserved(t, { relay }, answerTo)
  return { bench, app, heads: seen }
}

const valuesOf = (head: string | undefined, name: string): string[] =>
  valuesIn(headOf(head ?? '').fields, name)

const v2 = (command: string, rest: string): string => version2(command, rest).toString('latin1')

const V1 = tcp4Line('192.0.2.1')

/** Headers, and the client each names; null: none, the peer of the socket stands for it. */
const HEADERS: Record<string, [header: string, source: string | null]> = {
  'version 1': [V1, '192.0.2.1'],
  'version 1 with IPv6': ['PROXY TCP6 2001:DB8::1 2001:db8::2 55555 80\r\n', '2001:db8::1'],
  'version 2': [v2('2111', TCP4_BLOCK), '192.0.2.1'],
  'version 2 with IPv6': [v2('2121', TCP6_BLOCK), '2001:db8::1'],
  'version 2 with TLVs': [v2('2111', TCP4_BLOCK + TLVS), '192.0.2.1'],
  'version 1 with UNKNOWN': ['PROXY UNKNOWN\r\n', null],
  'version 2 with LOCAL': [v2('2000', ''), null],
  'version 2 with LOCAL and addresses': [v2('2011', TCP4_BLOCK), null],
  'version 2 without a family': [v2('2100', ''), null],
}

for (const [what, [header, source]] of Object.entries(HEADERS)) {
  const client = source ?? '127.0.0.1'

  t.test(
    `${what}: the app and the log are told of ${source ?? 'the proxy, and of nobody it speaks for'}`,
    async (t) => {
      const { bench, heads } = await start(t)
      const wire = dial(t, bench.port, header + SPOOFED)
      t.equal(statusOf(await wire.until(hasAnswer)), 200)
      t.same(valuesOf(heads[0], 'x-forwarded-for'), [client])
      t.same(valuesOf(heads[0], 'x-forwarded-proto'), ['http'])
      t.same(valuesOf(heads[0], 'forwarded'), [])
      t.same(valuesOf(heads[0], 'x-real-ip'), [])
      t.notMatch(heads[0], /PROXY|6\.6\.6\.6/)
      t.match(await bench.logged(() => true), { client, status: 200 })
      // One header for the whole connection.
      wire.socket.write(GET)
      await wire.until((text) => text.split('HTTP/1.1 200').length === 3 && text.endsWith('ok'))
      t.same(valuesOf(heads[1], 'x-forwarded-for'), [client])
    },
  )

  t.test(`${what}: split anywhere it is the same`, async (t) => {
    const { bench, heads } = await start(t, { ...ON, connectionLimit: 0 })
    const octets = Buffer.from(header + GET, 'latin1')
    const wires = Array.from({ length: header.length + 8 }, async (_, at) => {
      const wire = dial(t, bench.port)
      wire.socket.write(octets.subarray(0, at))
      // Each half has to be read by itself: the front door is of this process.
      for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
      wire.socket.write(octets.subarray(at))
      return statusOf(await wire.until(hasAnswer))
    })
    t.same(new Set(await Promise.all(wires)), new Set([200]))
    t.equal(heads.length, wires.length)
    for (const head of heads) if (valuesOf(head, 'x-forwarded-for').join() !== client) t.fail(head)
  })
}

t.test('octet by octet it is the same', async (t) => {
  const { bench, heads } = await start(t)
  for (const [header] of [HEADERS['version 1'], HEADERS['version 2 with TLVs']].flatMap((one) =>
    one ? [one] : [],
  )) {
    const wire = dial(t, bench.port)
    for (const octet of Buffer.from(header + GET, 'latin1')) {
      wire.socket.write(Buffer.from([octet]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    t.equal(statusOf(await wire.until(hasAnswer)), 200)
    t.same(valuesOf(heads.at(-1), 'x-forwarded-for'), ['192.0.2.1'])
  }
})

t.test('a proxy behind the proxy is believed if it is trusted itself', async (t) => {
  const { bench, heads } = await start(t)
  const ask = async (source: string) => {
    await dial(t, bench.port, tcp4Line(source) + SPOOFED).until(hasAnswer)
    return valuesOf(heads.at(-1), 'x-forwarded-for')
  }
  t.same(await ask('203.0.113.9'), ['6.6.6.6, 203.0.113.9'])
  t.same(await ask('198.51.100.9'), ['198.51.100.9'])
  t.same(
    bench.lines.filter(({ msg }) => msg === 'exchange').map(({ client }) => client),
    ['6.6.6.6', '198.51.100.9'],
  )
})

t.test('a tunnel is that of the client whom the header names', async (t) => {
  const { bench, heads } = await start(t)
  const wire = dial(t, bench.port, V1 + UPGRADE)
  await wire.until((text) => text.includes(' 101 '))
  t.same(valuesOf(heads[0], 'x-forwarded-for'), ['192.0.2.1'])
  wire.socket.destroy()
  t.match(await bench.logged(() => true), { client: '192.0.2.1', status: 101 })
})

const refusals = (lines: readonly LogLine[]): LogLine[] =>
  lines.filter(({ code }) => code === 'proxy_header_invalid')

t.test('a peer that is not trusted is closed, whatever it sends', async (t) => {
  const { bench, app } = await start(t)
  for (const bytes of [V1 + GET, GET, '']) {
    const socket = connect({ host: '127.0.0.1', port: bench.port, localAddress: '127.0.0.7' })
    t.teardown(() => socket.destroy())
    socket.write(bytes)
    t.equal(await collect(socket).closed(), '', 'without an answer')
  }
  t.equal(app.sockets.length, 0)
  t.match(refusals(bench.lines), [{ client: '127.0.0.7', level: 'warn', msg: /127\.0\.0\.7.*not trusted/ }])
  t.equal(statusOf(await dial(t, bench.port, V1 + GET).until(hasAnswer)), 200, 'the trusted one is served')
})

/** What a connection must not begin with. */
const GARBAGE: Record<string, string> = {
  'a request': GET,
  'a TLS hello': '\x16\x03\x01\x02\x00\x01',
  'a line of another version': 'PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n',
  'a line with a name for an address': 'PROXY TCP4 localhost 198.51.100.2 1 2\r\n',
  'a line that ends with LF alone': 'PROXY TCP4 192.0.2.1 198.51.100.2 1 2\n',
  'a line without end': `PROXY UNKNOWN ${'x'.repeat(200)}`,
  'an empty line before the header': `\r\n${V1}`,
  'version 2 with a command that does not exist': v2('2211', TCP4_BLOCK),
  'version 2 of datagrams': v2('2112', TCP4_BLOCK),
  'version 2 too short for its addresses': v2('2111', TCP4_BLOCK.slice(0, 8)),
  'version 2 longer than any sender makes it': `${v2('2111', 'f'.repeat(20_000))}`,
}

for (const [what, bytes] of Object.entries(GARBAGE)) {
  t.test(`${what} for a header is closed, without an answer, and logged`, async (t) => {
    const { bench, app } = await start(t)
    t.equal(await dial(t, bench.port, bytes + GET).closed(), '')
    t.equal(app.sockets.length, 0)
    t.match(refusals(bench.lines), [{ client: '127.0.0.1', level: 'warn' }])
    t.notMatch(refusals(bench.lines)[0]?.msg, /GET|localhost|x{8}/, 'nothing of it is repeated')
    t.equal(statusOf(await dial(t, bench.port, V1 + GET).until(hasAnswer)), 200)
  })
}

t.test('a second header is a request that is none', async (t) => {
  const { bench, heads } = await start(t)
  t.equal(statusOf(await dial(t, bench.port, V1 + V1 + GET).closed()), 400)
  const late = dial(t, bench.port, V1 + GET)
  await late.until(hasAnswer)
  late.socket.write(V1 + GET)
  t.match(await late.closed(), /HTTP\/1\.1 400/)
  t.equal(heads.length, 1)
})

t.test('a connection that ends in its header leaves nothing behind', async (t) => {
  const { bench } = await start(t, { ...ON, connectionLimit: 2 })
  for (let nth = 0; nth < 6; nth++) {
    const wire = dial(t, bench.port)
    wire.socket.end(V1.slice(0, 5 * nth))
    await wire.closed()
    wire.socket.destroy()
    t.ok(await eventually(() => wire.socket.closed))
  }
  t.equal(statusOf(await dial(t, bench.port, V1 + GET).until(hasAnswer)), 200)
})
