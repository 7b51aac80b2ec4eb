// `slotgate dev`, as somebody lives with it: it boots, sees saves, keeps the old code where the new one is no good, and leaves
// nothing behind.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { WebSocket } from 'ws'
import { Dev, listeningOn, saying } from '../support/dev.ts'

const PACKAGE = JSON.stringify({ name: 'shop', type: 'module' })
const files = { 'package.json': PACKAGE, 'server.js': saying('one') }
const IS_LINUX = existsSync('/proc/self/environ')
const HAS_TERMINAL = spawnSync('script', ['--version']).stdout?.includes('util-linux') ?? false

t.test('a command is enough: the app is up, and its new code after a save', async (t) => {
  const dev = await Dev.start(t, { files })
  await dev.shows(/watching/)
  const first = await dev.get()
  t.match(first, { status: 200, text: 'one' }, 'a request that comes early waits')
  t.match(
    dev.shown,
    /shop listens on PORT and not on INTERNAL_PORT.*schema: off/,
    'what it found out is said',
  )
  await dev.save('server.js', saying('two'))
  await dev.answers('two')
  await dev.shows(/✓ dev-2 is live/)
  t.equal(dev.shown.match(/schema: off/g)?.length, 1, 'once')

  await t.test('the other commands find it without a flag', async (t) => {
    const { code, stdout } = await dev.type('status', '--json')
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { service: 'shop', live: { release: 'dev-2' }, idle: { release: 'dev-1' } })
    t.equal(statSync(join(dev.folder, '.slotgate/dev.key')).mode & 0o777, 0o600)
    t.equal(await dev.read('.slotgate/.gitignore'), '*\n', 'git never sees the key')
  })

  await t.test('and when it ends nothing is left', async (t) => {
    t.equal(await dev.end('SIGINT'), 0)
    for (const path of ['dev.key', 'dev.admin', 'dev'])
      t.notOk(existsSync(join(dev.folder, '.slotgate', path)), path)
    if (IS_LINUX) t.strictSame(await dev.processes(), [])
    const { code, stderr } = await dev.type('status')
    t.match({ code, stderr }, { code: 2, stderr: /No key to sign with/ })
  })
})

t.test('the command of the README, word for word', async (t) => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, words = ''] = /^npx slotgate dev (.*?) +#/m.exec(readme) ?? []
  t.ok(words)
  const dev = await Dev.start(t, { files, args: () => words.split(' ') })
  const [, url = ''] = await dev.shows(/slotgate dev +(http:\S+)\n/)
  t.equal(await (await fetch(url)).text(), 'one')
})

t.test('code that does not start leaves the old code serving, and one block says why', async (t) => {
  const dev = await Dev.start(t, { files })
  await dev.answers('one')
  await dev.shows(/watching/)
  await dev.save('server.js', saying('two', `console.error('no printer at all'); process.exit(3)`))
  await dev.shows(
    /✗ Release dev-2 did not start: it ended with exit code 3.*last lines of its output:\n *│ no printer at all\n/s,
  )
  t.match(await dev.get(), { status: 200, text: 'one' })
  await dev.save('server.js', saying('three'))
  await dev.answers('three')
})

t.test('while nothing is live yet, a page says why', async (t) => {
  const dev = await Dev.start(t, { files: { ...files, 'server.js': 'process.exit(1)' } })
  await dev.shows(/watching/)
  await dev.shows(/dev-1 did not start/)
  const waiting = dev.get('/', { accept: 'text/html' })
  await dev.save('server.js', saying('at last'))
  t.match(await waiting, { status: 200, text: 'at last' }, 'who waits meanwhile is served')
})

