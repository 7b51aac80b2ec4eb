// The admin API over real sockets: what each call passes on, answers and refuses.
import { once } from 'node:events'
import { request as httpsRequest } from 'node:https'
import { connect, createServer } from 'node:net'
import t from 'tap'
import { createAdmin } from '../../src/admin/server.ts'
import { SlotgateError } from '../../src/errors.ts'
import { createLogger, silentLogger } from '../../src/log.ts'
import { signRequest } from '../../src/signing.ts'
import {
  type Answer,
  adminKeys,
  checked,
  type Door,
  type Forgery,
  forge,
  knock,
  NO_METRICS,
  openDoor,
  ops,
  recordingControl,
  staged,
  status,
  switched,
  wire,
} from './door.ts'
import { tls } from './tls.ts'

const call = (door: Door, forgery: Forgery): Promise<Answer> => knock(door.port, forge(door, forgery))
const post = (door: Door, action: string, body = '', forgery: Forgery = {}): Promise<Answer> =>
  call(door, { method: 'POST', target: `/v1/services/invoices/${action}`, body, ...forgery })

t.test('each call reaches Control with its arguments and answers what Control gave', async (t) => {
  const door = await openDoor(t)
  const context = { actor: 'ops' }
  const expected: [Promise<Answer>, unknown, string, unknown[]][] = [
    [call(door, { target: '/v1/services' }), { services: { invoices: status } }, 'statuses', []],
    [call(door, { target: '/v1/services/invoices' }), status, 'status', ['invoices']],
    [post(door, 'stage', '{"release":"r42"}'), staged, 'stage', ['invoices', 'r42', context]],
    [
      post(door, 'check', '{"operation":"rollback","to":"r40"}'),
      checked,
      'check',
      ['invoices', 'rollback', 'r40', context],
    ],
    [post(door, 'promote'), switched, 'promote', ['invoices', context]],
    [post(door, 'promote', '{}'), switched, 'promote', ['invoices', context]],
    [
      post(door, 'rollback'),
      { ...switched, operation: 'rollback' },
      'rollback',
      ['invoices', undefined, context],
    ],
    [
      post(door, 'deploy', '{"release":"r42"}'),
      { ...switched, operation: 'deploy' },
      'deploy',
      ['invoices', 'r42', context],
    ],
  ]
  for (const [answer, body, name] of expected) {
    const { status: code, json } = await answer
    t.equal(code, 200, name)
    t.same(json, body, name)
  }
  const calls = door.calls.map(({ call: name, args }) => JSON.stringify([name, args])).sort()
  t.same(calls, expected.map(([, , name, args]) => JSON.stringify([name, args])).sort())
})

t.test('a service is named in the path, percent-encoding and all', async (t) => {
  const door = await openDoor(t)
  await call(door, { target: '/v1/services/my%20app' })
  t.same(door.calls[0]?.args, ['my app'])
})

t.test('the history passes on its query, with a limit of 100 if none is given', async (t) => {
  const door = await openDoor(t)
  const { json } = await call(door, { target: '/v1/history' })
  t.match(json, { records: [{ seq: 1, event: 'slotgate_started' }] })
  await call(door, { target: '/v1/history?service=invoices&limit=5&before=17' })
  t.same(
    door.calls.map(({ args }) => ({ ...(args[0] as object) })),
    [{ limit: 100 }, { service: 'invoices', limit: 5, before: 17 }],
  )
})

