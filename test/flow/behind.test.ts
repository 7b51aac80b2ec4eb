// slotgate behind Caddy and nginx, with the very files of deploy/: who the client is, WebSockets, event streams.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { WebSocket, WebSocketServer } from 'ws'
import { freePort, isAccepting } from '../../bench/ports.ts'
import { tls } from '../admin/tls.ts'
import { World } from '../support/world.ts'

const LOOK_EVERY_MS = 20
const deploy = join(import.meta.dirname, '..', '..', 'deploy')
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`
const isThere = (command: string): boolean =>
  spawnSync(command, ['-v'], { env: { PATH } }).error === undefined

interface Proxy {
  /** Of the file in deploy/, with what differs here: its port, that of slotgate, and no certificate. */
  configure(file: string, port: number, slotgate: number, folder: string): string
  file: string
  command: (config: string) => string[]
}

const PROXIES: Record<string, Proxy> = {
  caddy: {
    file: 'Caddyfile',
    configure: (file, port, slotgate) =>
      ['{', '\tadmin off', '\tgrace_period 1s', '}', file]
        .join('\n')
        .replace(/^shop\.example\.com \{/m, `http://shop.example.com:${port} {`)
        .replace('127.0.0.1:8080', `127.0.0.1:${slotgate}`),
    command: (config) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', config],
  },
  nginx: {
    file: 'nginx.conf',
    configure: (file, port, slotgate, folder) =>
      [
        'daemon off;',
        'worker_processes 1;',
        `pid ${folder}/pid;`,
        'events {}',
        'http {',
        'access_log off;',
        ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder};`),
        file
          .replace(/server \{\s+listen 80;[\s\S]*?\n\}\n/, '')
          .replace('listen 443 ssl http2;', `listen 127.0.0.1:${port};`)
          .replaceAll(/ssl_certificate.*\n/g, '')
          .replace('127.0.0.1:8080', `127.0.0.1:${slotgate}`),
        '}',
      ].join('\n'),
    command: (config) => ['nginx', '-e', 'stderr', '-c', config],
  },
}

t.test(
  'nginx takes the whole file, with TLS and HTTP/2',
  { skip: isThere('nginx') ? false : 'needs nginx' },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'slotgate-nginx-'))
    t.teardown(() => rm(folder, { recursive: true }))
    await writeFile(join(folder, 'shop.pem'), `${tls.cert}\n${tls.key}`)
    const file = (await readFile(join(deploy, 'nginx.conf'), 'utf8'))
      .replaceAll(/\/etc\/ssl\/shop\.example\.com\.\w+/g, `${folder}/shop.pem`)
      .replaceAll(/listen (80|443)/g, `listen unix:${folder}/$1`)
    const config = join(folder, 'nginx.conf')
    await writeFile(
      config,
      ['events {}', `pid ${folder}/pid;`, 'http {', 'access_log off;', file, '}'].join('\n'),
    )
    const { status, stderr } = spawnSync('nginx', ['-e', 'stderr', '-t', '-c', config], {
      env: { PATH },
      encoding: 'utf8',
    })
    t.equal(status, 0, stderr)
  },
)

for (const [name, proxy] of Object.entries(PROXIES)) {
  t.test(`behind ${name}`, { skip: isThere(name) ? false : `needs ${name}` }, async (t) => {
    const { url, wsUrl } = await startBehind(t, proxy)
    const host = { host: 'shop.example.com' }

    await t.test('the app knows who the client is, and no client can say otherwise', async (t) => {
      const forged = { ...host, 'x-forwarded-for': '203.0.113.9', 'x-forwarded-proto': 'https' }
      const { body, statusCode } = await request(url, { headers: forged })
      t.equal(statusCode, 200)
      t.match(await body.json(), {
        host: /^shop\.example\.com/,
        'x-forwarded-for': '127.0.0.1, 127.0.0.1',
        'x-forwarded-proto': 'http',
        'x-forwarded-host': /^shop\.example\.com/,
      })
    })

    await t.test('a WebSocket goes through', async (t) => {
      const socket = new WebSocket(wsUrl, { headers: host })
      await once(socket, 'open')
      socket.send('there')
      const [answer] = await once(socket, 'message')
      t.equal(String(answer), 'there and back')
      socket.close()
      await once(socket, 'close')
    })

    await t.test('an event comes when it is sent, and not when the stream ends', async (t) => {
      const { body } = await request(`${url}/events`, { headers: host })
      const [event] = await once(body, 'data')
      t.equal(String(event), 'data: one\n\n')
      body.destroy()
    })
  })
}

/** An app, slotgate in front of it, and the proxy in front of that. */
async function startBehind(t: Test, proxy: Proxy): Promise<{ url: string; wsUrl: string }> {
  const [blue, green] = [await startApp(t), await startApp(t)]
  const world = await World.create(t)
  world.settings.push('relay: { trusted_proxies: [127.0.0.1] }')
  world.services = [
    '  shop:',
    '    hosts: [shop.example.com]',
    '    schema: off',
    '    first: blue',
    '    slots:',
    `      blue: { public: "${blue}", internal: "${blue}" }`,
    `      green: { public: "${green}", internal: "${green}" }`,
  ]
  await world.start(t)
  await world.until(async () => {
    const { body } = await world.call('GET', '/v1/services/shop')
    return body.live !== null
  }, 'the app is live')
  const port = await freePort()
  await startProxy(t, proxy, join(world.folder, 'proxy'), port, world.doors.frontDoor.port)
  return { url: `http://127.0.0.1:${port}`, wsUrl: `ws://127.0.0.1:${port}` }
}

async function startProxy(
  t: Test,
  proxy: Proxy,
  folder: string,
  port: number,
  slotgate: number,
): Promise<void> {
  await mkdir(folder)
  const file = await readFile(join(deploy, proxy.file), 'utf8')
  const config = join(folder, proxy.file)
  await writeFile(config, proxy.configure(file, port, slotgate, folder))
  const [command = '', ...args] = proxy.command(config)
  const child = spawn(command, args, {
    env: { PATH, HOME: folder },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk) => (said += String(chunk)))
  const exited = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGTERM')
    await exited
  })
  while (!(await isAccepting(port))) {
    if (child.exitCode !== null) throw new Error(said)
    await pause(LOOK_EVERY_MS)
  }
}

/** Tells what it was asked, sends an event and stays, and answers a WebSocket. */
async function startApp(t: Test): Promise<string> {
  const answer: RequestListener = (request, response) => {
    if (request.url !== '/events') return response.end(JSON.stringify(request.headers))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    return response.write('data: one\n\n')
  }
  const server = createServer(answer).listen(0, '127.0.0.1')
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket) =>
    socket.on('message', (message) => socket.send(`${String(message)} and back`)),
  )
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}