/** The least app that has both ports, with a schema in a file; it has room for what a test wants it to wait for. */
const withSchema = (text: string, range: [min: number, max: number], first = ''): string => `
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
${first}
const { PORT, INTERNAL_PORT, HOST, SLOTGATE_BOOT_ID: boot_id } = process.env
const [min, max] = ${JSON.stringify(range)}
createServer((_, response) => response.end(${JSON.stringify(text)})).listen(PORT, HOST)
createServer((request, response) => {
  if (request.url === '/migrations/run') writeFileSync('.git/schema', String(max))
  const current = Number(readFileSync('.git/schema', 'utf8'))
  const pending = current < max ? [max + '_notes.sql'] : []
  response.end(JSON.stringify({
    current_schema_version: current, code_min_schema_version: min, code_max_schema_version: max,
    pending_migrations: pending, compatible: min <= current && current <= max, boot_id,
  }))
}).listen(INTERNAL_PORT, HOST)
process.on('SIGTERM', () => process.exit())
`

t.test('code that needs a migration waits for it, and the terminal has the command', async (t) => {
  const dev = await Dev.start(t, {
    files: { ...files, '.git/schema': '1', 'server.js': withSchema('one', [1, 1]) },
  })
  await dev.answers('one')
  await dev.shows(/watching/)
  await dev.save('server.js', withSchema('two', [2, 2]))
  const [, curl = ''] = await dev.shows(
    /schema_behind_code.*dev-1 is live; dev-2 stays up.*\n *(curl -X POST http:\S+)\n/s,
  )
  const page = await dev.get('/', { accept: 'text/html' })
  t.equal(page.text, 'one')
  t.equal(
    page.headers['slotgate-dev'],
    'live="dev-1", refused="dev-2", code=schema_behind_code, pending=("2_notes.sql")',
  )
  await fetch(curl.replace('curl -X POST ', ''), { method: 'POST' })
  t.equal((await dev.type('promote')).code, 0)
  await dev.answers('two')
  await dev.shows(/✓ dev-2 is live/)
  t.equal((await dev.get('/', { accept: 'text/html' })).headers['slotgate-dev'], 'live="dev-2"')
})

t.test('migrations that need not run yet are mentioned once', async (t) => {
  const dev = await Dev.start(t, {
    files: { ...files, '.git/schema': '1', 'server.js': withSchema('one', [1, 2]) },
  })
  await dev.shows(/! Release dev-1 ships migrations that have not run: 2_notes.sql. .*\/migrations\/run/)
  await dev.shows(/watching/)
  await dev.save('server.js', withSchema('two', [1, 2]))
  await dev.shows(/✓ dev-2 is live/)
  await dev.save('server.js', withSchema('three', [1, 3]))
  await dev.shows(/! Release dev-3 ships migrations that have not run: 3_notes.sql/)
  t.notMatch(dev.shown, 'Release dev-2 ships')
})

t.test('an app that is slow to open its second port is not taken for one without', async (t) => {
  const late = withSchema('one', [1, 1]).replace(
    '.listen(INTERNAL_PORT',
    '; const open = () => internal.listen(INTERNAL_PORT',
  )
  const server = `${late.replace('createServer((request', 'const internal = createServer((request')}
setTimeout(open, 1500)`
  const dev = await Dev.start(t, { files: { ...files, '.git/schema': '1', 'server.js': server } })
  await dev.shows(/schema: off/)
  await dev.shows(/it listens on INTERNAL_PORT after all: dev-2 boots.*✓ dev-2 is live/s)
  const { stdout } = await dev.type('status', '--json')
  t.match(JSON.parse(stdout), { schema: { check: 'on', current: 1 }, live: { release: 'dev-2' } })
})

t.test('the newest change wins: a boot that is out of date is called off', async (t) => {
  const dev = await Dev.start(t, { files })
  await dev.answers('one')
  await dev.shows(/watching/)
  await dev.save('server.js', `console.log('hanging'); setInterval(() => {}, 1000)`)
  await dev.shows(/dev-2 │ hanging/)
  await dev.save('server.js', saying('three'))
  await dev.answers('three')
  await dev.shows(/✓ dev-3 is live/)
  t.notMatch(dev.shown, /✗/, 'what was called off is no failure')
  if (IS_LINUX) t.equal((await dev.processes()).length, 2, 'the live release and the one before')
})

