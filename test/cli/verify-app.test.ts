// `slotgate verify-app` against apps over real sockets that break each rule of the contract, and against the example.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createNetServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Finding } from '../../src/cli/verify/finding.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { World } from '../support/world.ts'
import { type Ended, newFolder, run } from './terminal.ts'

const GOOD = {
  current_schema_version: 42,
  code_min_schema_version: 41,
  code_max_schema_version: 43,
  compatible: true,
  pending_migrations: ['043_add_invoice_notes.sql'],
}

async function listen(t: Test, server: Server, path?: string): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  if (path) server.listen(path)
  else server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return path ? `unix:${path}` : `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

type Serve = (req: IncomingMessage, res: ServerResponse) => void

const json =
  (body: unknown, status = 200): Serve =>
  (_, res) =>
    void res.writeHead(status).end(JSON.stringify(body))

/** An app that keeps the contract but for what it is given. */
function app({
  health = json({}),
  status = json(GOOD),
}: {
  health?: Serve
  status?: Serve
} = {}): RequestListener {
  return (req, res) => {
    if (req.method === 'GET' && req.url === '/healthz') return health(req, res)
    if (req.method === 'GET' && req.url === '/schema/status') return status(req, res)
    res.writeHead(404).end()
  }
}

const serve = (t: Test, listener: RequestListener, path?: string) => listen(t, createServer(listener), path)

interface Verified extends Ended {
  holds: boolean
  findings: Finding[]
  /** By its rule. */
  get(rule: string): Finding | undefined
}

async function verify(...argv: string[]): Promise<Verified> {
  const ended = await run(['verify-app', ...argv, '--json'])
  const body: { holds: boolean; findings: Finding[] } = JSON.parse(ended.stdout)
  return { ...ended, ...body, get: (rule) => body.findings.find((finding) => finding.rule === rule) }
}

const brokenRules = ({ findings }: Verified): string[] =>
  findings.filter(({ holds }) => holds === false).map(({ rule }) => rule)

t.test('an app that keeps the contract', async (t) => {
  const asked: string[] = []
  const listener = app()
  const url = await serve(t, (req, res) => {
    asked.push(`${req.method} ${req.url} ${req.headers['slotgate-role']}`)
    listener(req, res)
  })
  const verified = await verify(url)
  t.match(verified, { code: 0, holds: true, stderr: '' })
  t.strictSame(brokenRules(verified), [])
  t.strictSame(asked, ['GET /healthz idle', 'GET /schema/status idle', 'GET /schema/status rehearsal'])
  t.match(verified.get('migrations_run'), { holds: null, sentence: /was not called/ })
  t.match(verified.get('current_schema_version'), { holds: true, sentence: /is the number 42/ })
  t.match(verified.get('optional'), { holds: null, sentence: /dirty, migration_running, database_id/ })
  t.match(verified.get('public_port'), { holds: null, remedy: /--public/ })

  await t.test('in words', async (t) => {
    const { code, stdout, stderr } = await run(['verify-app', url])
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    t.match(stdout, `app at ${url}\n  ✓ The internal address is on loopback.\n  ✓ /healthz answered 200 in `)
    t.match(stdout, '\n✓ The contract holds, as far as it can be told from outside.\n')
  })
})

t.test('over a Unix socket', async (t) => {
  const url = await serve(t, app(), join(newFolder(t), 'app.sock'))
  const verified = await verify(url)
  t.match(verified, { code: 0, holds: true })
  t.match(verified.get('internal_address'), { holds: true, sentence: /Unix socket/ })
})

/** What an app does wrong, the rules that do not hold for it, and a word of the sentence of the first. */
const WRONG: Record<string, [Parameters<typeof app>[0], rules: string[], sentence: RegExp]> = {
  'an unhealthy one': [{ health: json({}, 503) }, ['health'], /answered 503/],
  'a health that redirects': [{ health: json({}, 302) }, ['health'], /answered 302/],
  'no status': [{ status: json({}, 404) }, ['status_200'], /^\/schema\/status answered 404/],
  'a status that redirects': [
    { status: (_, res) => void res.writeHead(301, { location: '/elsewhere' }).end() },
    ['status_200'],
    /answered 301; redirects are not followed/,
  ],
  'a status that cannot know': [
    { status: json({ error: 'starting' }, 503) },
    ['status_200'],
    /answered 503: .* \(starting\)/,
  ],
  'a status that fails': [{ status: json(GOOD, 500) }, ['status_200'], /answered 500; only 200 counts/],
  'a reset': [
    { status: (req) => void req.socket.resetAndDestroy() },
    ['status_answer'],
    /^The app could not be asked/,
  ],
  'a status that is too large': [
    { status: json({ ...GOOD, release: 'x'.repeat(70_000) }) },
    ['status_size'],
    /more than 65536 bytes/,
  ],
  'a page instead of a status': [
    { status: (_, res) => void res.end('<html></html>') },
    ['status_json'],
    /did not answer one JSON object/,
  ],
  'an array': [{ status: json([]) }, ['status_json'], /the body is an array, not an object/],
  'a status that is not UTF-8': [
    { status: (_, res) => void res.end(Buffer.from([0x7b, 0xff, 0x7d])) },
    ['status_json'],
    /not UTF-8/,
  ],
  'three fields of the wrong type at once': [
    { status: json({ ...GOOD, current_schema_version: '042', code_min_schema_version: null, dirty: 'no' }) },
    ['current_schema_version', 'code_min_schema_version', 'dirty'],
    /is the string "042", not a whole number of 0 or more/,
  ],
  'required fields that are not there': [
    { status: json({ current_schema_version: 42, pending_migrations: [] }) },
    ['code_min_schema_version', 'code_max_schema_version', 'compatible'],
    /is not there/,
  ],
  'a range that is upside down': [
    { status: json({ ...GOOD, code_min_schema_version: 44, compatible: false, problems: [{ code: 'x' }] }) },
    ['range'],
    /minimum 44 is above the maximum 43/,
  ],
  'compatible outside of the range': [
    { status: json({ ...GOOD, current_schema_version: 44 }) },
    ['compatible_agrees'],
    /44 is outside of the range 41 to 43, and compatible is true all the same/,
  ],
  'incompatible inside of the range without a reason': [
    { status: json({ ...GOOD, compatible: false }) },
    ['compatible_agrees'],
    /without a reason/,
  ],
}

for (const [what, [manners, rules, sentence]] of Object.entries(WRONG)) {
  t.test(`${what} does not hold`, async (t) => {
    const verified = await verify(await serve(t, app(manners)))
    t.match(verified, { code: 1, holds: false, stderr: '' })
    t.strictSame(brokenRules(verified), rules)
    const [first = ''] = rules
    t.match(verified.get(first), { sentence, remedy: /./ })
  })
}

const FINE: Record<string, unknown> = {
  'incompatible inside of the range with a reason': {
    ...GOOD,
    compatible: false,
    problems: [{ code: 'hole' }],
  },
  'incompatible outside of the range': { ...GOOD, current_schema_version: 44, compatible: false },
  'dirty, and so incompatible': { ...GOOD, compatible: false, dirty: true },
  'every optional field': {
    ...GOOD,
    dirty: false,
    migration_running: false,
    database_id: 'a',
    schema_digest: 'b',
    boot_id: 'c',
    release: 'r1',
    problems: [],
    applied_not_required: [],
  },
}

for (const [what, body] of Object.entries(FINE)) {
  t.test(`${what} holds`, async (t) => {
    t.match(await verify(await serve(t, app({ status: json(body) }))), { code: 0, holds: true })
  })
}

t.test('a body that never ends is too late', async (t) => {
  const status: Serve = (_, res) => {
    const timer = setInterval(() => res.write(' '), 50)
    res.on('close', () => clearInterval(timer))
  }
  const verified = await verify(await serve(t, app({ status })))
  t.strictSame(brokenRules(verified), ['status_time'])
  t.match(verified.get('status_time'), { code: 'schema_status_timeout', sentence: /within 3000 ms/ })
  t.match(verified.get('status_200'), { holds: null })
})

t.test('a health that hangs is too late', async (t) => {
  const verified = await verify(await serve(t, app({ health: () => {} })))
  t.match(verified.get('health'), { holds: false, sentence: /within 2000 ms/ })
})

t.test('what is no HTTP does not hold', async (t) => {
  const url = await listen(
    t,
    createNetServer((socket) => socket.end('SSH-2.0-OpenSSH_9.6\r\n')),
  )
  const verified = await verify(url)
  t.strictSame(brokenRules(verified), ['health', 'status_answer'])
})

t.test('a status that counts its reads changes something', async (t) => {
  let reads = 0
  const counting: Serve = (req, res) => json({ ...GOOD, current_schema_version: 41 + reads++ })(req, res)
  const verified = await verify(await serve(t, app({ status: counting })))
  t.strictSame(brokenRules(verified), ['read_twice'])
  t.match(verified.get('read_twice'), { sentence: /current_schema_version was 41, then 42/ })
})

t.test('fields that slotgate does not know may change', async (t) => {
  let reads = 0
  const counting: Serve = (req, res) => json({ ...GOOD, reads: reads++ })(req, res)
  t.match(await verify(await serve(t, app({ status: counting }))), { code: 0 })
})

t.test('a change while a migration runs is nobody’s fault', async (t) => {
  let reads = 0
  const moving: Serve = (req, res) =>
    json({ ...GOOD, current_schema_version: 41 + reads++, migration_running: true })(req, res)
  const verified = await verify(await serve(t, app({ status: moving })))
  t.match(verified, { code: 0 })
  t.match(verified.get('read_twice'), { holds: null, remedy: /when it has ended/ })
})

t.test('an app that refuses a role does not hold', async (t) => {
  const picky: Serve = (req, res) =>
    json(GOOD, req.headers['slotgate-role'] === 'rehearsal' ? 400 : 200)(req, res)
  t.strictSame(brokenRules(await verify(await serve(t, app({ status: picky })))), ['read_twice'])
})

t.test('a misspelt field is guessed, another one is only named', async (t) => {
  const body = { ...GOOD, pending_migrations: undefined, pending_migration: [], weather: 'fine' }
  const verified = await verify(await serve(t, app({ status: json(body) })))
  t.match(verified.get('unknown_fields'), {
    holds: null,
    sentence: /pending_migration, weather/,
    remedy: /pending_migration as pending_migrations/,
  })
  t.match(verified.get('pending_migrations'), { holds: null, code: 'pending_unknown' })
})

t.test('the public port', async (t) => {
  const url = await serve(t, app())
  const on = async (listener: RequestListener) => verify(url, '--public', await serve(t, listener))

  await t.test('does not have the paths', async (t) => {
    const verified = await on((_, res) => void res.writeHead(404).end())
    t.match(verified, { code: 0, holds: true })
    t.match(verified.get('public_status'), { holds: true, sentence: /answered 404/ })
  })

  await t.test('answers everything with a page', async (t) => {
    t.match(await on((_, res) => void res.end('<html></html>')), { code: 0, holds: true })
  })

  await t.test('has them all', async (t) => {
    t.strictSame(brokenRules(await on(app())), ['public_health', 'public_status'])
  })

  await t.test('has a status that says something else', async (t) => {
    const other = { ...GOOD, current_schema_version: 41 }
    t.strictSame(brokenRules(await on(app({ health: json({}, 404), status: json(other) }))), [
      'public_status',
    ])
  })

  await t.test('is the internal one', async (t) => {
    const verified = await verify(url, '--public', url.replace('127.0.0.1', 'localhost'))
    t.strictSame(brokenRules(verified), ['public_port'])
  })

  await t.test('is not there', async (t) => {
    const server = createNetServer()
    const gone = await listen(t, server)
    server.close()
    const verified = await verify(url, '--public', gone)
    t.match(verified, { code: 0 })
    t.match(verified.get('public_status'), { holds: null, sentence: /connection refused/ })
  })
})

t.test('nobody listens: exit code 5', async (t) => {
  const server = createNetServer()
  const gone = await listen(t, server)
  server.close()
  for (const address of [
    gone,
    gone.replace('127.0.0.1', 'localhost'),
    `unix:${join(newFolder(t), 'no.sock')}`,
  ]) {
    const { code, stdout, stderr } = await run(['verify-app', address])
    t.strictSame({ code, stdout }, { code: 5, stdout: '' })
    t.match(stderr, /^Nothing answers at .*: (connection refused|there is no such socket)\.\n {2}See whether/)
  }
})

t.test('what is no address: exit code 2', async (t) => {
  const wrong: [argv: string[], sentence: RegExp][] = [
    [[], /^slotgate verify-app needs URL/],
    [['3901'], /^The internal address must be a URL such as/],
    [['https://127.0.0.1:3901'], /TLS to a slot is not spoken/],
    [['http://127.0.0.1:3901/healthz'], /without a path/],
    [['http://127.0.0.1:3901', '--public', 'unix:/run/x'], /^--public must be http/],
  ]
  for (const [argv, sentence] of wrong) {
    const { code, stdout, stderr } = await run(['verify-app', ...argv])
    t.strictSame({ code, stdout }, { code: 2, stdout: '' }, argv.join(' '))
    t.match(stderr, sentence)
  }
})

t.test('what an app says does not drive the terminal', async (t) => {
  const body = { ...GOOD, release: 'r1\u001b[2J', '\u001b[31mx': 1 }
  const { stdout } = await run(['verify-app', await serve(t, app({ status: json(body) }))])
  t.notMatch(stdout, '\u001b')
})

const RELEASES = fileURLToPath(new URL('../../example/releases', import.meta.url))

t.test('the app of the example keeps the contract, before its migrations and after them', async (t) => {
  const { url } = await createTestDatabase(t)
  const world = await World.create(t)
  world.services = [
    '  invoices:',
    '    releases:',
    `      command: ${JSON.stringify([process.execPath, 'app.ts'])}`,
    `      cwd: ${RELEASES}/{release}`,
    `      env: ${JSON.stringify({ DATABASE_URL: url })}`,
  ]
  await world.start(t)
  const { body: staged } = await world.stage('r1')
  t.ok(staged.public_urls, JSON.stringify(staged))
  const before = await verify(staged.internal_url, '--public', staged.public_urls[0])
  t.match(before, { code: 0, holds: true }, before.stdout)
  t.match(before.get('compatible_agrees'), { sentence: /^0 is outside of the range 1 to 2/ })
  await fetch(`${staged.internal_url}/migrations/run`, { method: 'POST' })
  const after = await verify(staged.internal_url, '--public', staged.public_urls[0])
  t.match(after, { code: 0, holds: true }, after.stdout)
  t.match(after.get('compatible_agrees'), { sentence: /^2 is in the range 1 to 2/ })
})
