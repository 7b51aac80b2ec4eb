// Pages in a browser, rebound names, upgrades and floods: what the admin door turns away before it looks at a signature.
import { once } from 'node:events'
import { connect } from 'node:net'
import t from 'tap'
import { RateLimit } from '../../src/admin/rate.ts'
import { forge, knock, openDoor, wire } from '../admin/door.ts'

t.test('a Host that is not this listener is answered 421, signed or not', async (t) => {
  const door = await openDoor(t)
  const hosts = [
    'evil.example',
    `evil.example:${door.port}`,
    `127.0.0.1.evil.example:${door.port}`,
    `localhost.evil.example`,
    '127.0.0.2',
    '0.0.0.0',
    '[::2]',
    'user@127.0.0.1',
    '127.0.0.1/x',
    '',
  ]
  for (const authority of hosts) {
    for (const target of ['/v1/services', '/healthz', '/openapi.json']) {
      const { status, json } = await knock(door.port, forge(door, { authority, target }))
      t.match({ status, json }, { status: 421, json: { code: 'host_not_allowed' } }, `${authority} ${target}`)
    }
  }
  t.same(door.calls, [])
})

t.test('the loopback names and the configured address are answered', async (t) => {
  const door = await openDoor(t)
  for (const name of ['localhost', '127.0.0.1', '[::1]']) {
    const authority = `${name}:${door.port}`
    t.equal((await knock(door.port, forge(door, { authority }))).status, 200, name)
  }
})

t.test('a call with an Origin is refused, unless the origin is its own', async (t) => {
  const door = await openDoor(t)
  const knockFrom = (origin: string, authority = door.authority) =>
    knock(door.port, forge(door, { authority, fields: [['Origin', origin]] }))
  const foreign = [
    'null',
    'https://evil.example',
    '',
    door.url.replace('http:', 'https:'),
    door.url.replace('127.0.0.1', 'localhost'),
    `${door.url}/`,
    'http://127.0.0.1',
    `${door.url}, ${door.url}`,
  ]
  for (const origin of foreign) {
    const { status, json } = await knockFrom(origin)
    t.match({ status, json }, { status: 403, json: { code: 'origin_refused' } }, JSON.stringify(origin))
  }
  t.same(door.calls, [])
  t.equal((await knockFrom(door.url)).status, 200)
  const name = `localhost:${door.port}`
  t.equal((await knockFrom(`http://${name}`, name)).status, 200)
  const twice = forge(door, {
    fields: [
      ['Origin', door.url],
      ['Origin', 'https://evil.example'],
    ],
  })
  t.equal((await knock(door.port, twice)).status, 403)
})

t.test('a request of a page is answered if the page is its own, or if it leads here', async (t) => {
  const door = await openDoor(t)
  const cases: [site: string | null, mode: string, dest: string | null, status: number][] = [
    [null, 'no-cors', null, 403],
    ['cross-site', 'no-cors', 'image', 403],
    ['same-site', 'no-cors', 'script', 403],
    ['cross-site', 'cors', 'empty', 403],
    ['same-site', 'cors', 'empty', 403],
    ['cross-site', 'navigate', 'iframe', 403],
    ['cross-site', 'navigate', 'object', 403],
    [null, 'navigate', null, 200],
    ['none', 'navigate', 'document', 200],
    ['cross-site', 'navigate', 'document', 200],
    ['same-origin', 'no-cors', 'style', 200],
    ['same-origin', 'cors', 'script', 200],
    ['same-origin', 'cors', 'empty', 200],
  ]
  for (const [site, mode, dest, expected] of cases) {
    const fields: [string, string][] = [
      ...(site === null ? [] : [['Sec-Fetch-Site', site] as [string, string]]),
      ['Sec-Fetch-Mode', mode],
      ...(dest === null ? [] : [['Sec-Fetch-Dest', dest] as [string, string]]),
    ]
    t.equal((await knock(door.port, forge(door, { fields }))).status, expected, `${site} ${mode} ${dest}`)
  }
})

