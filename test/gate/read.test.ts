// Reading a status from an internal server that answers every wrong way, over real sockets.

import { randomUUID } from 'node:crypto'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Address } from '../../src/config/types.ts'
import { consult } from '../../src/gate/consult.ts'
import type { Reading } from '../../src/gate/judge.ts'
import { readStatus } from '../../src/gate/read.ts'
import { askStatus } from '../../src/slots/ask.ts'
import { FITTING } from '../support/schema-status.ts'

/** Of what answers: more than that takes on a busy machine. */
const WITHIN_MS = 5_000
/** Of what does not, so that it ends soon; the total deadline is what is measured. */
const SLOW_WITHIN_MS = 400
/** Of a decision, as by default: read at once, after 1 s and after 2 s. */
const DECIDED_WITHIN_MS = 3_000

async function listen(t: Test, server: Server, path?: string): Promise<Address> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) =>
    path ? server.listen(path, resolve) : server.listen(0, '127.0.0.1', resolve),
  )
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return path
    ? { kind: 'unix', path }
    : { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

const http = (t: Test, listener: RequestListener, path?: string) => listen(t, createServer(listener), path)
const raw = (t: Test, onSocket: (socket: Socket) => void) =>
  listen(
    t,
    createNetServer((socket) => socket.once('data', () => onSocket(socket))),
  )

const read = (address: Address, withinMs = WITHIN_MS): Promise<Reading> =>
  readStatus({ address, path: '/schema/status', role: 'idle', withinMs })

const codeOf = (reading: Reading) => (reading.ok ? 'ok' : reading.code)

t.test('a good status is read, unknown fields are ignored', async (t) => {
  const address = await http(t, (_, res) =>
    res.end(JSON.stringify({ ...FITTING, dirty: false, weather: 'fine' })),
  )
  t.same(await read(address), { ok: true, status: { ...FITTING, dirty: false } })
})

t.test('the question names the path and the role', async (t) => {
  const asked = new Promise((resolve) => {
    void http(t, (req, res) => {
      res.end(JSON.stringify(FITTING))
      resolve([req.method, req.url, req.headers['slotgate-role']])
    }).then((address) => read(address))
  })
  t.same(await asked, ['GET', '/schema/status', 'idle'])
})

t.test('a status is read over a Unix socket', async (t) => {
  const address = await http(
    t,
    (_, res) => res.end(JSON.stringify(FITTING)),
    join(tmpdir(), `${randomUUID()}.sock`),
  )
  t.equal(codeOf(await read(address)), 'ok')
})

t.test('42.0 is 42 in JSON, and a timestamp fits', async (t) => {
  const address = await http(t, (_, res) =>
    res.end(
      JSON.stringify({ ...FITTING, code_max_schema_version: 20261122120000 }).replace(':42,', ':42.0,'),
    ),
  )
  const reading = await read(address)
  t.match(reading, {
    ok: true,
    status: { current_schema_version: 42, code_max_schema_version: 20261122120000 },
  })
})

const MALFORMED: Record<string, string> = {
  'a version as a string': JSON.stringify({ ...FITTING, current_schema_version: '042' }),
  'a broken version': JSON.stringify({ ...FITTING, current_schema_version: 42.5 }),
  'a negative version': JSON.stringify({ ...FITTING, code_min_schema_version: -1 }),
  'a version that is null': JSON.stringify({ ...FITTING, code_max_schema_version: null }),
  'a version beyond what a number holds': JSON.stringify(FITTING).replace(':43', ':9007199254740993'),
  'an infinite version': JSON.stringify(FITTING).replace(':43', ':1e400'),
  'no current version': JSON.stringify({ ...FITTING, current_schema_version: undefined }),
  'no compatible': JSON.stringify({ ...FITTING, compatible: undefined }),
  'compatible as a string': JSON.stringify({ ...FITTING, compatible: 'true' }),
  'pending as a number': JSON.stringify({ ...FITTING, pending_migrations: 3 }),
  'pending with a number in it': JSON.stringify({ ...FITTING, pending_migrations: [43] }),
  'dirty as a string': JSON.stringify({ ...FITTING, dirty: 'no' }),
  'a database id as a number': JSON.stringify({ ...FITTING, database_id: 7 }),
  'problems that are no objects': JSON.stringify({ ...FITTING, problems: ['bad'] }),
}
for (const [what, body] of Object.entries(MALFORMED)) {
  t.test(`${what} is malformed, and the sentence names the field`, async (t) => {
    const reading = await read(await http(t, (_, res) => res.end(body)))
    t.equal(codeOf(reading), 'schema_status_malformed')
    if (!reading.ok) t.type(reading.facts.field, 'string')
  })
}

const NOT_JSON: Record<string, string | Buffer> = {
  'an empty body': '',
  'a page': '<html>fine</html>',
  'an array': '[]',
  'a bare null': 'null',
  'half an object': JSON.stringify(FITTING).slice(0, -5),
  'two objects': `${JSON.stringify(FITTING)}${JSON.stringify(FITTING)}`,
  'a byte order mark': `\uFEFF${JSON.stringify(FITTING)}`,
  'bytes that are not UTF-8': Buffer.concat([
    Buffer.from('{"release":"'),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('"}'),
  ]),
}
for (const [what, body] of Object.entries(NOT_JSON)) {
  t.test(`${what} is not JSON`, async (t) => {
    t.equal(codeOf(await read(await http(t, (_, res) => res.end(body)))), 'schema_status_not_json')
  })
}

const STATUSES: [number, string][] = [
  [201, 'schema_status_http_error'],
  [204, 'schema_status_http_error'],
  [301, 'schema_status_redirected'],
  [302, 'schema_status_redirected'],
  [307, 'schema_status_redirected'],
  [401, 'schema_status_http_error'],
  [404, 'schema_status_not_found'],
  [500, 'schema_status_http_error'],
  [503, 'schema_status_unavailable'],
]
for (const [status, code] of STATUSES) {
  t.test(`${status} with a good body is ${code}`, async (t) => {
    let asked = 0
    const address = await http(t, (_, res) => {
      asked += 1
      res
        .writeHead(status, { location: '/schema/status2' })
        .end(status === 204 ? undefined : JSON.stringify(FITTING))
    })
    t.equal(codeOf(await read(address)), code)
    t.equal(asked, 1, 'asked once, and no redirect followed')
  })
}

// What the app answers with 503, and what of it is said on.
const WORDS: Record<string, [body: string | Buffer, said: string]> = {
  'a problem document': [
    JSON.stringify({ code: 'not_primary', error: 'not_primary', detail: 'The database is a standby.' }),
    'not_primary: The database is a standby',
  ],
  'an error alone': [JSON.stringify({ error: 'starting' }), 'starting'],
  'plain text': ['no connection\nto the database\n', 'no connection to the database'],
  'text that drives a terminal': ['\x1b[31mred\x1b[0m\r\x07and\u202e back\u2028', 'red and back'],
  'the password of a URL': [
    'cannot reach postgres://app:s3/cr@t@db:5432/app',
    'cannot reach postgres://…@db:5432/app',
  ],
  'text of 200 characters': ['x'.repeat(200), 'x'.repeat(200)],
  'longer text': ['x'.repeat(201), `${'x'.repeat(199)}…`],
  'text that is cut within a character': [`${'x'.repeat(198)}🦉🦉`, `${'x'.repeat(198)}…`],
  nothing: ['', 'it does not say why'],
  'what stands far behind': [`${' '.repeat(3_000)}late`, 'it does not say why'],
  'words in other fields': [JSON.stringify({ ...FITTING, detail: 7 }), 'it does not say why'],
  'a page': ['<html>Service Unavailable</html>', 'it does not say why'],
  'bytes that are not UTF-8': [Buffer.from([0xff, 0xfe, 0x41]), 'it does not say why'],
}
t.test('why an app cannot say is told in its own words, short and tame', async (t) => {
  for (const [what, [body, said]] of Object.entries(WORDS)) {
    const reading = await read(await http(t, (_, res) => res.writeHead(503).end(body)))
    t.match(reading, { code: 'schema_status_unavailable', facts: { said } }, what)
  }
})

t.test('C13: a body above 64 KiB is too large, one just below is read', async (t) => {
  const padded = (bytes: number) => {
    const plain = JSON.stringify({ ...FITTING, release: '' })
    return JSON.stringify({ ...FITTING, release: 'x'.repeat(bytes - plain.length) })
  }
  const large = await http(t, (_, res) => res.end(padded(70_000)))
  t.equal(codeOf(await read(large)), 'schema_status_too_large')
  const fitting = await http(t, (_, res) => res.end(padded(64 * 1024)))
  t.equal(codeOf(await read(fitting)), 'ok')
  const endless = await raw(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    const pour = () => {
      while (socket.writable && socket.write(`4000\r\n${'x'.repeat(0x4000)}\r\n`)) {}
    }
    socket.on('drain', pour)
    pour()
  })
  t.equal(codeOf(await read(endless)), 'schema_status_too_large')
})