t.test('a file that the app writes itself does not keep it from serving', async (t) => {
  const writes = `
    import { appendFileSync } from 'node:fs'
    const busy = setInterval(() => appendFileSync('app.log', 'x'), 20)
    await new Promise((resolve) => setTimeout(resolve, 600))
    clearInterval(busy)
  `
  const dev = await Dev.start(t, { files })
  await dev.answers('one')
  await dev.shows(/watching/)
  await dev.save('server.js', saying('two', writes))
  await dev.shows(/app\.log changes whenever the app boots; from now on it is passed over/)
  await dev.answers('two')
})

t.test(
  'a command that starts others: npm run, and a shell',
  { skip: IS_LINUX ? false : 'needs /proc' },
  async (t) => {
    const scripts = { dev: `${process.execPath} server.js & wait` }
    const dev = await Dev.start(t, {
      files: { ...files, 'package.json': JSON.stringify({ name: 'shop', type: 'module', scripts }) },
      args: (port) => ['--listen', `127.0.0.1:${port}`, '--', 'npm', 'run', 'dev'],
    })
    await dev.answers('one')
    await dev.shows(/watching/)
    await dev.save('server.js', saying('two'))
    await dev.answers('two')
    t.ok((await dev.processes()).length > 2)
    // As under npm, where one Ctrl-C comes twice.
    dev.child.kill('SIGINT')
    t.equal(await dev.end('SIGINT'), 0)
    t.strictSame(await dev.processes(), [])
  },
)

t.test('a port that is taken', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  const address = taken.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0

  await t.test('one that was asked for is refused by name', async (t) => {
    const dev = await Dev.start(t, { files, args: () => listeningOn(port) })
    t.equal(await dev.exited, 1)
    t.match(dev.shown, `Port ${port} on 127.0.0.1 is already in use`)
    t.notOk(existsSync(join(dev.folder, '.slotgate/dev.key')))
  })

  await t.test('one of the config gives way to the next, and that is said', async (t) => {
    const config = JSON.stringify({
      listen: `127.0.0.1:${port}`,
      services: { shop: { releases: { command: [process.execPath, 'server.js'], cwd: '.' }, first: 'r1' } },
    })
    const dev = await Dev.start(t, {
      files: { ...files, 'proxy.config.yaml': config },
      args: () => ['--config', 'proxy.config.yaml'],
    })
    const [, url = ''] = await dev.shows(/slotgate dev +(http:\S+)\n/)
    t.match(dev.shown, `Port ${port} on 127.0.0.1 is already in use`)
    t.ok(Number(new URL(url).port) > port)
    await dev.shows(/✓ dev-1 is live/)
    t.equal(await (await fetch(url)).text(), 'one')
  })
})

t.test('the services of a config, where a browser finds them, and the log as JSON', async (t) => {
  const service = (host: string) => ({
    hosts: [host],
    releases: { command: [process.execPath, 'server.js'], cwd: '.' },
    first: 'r1',
  })
  const config = { services: { shop: service('shop.localhost'), help: service('help.localhost') } }
  const more = { ...files, 'proxy.config.yaml': JSON.stringify(config) }
  const dev = await Dev.start(t, {
    files: more,
    args: (port) => ['--config', 'proxy.config.yaml', '--listen', `127.0.0.1:${port}`],
  })
  await dev.shows(/slotgate dev +http:\/\/shop.localhost:\d+ +http:\/\/help.localhost:\d+\n/)
  await dev.shows(/watching/)
  for (const name of ['shop', 'help'])
    t.equal((await dev.get('/', { host: `${name}.localhost` })).text, 'one')
  await dev.save('server.js', saying('two'))
  for (const name of ['shop', 'help']) {
    await dev.until(async () => (await dev.get('/', { host: `${name}.localhost` })).text === 'two', name)
  }
  await dev.end('SIGTERM')
  t.match(await dev.type('dev', '--config', 'proxy.config.yaml', '--', 'node', 'x'), {
    code: 2,
    stderr: /has 2 services/,
  })

  const other = await Dev.start(t, { files, args: (port) => ['--json', ...listeningOn(port)] })
  await other.shows(/"msg":"slotgate is up"/)
  await other.shows(/"msg":"dev-1 is live"/)
  await other.end('SIGTERM')
  for (const line of other.shown.trim().split('\n')) t.doesNotThrow(() => JSON.parse(line), line)
})