t.test('a query that does not fit is refused with the name of its field', async (t) => {
  const door = await openDoor(t)
  const cases: [query: string, field: string][] = [
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=many', 'limit'],
    ['limit=1e2', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['before=-1', 'before'],
    ['service=a&service=b', 'service'],
    ['since=1', 'since'],
  ]
  for (const [query, field] of cases) {
    const { status: code, json } = await call(door, { target: `/v1/history?${query}` })
    t.match({ code, json }, { code: 400, json: { code: 'query_invalid', field } }, query)
    t.match(json.detail, field)
  }
  t.same(door.calls, [])
})

t.test('advice is asked for one version, a whole number', async (t) => {
  const door = await openDoor(t)
  const { status: code, json } = await call(door, {
    target: '/v1/services/invoices/advice?to=44',
    keyid: 'viewer',
  })
  t.match({ code, json }, { code: 200, json: { verdict: 'breaks_live', breaks: ['r43'] } })
  await call(door, { target: '/v1/services/invoices/advice?to=20261122120000' })
  t.same(
    door.calls.splice(0).map(({ args }) => args),
    [
      ['invoices', 44],
      ['invoices', 20261122120000],
    ],
  )
  for (const query of [
    '',
    '?to=',
    '?to=r44',
    '?to=-1',
    '?to=42.5',
    '?to=9007199254740993',
    '?to=1&to=2',
    '?to=1&from=0',
  ]) {
    const refused = await call(door, { target: `/v1/services/invoices/advice${query}` })
    t.match(
      { code: refused.status, json: refused.json },
      { code: 400, json: { code: 'query_invalid' } },
      query,
    )
  }
  t.same(door.calls, [])
})

t.test('If-Match becomes the expected generation, and the status gives it as ETag', async (t) => {
  const door = await openDoor(t)
  const { headers } = await call(door, { target: '/v1/services/invoices' })
  t.equal(headers.etag, '"17"')
  const components = ['@method', '@authority', '@path', '@query', 'content-digest', 'if-match']
  const conditional = (value: string) =>
    post(door, 'promote', '', { fields: [['If-Match', value]], components })
  t.equal((await conditional('"17"')).status, 200)
  t.same(door.calls.at(-1)?.args, ['invoices', { actor: 'ops', ifGeneration: 17 }])
  door.calls.length = 0
  for (const value of [
    '17',
    '*',
    'W/"17"',
    '"17", "18"',
    '"-1"',
    '"017"',
    '"1.5"',
    '""',
    '"9999999999999999"',
  ]) {
    const { status: code, json } = await conditional(value)
    t.match({ code, json }, { code: 400, json: { code: 'if_match_invalid', got: value } }, value)
  }
  t.same(door.calls, [])
})

t.test('a body that does not fit is refused with the name of its field', async (t) => {
  const door = await openDoor(t)
  const cases: [string, string, object][] = [
    ['stage', '', { code: 'body_invalid', field: 'release', detail: /release is missing/ }],
    ['stage', '{}', { code: 'body_invalid', field: 'release' }],
    ['stage', '{"release":42}', { code: 'body_invalid', field: 'release', detail: /release must be string/ }],
    ['stage', '{"release":null}', { code: 'body_invalid', field: 'release' }],
    ['stage', '{"release":"r42","releas":1}', { code: 'body_invalid', field: 'releas' }],
    ['stage', '{"release":"r 42"}', { code: 'invalid_release_id', field: 'release', got: '"r 42"' }],
    ['deploy', '{"release":""}', { code: 'invalid_release_id' }],
    ['rollback', '{"to":"\\t"}', { code: 'invalid_release_id', field: 'to' }],
    [
      'check',
      '{"operation":"deploy"}',
      { code: 'body_invalid', field: 'operation', detail: /promote, rollback/ },
    ],
    ['check', '{"to":"r42"}', { code: 'body_invalid', field: 'operation' }],
    ['promote', '{"force":true}', { code: 'body_invalid', field: 'force' }],
    ['promote', '{"__proto__":{}}', { code: 'body_invalid', field: '__proto__' }],
    ['promote', '{"exclusive":"yes"}', { code: 'body_invalid', field: 'exclusive' }],
    ['pause', '{"for_ms":0}', { code: 'body_invalid', field: 'for_ms' }],
    ['pause', '{"for_ms":86400001}', { code: 'body_invalid', field: 'for_ms' }],
    ['pause', '{"for":"30s"}', { code: 'body_invalid', field: 'for' }],
    ['resume', '{"for_ms":1}', { code: 'body_invalid', field: 'for_ms' }],
    ['stage', '["r42"]', { code: 'body_invalid', detail: /must be object/ }],
    ['stage', 'release=r42', { code: 'body_invalid', detail: /not JSON/ }],
  ]
  for (const [action, body, expected] of cases) {
    const { status: code, headers, json } = await post(door, action, body)
    t.match({ code, json }, { code: 400, json: expected }, `${action} ${body}`)
    t.match(headers['content-type'], 'application/problem+json')
  }
  t.same(door.calls, [])
})

t.test('a body of another type is refused', async (t) => {
  const door = await openDoor(t)
  const body = 'release=r42'
  const url = `${door.url}/v1/services/invoices/stage`
  const headers = signRequest({ method: 'POST', url, body, contentType: 'text/plain', key: ops })
  const answer = await fetch(url, { method: 'POST', headers, body })
  t.equal(answer.status, 400)
  t.match(await answer.json(), { code: 'body_invalid', detail: /application\/json/ })
})

t.test('a key may do what its list says and nothing else', async (t) => {
  const door = await openDoor(t)
  const may = async (keyid: string, action: string, body = '') =>
    (await post(door, action, body, { keyid })).json
  const release = '{"release":"r42"}'
  t.match(await may('viewer', 'check', '{"operation":"promote"}'), { allowed: true })
  t.match(await may('viewer', 'stage', release), { code: 'not_allowed', key_id: 'viewer', action: 'stage' })
  t.match(await may('viewer', 'promote'), { code: 'not_allowed', action: 'promote' })
  t.match(await may('viewer', 'rollback'), { code: 'not_allowed', action: 'rollback', status: 403 })
  t.match(await may('stager', 'stage', release), { operation: 'stage' })
  t.match(await may('stager', 'deploy', release), { code: 'not_allowed', action: 'promote' })
  t.match(await may('stager', 'promote'), { code: 'not_allowed' })
  for (const action of ['pause', 'resume']) {
    t.match(await may('stager', action), { code: 'not_allowed', action: 'traffic' })
    t.match(await may('ops', action), { operation: action })
  }
  t.same(
    door.calls.map(({ call: name }) => name),
    ['check', 'stage', 'pause', 'resume'],
  )
})

t.test('keys are replaced at once, and two may be valid for one holder while they rotate', async (t) => {
  const door = await openDoor(t)
  const [first] = adminKeys
  if (!first) throw new Error('there is a key')
  const next = { ...first, id: 'ops-2027' }
  const statusOf = async (keyid: string) => (await call(door, { keyid })).status
  t.equal(await statusOf('ops-2027'), 401)
  door.admin.setKeys([first, next])
  t.equal(await statusOf('ops'), 200)
  t.equal(await statusOf('ops-2027'), 200)
  door.admin.setKeys([next])
  t.equal(await statusOf('ops'), 401)
  t.equal(await statusOf('ops-2027'), 200)
})

t.test('a refusal of Control leaves as its problem document, verdict and all', async (t) => {
  const verdict = { ...checked.verdict, allowed: false, code: 'schema_behind_code' }
  const door = await openDoor(t, {
    overrides: {
      promote: async () => {
        throw new SlotgateError('schema_behind_code', {
          release: 'r42',
          min: 44,
          current: 42,
          pending: ['044_x.sql'],
          internal_url: 'http://127.0.0.1:3902',
          verdict,
        })
      },
      rollback: async () => {
        throw new SlotgateError('operation_in_progress', { operation: 'deploy', service: 'invoices' })
      },
    },
  })
  const { status: code, headers, json } = await post(door, 'promote')
  t.equal(code, 422)
  t.equal(headers['content-type'], 'application/problem+json')
  t.match(json, {
    type: 'urn:slotgate:error:schema_behind_code',
    status: 422,
    code: 'schema_behind_code',
    detail: 'Release r42 needs schema 44 or newer; the database is at 42.',
    stage: 'gate',
    retryable: false,
    min: 44,
    current: 42,
    hint: /POST http:\/\/127\.0\.0\.1:3902\/migrations\/run/,
    request_id: headers['x-request-id'] ?? 'one',
  })
  t.same(json.verdict, verdict)
  const busy = await post(door, 'rollback')
  t.equal(busy.status, 409)
  t.equal(busy.headers['retry-after'], '1')
})

t.test('an unexpected error is told in one sentence and logged with its stack', async (t) => {
  const lines: string[] = []
  const door = await openDoor(t, {
    log: createLogger('error', { write: (line) => lines.push(line) }),
    overrides: {
      status: async () => {
        throw new TypeError('oh no')
      },
    },
  })
  const { status: code, json, body } = await call(door, { target: '/v1/services/invoices' })
  t.match({ code, json }, { code: 500, json: { code: 'internal_error', detail: /oh no/ } })
  t.notMatch(body, /at .*\.ts/)
  t.match(JSON.parse(lines[0] ?? ''), { request_id: json.request_id, err: { stack: /server\.test\.ts/ } })
})

t.test('a path that is not there is 404 for a key and 401 for everybody else', async (t) => {
  const door = await openDoor(t)
  for (const [method, target] of [
    ['GET', '/dashboard'],
    ['GET', '/v1'],
    ['POST', '/v1/services'],
    ['GET', '/v1/services/invoices/promote'],
    ['DELETE', '/v1/services/invoices'],
    ['HEAD', '/v1/services'],
  ] as const) {
    const body = method === 'POST' ? '{}' : ''
    t.equal((await call(door, { method, target, body })).status, 404, `${method} ${target}`)
    const unsigned = { method, target, fields: [['Host', door.authority]] as [string, string][], body }
    t.equal((await knock(door.port, unsigned)).status, 401, `${method} ${target} unsigned`)
  }
  t.match((await call(door, { target: '/nope?x=1' })).json, { code: 'unknown_route', path: '/nope' })
  t.same(door.calls, [])
})

t.test('a path that cannot be decoded is refused', async (t) => {
  const door = await openDoor(t)
  const { status: code, json } = await call(door, { target: '/v1/services/%zz' })
  t.match({ code, json }, { code: 400, json: { code: 'request_malformed' } })
})

t.test('health is answered without a signature, and says nothing but that', async (t) => {
  const door = await openDoor(t)
  const answer = await fetch(`${door.url}/healthz`)
  t.equal(answer.status, 200)
  t.same(await answer.json(), { status: 'ok' })
})

t.test('somebody with curl or a browser is shown how to sign', async (t) => {
  const door = await openDoor(t)
  const ask = (accept: string) => fetch(`${door.url}/v1/services`, { headers: { accept } })
  const json = await ask('*/*')
  t.equal(json.status, 401)
  t.match(json.headers.get('accept-signature'), /"@method" .*tag="slotgate-admin-v1"/)
  t.ok(json.headers.get('www-authenticate'))
  const problem = (await json.json()) as { code: string; how_to_sign: string[] }
  t.equal(problem.code, 'unsigned')
  t.match(problem.how_to_sign.join('\n'), /slotgate keys generate[\s\S]*Signature-Input/)
  const html = await ask('text/html,*/*;q=0.8')
  t.match(html.headers.get('content-type'), 'text/html')
  t.match(await html.text(), '&lt;base64 of the SHA-256')
  t.match(await (await ask('text/plain')).text(), /^This call must be signed\.\n/)
})

t.test('each decision is one line for the audit log', async (t) => {
  const door = await openDoor(t)
  const request = forge(door, { method: 'POST', target: '/v1/services/invoices/promote' })
  const { headers } = await knock(door.port, request)
  t.match(door.audit, [
    {
      decision: 'accepted',
      action: 'promote',
      key_id: 'ops',
      peer: /^127\.0\.0\.1:\d+$/,
      request_id: headers['x-request-id'] ?? 'one',
      method: 'POST',
      target: '/v1/services/invoices/promote',
      digest: /^sha-256=:/,
    },
  ])
  await post(door, 'promote', '', { keyid: 'nobody' })
  t.match(door.audit[1], {
    decision: 'refused',
    code: 'signature_refused',
    reason: 'the key is unknown',
    key_id: 'nobody',
    action: 'promote',
  })
})

t.test('an operation goes on when its caller goes away', async (t) => {
  const { promise: started, resolve: start } = Promise.withResolvers<void>()
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  const { promise: ended, resolve: end } = Promise.withResolvers<string>()
  const door = await openDoor(t, {
    overrides: {
      promote: async () => {
        start()
        await gate
        end('flipped')
        return switched
      },
    },
  })
  const socket = connect(door.port, '127.0.0.1')
  socket.write(wire(forge(door, { method: 'POST', target: '/v1/services/invoices/promote' })))
  await started
  socket.destroy()
  await once(socket, 'close')
  t.equal((await call(door, { target: '/healthz' })).status, 200)
  open()
  t.equal(await ended, 'flipped')
})

t.test('closing waits for a call that is being answered and refuses new ones', async (t) => {
  const { promise: started, resolve: start } = Promise.withResolvers<void>()
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  const door = await openDoor(t, {
    overrides: {
      promote: async () => {
        start()
        await gate
        return switched
      },
    },
  })
  const answer = post(door, 'promote')
  await started
  const halfway = connect(door.port, '127.0.0.1')
  const text = wire(forge(door))
  halfway.write(text.slice(0, 20))
  await once(halfway, 'connect')
  await call(door, { target: '/healthz' })
  const closed = door.admin.close()
  halfway.write(text.slice(20))
  const [late] = await once(halfway, 'data')
  t.match(String(late), /^HTTP\/1\.1 503 [\s\S]*"code":"shutting_down"/)
  await t.rejects(post(door, 'promote'), { code: 'ECONNREFUSED' })
  open()
  t.equal((await answer).status, 200)
  await closed
})

t.test('closing ends connections that are open and silent, or kept alive', async (t) => {
  const door = await openDoor(t)
  const silent = connect(door.port, '127.0.0.1')
  await once(silent, 'connect')
  const halfway = connect(door.port, '127.0.0.1')
  halfway.write(`GET /healthz HTTP/1.1\r\nHost: ${door.authority}\r\n`)
  const keptAlive = connect(door.port, '127.0.0.1')
  keptAlive.write(`GET /healthz HTTP/1.1\r\nHost: ${door.authority}\r\n\r\n`)
  await once(keptAlive, 'data')
  const ends = [silent, halfway, keptAlive].map((socket) => {
    socket.on('error', () => {})
    socket.resume()
    return once(socket, 'close')
  })
  const before = performance.now()
  await door.admin.close()
  await Promise.all(ends)
  // One that is kept alive would end by itself after 5 s.
  t.ok(performance.now() - before < 4_500)
})

t.test('right after the start a call is accepted', async (t) => {
  const { control, calls } = recordingControl()
  const config = { listen: { host: '127.0.0.1', port: 0 }, keys: adminKeys }
  const admin = createAdmin({ config, control, metrics: NO_METRICS, log: silentLogger() })
  t.teardown(() => admin.close())
  const { port } = await admin.listen()
  t.equal((await knock(port, forge({ authority: `127.0.0.1:${port}` }))).status, 200)
  t.equal(calls.length, 1)
})

t.test('a port in use is named, with the process that holds it', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1')
  await once(holder, 'listening')
  t.teardown(() => holder.close())
  const address = holder.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const { control } = recordingControl()
  const config = { listen: { host: '127.0.0.1', port }, keys: adminKeys }
  const admin = createAdmin({
    config,
    control,
    metrics: NO_METRICS,
    log: silentLogger(),
    acceptSignedAfterMs: 0,
  })
  t.teardown(() => admin.close())
  await t.rejects(admin.listen(), {
    code: 'port_in_use',
    message: `Port ${port} on 127.0.0.1 is already in use (admin.listen, the admin API).`,
    facts: { who: process.platform === 'linux' ? new RegExp(`Process ${process.pid} `) : /lsof/ },
  })
})

t.test('an address that is not of this machine cannot be listened on', async (t) => {
  const { control } = recordingControl()
  const config = { listen: { host: '192.0.2.1', port: 0 }, keys: adminKeys }
  const admin = createAdmin({
    config,
    control,
    metrics: NO_METRICS,
    log: silentLogger(),
    acceptSignedAfterMs: 0,
  })
  t.teardown(() => admin.close())
  await t.rejects(admin.listen(), { code: 'listen_failed' })
})

t.test('with TLS it answers to the names of its certificate', async (t) => {
  const door = await openDoor(t, { tls })
  const ask = async (name: string): Promise<number | undefined> => {
    const url = `https://${name}:${door.port}/v1/services`
    const headers = { ...signRequest({ method: 'GET', url, key: ops }), host: `${name}:${door.port}` }
    const request = httpsRequest(`${door.url}/v1/services`, {
      headers,
      rejectUnauthorized: false,
      agent: false,
    })
    request.end()
    const [response] = await once(request, 'response')
    response.resume()
    return response.statusCode
  }
  t.equal(await ask('127.0.0.1'), 200)
  t.equal(await ask('slotgate.test'), 200)
  t.equal(await ask('west.ops.test'), 200)
  t.equal(await ask('evil.example'), 421)
})