const SLOW: Record<string, (socket: Socket) => void> = {
  'a server that never answers': () => {},
  'a head that drips': (socket) => drip(socket, 'HTTP/1.1 200 OK\r\nX-Slow: '),
  'a body that drips': (socket) => drip(socket, 'HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n'),
  'a body that stops': (socket) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"current'),
  'interim answers without end': (socket) => drip(socket, '', 'HTTP/1.1 102 Processing\r\n\r\n'),
}

function drip(socket: Socket, head: string, drop = 'x'): void {
  socket.write(head)
  const timer = setInterval(() => socket.write(drop), 20)
  socket.on('close', () => clearInterval(timer))
}

for (const [what, behave] of Object.entries(SLOW)) {
  t.test(`${what} ends at the total deadline`, async (t) => {
    const address = await raw(t, behave)
    const started = performance.now()
    const reading = await read(address, SLOW_WITHIN_MS)
    const tookMs = performance.now() - started
    t.equal(codeOf(reading), 'schema_status_timeout')
    t.ok(tookMs >= SLOW_WITHIN_MS - 20, `after ${Math.round(tookMs)} ms`)
    t.ok(tookMs < 5 * SLOW_WITHIN_MS + 3_000, 'one deadline for all of it')
  })
}

const upgrade = (socket: Socket): void =>
  void socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')