t.test('one session in a folder', async (t) => {
  const dev = await Dev.start(t, { files })
  await dev.answers('one')
  const { code, stderr } = await dev.type('dev', '--', 'node', 'server.js')
  t.match({ code, stderr }, { code: 1, stderr: new RegExp(`process ${dev.child.pid}`) })
  t.equal((await dev.type('status')).code, 0, 'the first one still has its key')
})

t.test('what to run has to be said', async (t) => {
  const dev = await Dev.start(t, { files, args: () => [] })
  t.equal(await dev.exited, 2)
  t.match(dev.shown, 'slotgate dev -- COMMAND …')
})

const STREAMS = `
import { createServer } from 'node:http'
import { WebSocketServer } from '${import.meta.resolve('ws')}'
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write('data: NAME\\n\\n')
})
new WebSocketServer({ server }).on('connection', (socket) => socket.send('NAME'))
server.listen(process.env.PORT, process.env.HOST)
process.on('SIGTERM', () => process.exit())
`

t.test('WebSockets and event streams pass, and end with the code that they talk to', async (t) => {
  const dev = await Dev.start(t, { files: { ...files, 'server.js': STREAMS.replaceAll('NAME', 'one') } })
  await dev.shows(/dev-1 is live/)
  await dev.shows(/watching/)
  const socket = new WebSocket(dev.url.replace('http', 'ws'))
  const [hello] = await once(socket, 'message')
  t.equal(String(hello), 'one')
  const events = await fetch(`${dev.url}/events`)
  const reader = events.body?.getReader()
  t.match(new TextDecoder().decode((await reader?.read())?.value), 'data: one')
  const closed = once(socket, 'close')
  await dev.save('server.js', STREAMS.replaceAll('NAME', 'two'))
  t.equal((await closed)[0], 1001, 'it is told to come back')
  await reader?.read().catch(() => {})
  const next = new WebSocket(dev.url.replace('http', 'ws'))
  t.equal(String((await once(next, 'message'))[0]), 'two')
  next.close()
})

t.test(
  'the keys, in a terminal',
  { skip: HAS_TERMINAL ? false : 'needs script, of util-linux' },
  async (t) => {
    const dev = await Dev.start(t, { files, inTerminal: true })
    await dev.shows(/r once more · b roll back · s status · q quit/)
    await dev.shows(/dev-1 is live/)
    await dev.shows(/watching/)
    dev.press('b')
    await dev.shows(/There is no way back/)
    dev.press('r')
    await dev.shows(/once more: dev-2 boots.*✓ dev-2 is live/s)
    await dev.save('server.js', saying('three'))
    await dev.answers('three')
    await dev.shows(/✓ dev-3 is live/)
    dev.press('b')
    await dev.shows(/✓ dev-2 is live again/)
    await dev.answers('one')
    dev.press('s')
    await dev.shows(/● live +\w+ +dev-2 .*○ idle +\w+ +dev-3 /s)
    dev.press('q')
    t.equal(await dev.exited, 0)
    t.match(dev.shown, 'nothing is left running')
    t.equal(await dev.read('after'), await dev.read('before'), 'the terminal is as it was')
    if (IS_LINUX) t.strictSame(await dev.processes(), [])
  },
)

t.test('Ctrl-C in a terminal', { skip: HAS_TERMINAL ? false : 'needs script, of util-linux' }, async (t) => {
  const dev = await Dev.start(t, { files, inTerminal: true })
  await dev.answers('one')
  dev.press('\x03')
  t.equal(await dev.exited, 0)
  t.equal(await dev.read('after'), await dev.read('before'))
  if (IS_LINUX) t.strictSame(await dev.processes(), [])
})