t.test('no answer allows another origin to read it', async (t) => {
  const door = await openDoor(t)
  const preflight = forge(door, { method: 'OPTIONS', fields: [['Origin', 'https://evil.example']] })
  for (const request of [forge(door), preflight]) {
    const { headers } = await knock(door.port, request)
    t.notOk(Object.keys(headers).some((name) => name.startsWith('access-control-')))
    t.equal(headers['cache-control'], 'no-store')
  }
})

t.test('a connection is not upgraded', async (t) => {
  const door = await openDoor(t)
  const request = forge(door, {
    fields: [
      ['Upgrade', 'websocket'],
      ['Sec-WebSocket-Key', 'dGhlIHNhbXBsZSBub25jZQ=='],
      ['Sec-WebSocket-Version', '13'],
    ],
  })
  const { status } = await knock(
    door.port,
    wire(request).replace('Connection: close', 'Connection: Upgrade, close'),
  )
  t.equal(status, 400)
  t.same(door.calls, [])
})

t.test('a tunnel is not opened', async (t) => {
  const door = await openDoor(t)
  const socket = connect(door.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  socket.write(`CONNECT ${door.authority} HTTP/1.1\r\nHost: ${door.authority}\r\n\r\n`)
  await once(socket, 'close')
  t.same(door.calls, [])
})

t.test(
  'more calls from one address than the limit are answered 429 without a look at the signature',
  async (t) => {
    const frozen = Date.now()
    let aheadMs = 0
    const door = await openDoor(t, { now: () => frozen + aheadMs })
    const statuses = await Promise.all(Array.from({ length: 110 }, () => knock(door.port, forge(door)))).then(
      (answers) => answers.map(({ status }) => status),
    )
    t.equal(statuses.filter((status) => status === 200).length, 100)
    t.equal(statuses.filter((status) => status === 429).length, 10)
    t.equal((await knock(door.port, forge(door))).headers['retry-after'], '1')
    aheadMs = 1000
    t.equal((await knock(door.port, forge(door))).status, 200, 'a second later it is answered again')
  },
)

t.test('one address does not use up the calls of another, and the memory is bounded', async (t) => {
  const limit = new RateLimit()
  while (limit.take('192.0.2.1', 0));
  t.ok(limit.take('192.0.2.2', 0))
  for (let i = 0; i < 20_000; i++) limit.take(`address ${i}`, 0)
  t.ok(limit.take('192.0.2.1', 0), 'the oldest was forgotten')
})

t.test('refusals beyond twenty a second are counted in the audit log, not written one by one', async (t) => {
  const frozen = Date.now()
  let aheadMs = 0
  const door = await openDoor(t, { now: () => frozen + aheadMs })
  const unsigned = `GET /v1/services HTTP/1.1\r\nHost: ${door.authority}\r\nConnection: close\r\n\r\n`
  for (let i = 0; i < 30; i++) await knock(door.port, unsigned)
  t.equal(door.audit.length, 20)
  aheadMs = 1000
  await knock(door.port, unsigned)
  t.match(door.audit.at(-1), { code: 'unsigned', suppressed: 10 })
})

t.test('a body beyond 64 KiB is answered 413 and a head beyond 16 KiB 431', async (t) => {
  const door = await openDoor(t)
  const body = JSON.stringify({ release: 'r'.repeat(64 * 1024) })
  const large = forge(door, { method: 'POST', target: '/v1/services/invoices/stage', body })
  t.match(await knock(door.port, large), {
    status: 413,
    json: { code: 'body_too_large', limit_bytes: 65536 },
  })
  const fields: [string, string][] = [['X-Long', 'x'.repeat(17 * 1024)]]
  t.match(await knock(door.port, forge(door, { fields })), { status: 431, json: { code: 'head_too_large' } })
  t.same(door.calls, [])
})