const BROKEN: Record<string, (socket: Socket) => void> = {
  'an upgrade that nobody asked for': upgrade,
  'a reset before the answer': (socket) => socket.resetAndDestroy(),
  'an end before the answer': (socket) => socket.end(),
  'a reset in the middle of the body': (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"curr', () => socket.resetAndDestroy())
  },
  'an end in the middle of the body': (socket) => {
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n${JSON.stringify(FITTING)}`)
  },
  'bytes that are no HTTP': (socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n'),
  'chunked without an end': (socket) => {
    socket.end(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n${JSON.stringify(FITTING)}`)
  },
}
for (const [what, behave] of Object.entries(BROKEN)) {
  t.test(`${what} is unreachable`, async (t) => {
    t.equal(codeOf(await read(await raw(t, behave))), 'schema_status_unreachable')
  })
}

t.test('an upgrade that nobody asked for is no answer of a page, either', async (t) => {
  const address = await raw(t, upgrade)
  await t.rejects(askStatus({ address, path: '/', role: 'idle', withinMs: WITHIN_MS }), {
    failure: 'unreachable',
    message: 'no answer came, only an upgrade or the end of the connection',
  })
})

t.test('chunks that are none are not taken for an early end', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
  const address = await raw(t, (socket) => socket.write(`${head}5\r\n{"cur\r\nnot a size\r\n`))
  t.match(await read(address), {
    code: 'schema_status_unreachable',
    facts: { detail: 'the answer is not HTTP' },
  })
})

