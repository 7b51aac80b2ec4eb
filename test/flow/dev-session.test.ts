// `slotgate dev` in its surroundings: what it starts, the ports, a config, other connections, a terminal. Nothing is left of it.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { WebSocket } from 'ws'
import { Dev, SHOP as files, HEALTH, IS_LINUX, listeningOn, saying, withSchema } from '../support/dev.ts'

const HAS_TERMINAL = spawnSync('script', ['--version']).stdout?.includes('util-linux') ?? false

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

  await t.test(
    'that of a config gives way to the next, which sessions do not take from each other',
    async (t) => {
      const releases = { command: [process.execPath, 'server.js'], cwd: '.' }
      const config = JSON.stringify({
        listen: `127.0.0.1:${port}`,
        services: { shop: { releases, first: 'r1', health: { within: '10s' } } },
      })
      const begin = (...flags: string[]) =>
        Dev.start(t, {
          files: { ...files, 'proxy.config.yaml': config },
          args: () => [...flags, '--config', 'proxy.config.yaml'],
        })
      // Two that begin at once meet at a port.
      const sessions = await Promise.all([begin(), begin('--json')])
      const [dev, other] = sessions
      await Promise.all(sessions.map((session) => session.shows(/dev-1 is live/)))
      ;[, dev.url = ''] = await dev.shows(/slotgate dev +(http:\S+)\n/)
      t.match(dev.shown, `Port ${port} on 127.0.0.1 is already in use`)
      t.ok(Number(new URL(dev.url).port) > port)
      t.equal((await dev.get()).text, 'one')
      const admins = await Promise.all(sessions.map((session) => session.read('.slotgate/dev.admin')))
      t.equal(new Set(admins).size, sessions.length)

      await other.end('SIGTERM')
      for (const line of other.shown.trim().split('\n')) t.doesNotThrow(() => JSON.parse(line), line)

      await t.test(
        'and code that listens there but stays unhealthy leaves the old code serving, and one block says so',
        async (t) => {
          await dev.save('server.js', saying('two').replace('? 200', '? 503'))
          await dev.shows(/✗ Release dev-2 did not start: not healthy within 10000 ms: .*503.*save a change/s)
          t.match(await dev.get(), { status: 200, text: 'one' })
        },
      )
    },
  )
})

t.test('the services of a config, where a browser finds them', async (t) => {
  const service = (host: string) => ({
    hosts: [host],
    releases: { command: [process.execPath, 'server.js'], cwd: '.' },
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
${HEALTH}`

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

  await t.test('one session in a folder', async (t) => {
    const { code, stderr } = await dev.type('dev', '--', 'node', 'server.js')
    t.match({ code, stderr }, { code: 1, stderr: new RegExp(`Another session.*process ${dev.child.pid}`) })
    t.equal((await dev.type('status')).code, 0, 'the first one still has its key')
  })
})

t.test(
  'the keys, in a terminal',
  { skip: HAS_TERMINAL ? false : 'needs script, of util-linux' },
  async (t) => {
    const dev = await Dev.start(t, {
      files: { ...files, '.git/schema': '1', 'server.js': withSchema('one', [1, 1]) },
      inTerminal: 'front',
    })
    await dev.shows(/r once more · b roll back · s status · q quit/)
    await dev.shows(/dev-1 is live/)
    await dev.shows(/watching/)
    dev.press('b')
    await dev.shows(/There is no way back/)
    dev.press('r')
    await dev.shows(/once more: dev-2 boots.*✓ dev-2 is live/s)
    await dev.save('server.js', withSchema('three', [1, 2]))
    await dev.answers('three')
    await dev.shows(/✓ dev-3 is live/)
    dev.press('b')
    await dev.shows(/✓ dev-2 is live again/)
    await dev.answers('one')
    dev.press('s')
    await dev.shows(/● live +\w+ +dev-2 .*○ idle +\w+ +dev-3 /s)

    await t.test('that roll back where the schema has moved on say what the gate says', async (t) => {
      dev.press('b')
      await dev.shows(/✓ dev-3 is live again/)
      await dev.save('.git/schema', '2')
      dev.press('b')
      await dev.shows(
        /✗ Release dev-2 works with schema 1 to 1; the database is already at 2. \(schema_ahead_of_code\)\n *Nothing was switched: dev-3 is live/,
      )
      t.equal((await dev.get()).text, 'three')
    })

    await t.test('that roll back while new code is asked do not go to that', async (t) => {
      const held = `createServer(async (request, response) => {
        if (request.url === '/schema/status') writeFileSync('.git/asked', '')
        while (request.url === '/schema/status' && !existsSync('.git/tells')) {
          await new Promise((resolve) => setTimeout(resolve, 10))
        }`
      const code = withSchema('four', [3, 3]).replace('createServer((request, response) => {', held)
      await dev.save('server.js', code)
      await dev.until(async () => existsSync(join(dev.folder, '.git/asked')), 'dev-4 is asked')
      dev.press('b')
      await dev.save('.git/tells', '')
      await dev.shows(/dev-4 boots.*There is no way back/s)
      t.equal((await dev.get()).text, 'three')
    })

    dev.press('q')
    t.equal(await dev.exited, 0)
    t.match(dev.shown, 'nothing is left running')
    t.equal(await dev.read('after'), await dev.read('before'), 'the terminal is as it was')
    if (IS_LINUX) t.strictSame(await dev.processes(), [])
  },
)

t.test(
  'in the background of a terminal, then in front, and Ctrl-C',
  { skip: HAS_TERMINAL ? false : 'needs script, of util-linux' },
  async (t) => {
    const dev = await Dev.start(t, { files, inTerminal: 'background' })
    await dev.answers('one')
    await dev.shows(/watching/)
    dev.press('\n')
    // Until it is in front, the terminal shows what is typed.
    await dev.until(async () => {
      dev.press('s')
      return /● live/.test(dev.shown)
    }, 'the status')
    dev.press('\x03')
    t.equal(await dev.exited, 0)
    t.equal(await dev.read('after'), await dev.read('before'))
    if (IS_LINUX) t.strictSame(await dev.processes(), [])
  },
)