t.test('C14: a port where nobody listens is unreachable, and the detail says refused', async (t) => {
  // Not one that was free a moment ago: somebody may have taken it since.
  const reading = await read({ kind: 'tcp', host: '127.0.0.1', port: 1 })
  t.match(reading, { ok: false, code: 'schema_status_unreachable', facts: { detail: 'connection refused' } })
})

t.test('a Unix socket that is not there is unreachable', async (t) => {
  const address: Address = { kind: 'unix', path: join(tmpdir(), `${randomUUID()}.sock`) }
  t.match(await read(address), {
    code: 'schema_status_unreachable',
    facts: { detail: 'there is no such socket' },
  })
})

// Asking again (DESIGN §3, last paragraph): over real servers that count how often they are asked.

const askable = (address: Address, release: string) => ({
  release,
  internalUrl: 'http://x',
  read: (ms: number) => read(address, ms),
})

async function answering(t: Test, answers: [number, unknown][]) {
  let asked = 0
  const address = await http(t, (_, res) => {
    const [status, body] = answers[Math.min(asked, answers.length - 1)] ?? [500, {}]
    asked += 1
    res.writeHead(status).end(JSON.stringify(body))
  })
  return { ...askable(address, 'r1'), asked: () => asked }
}

t.test('C19: a disagreement that ends with the second read is allowed, with two attempts', async (t) => {
  const target = await answering(t, [
    [200, FITTING],
    [200, { ...FITTING, current_schema_version: 43 }],
  ])
  const live = await answering(t, [[200, { ...FITTING, current_schema_version: 43 }]])
  const verdict = await consult('promote', target, live, DECIDED_WITHIN_MS)
  t.match(verdict, { allowed: true, attempts: 2 })
})

t.test('a migration that commits between the two reads is not taken for code that is behind', async (t) => {
  const needs43 = { ...FITTING, code_min_schema_version: 43 }
  const target = await answering(t, [
    [200, { ...needs43, compatible: false }],
    [200, { ...needs43, current_schema_version: 43 }],
  ])
  const live = await answering(t, [[200, { ...FITTING, current_schema_version: 43 }]])
  t.match(await consult('promote', target, live, DECIDED_WITHIN_MS), { allowed: true, attempts: 2 })
})

t.test('C18: a disagreement that stays is refused after three attempts', async (t) => {
  const target = await answering(t, [[200, FITTING]])
  const live = await answering(t, [[200, { ...FITTING, current_schema_version: 43 }]])
  const verdict = await consult('promote', target, live, DECIDED_WITHIN_MS)
  t.match(verdict, { allowed: false, code: 'schema_version_disagreement', attempts: 3 })
  t.match(verdict.reasons[0]?.sentence, /3 times in a row/)
})

t.test('C09: a 503 is read three times, and then decided', async (t) => {
  const target = await answering(t, [[503, FITTING]])
  const started = performance.now()
  const verdict = await consult('promote', target, null, DECIDED_WITHIN_MS)
  const tookMs = performance.now() - started
  t.match(verdict, { allowed: false, code: 'schema_status_unavailable', attempts: 3 })
  t.equal(target.asked(), 3)
  t.ok(tookMs < DECIDED_WITHIN_MS + 4_000, `decided after ${Math.round(tookMs)} ms`)
})

t.test('a running migration is waited for', async (t) => {
  const target = await answering(t, [
    [200, { ...FITTING, migration_running: true }],
    [200, FITTING],
  ])
  t.match(await consult('promote', target, null, DECIDED_WITHIN_MS), { allowed: true, attempts: 2 })
})

t.test('a malformed answer, a 404 and a refusal by the numbers are never read again', async (t) => {
  for (const [status, body] of [
    [200, { ...FITTING, compatible: 'yes' }],
    [404, {}],
    [200, { ...FITTING, compatible: false }],
  ] as [number, unknown][]) {
    const target = await answering(t, [[status, body]])
    t.equal((await consult('promote', target, null, DECIDED_WITHIN_MS)).allowed, false)
    t.equal(target.asked(), 1)
  }
})
