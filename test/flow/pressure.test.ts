// A machine that has nothing left to give: no file descriptor to accept with, none to reach the app with. slotgate lives,
// answers what it can, and recovers by itself.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { type Front, startFront } from '../support/front.ts'
import { descriptorsOf } from '../support/proc.ts'
import { ResponseReader } from '../support/raw-client.ts'

const canLimit = existsSync('/usr/bin/prlimit') && existsSync('/proc/self/fd')
const skip = !canLimit && 'prlimit and /proc are needed: Linux with util-linux'

/** What is left to slotgate, above what it has open when nothing happens. */
const SPARE = 20
/** Who is not accepted waits for so long. */
const PATIENCE_MS = 2_000
/** Who is connected gets an answer, on a busy machine too. */
const ANSWER_WITHIN_MS = 20_000
const GET = 'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n'

async function start(t: Test): Promise<Front & { descriptors: number }> {
  const app = createServer((_, response) => response.end('ok'))
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    app.closeAllConnections()
    app.close()
  })
  const { port } = app.address() as AddressInfo
  // Nothing that is kept may be taken for a leak, and nothing that is in the way may go away by itself.
  const settings = [
    'threads: 2',
    'relay:',
    '  upstream_idle: 100ms',
    '  head_timeout: 60s',
    '  keep_alive_timeout: 60s',
  ]
  const front = await startFront(t, { public: port, internal: port }, settings)
  for (let warm = 0; warm < 20; warm++) await front.world.get()
  return { ...front, descriptors: await settled(front) }
}

/** Resolves to the open descriptors, when the connections to the app are closed and nothing changes any more. */
async function settled({ world, served }: Front): Promise<number> {
  let [last, since] = [descriptorsOf(served.pid), performance.now()]
  await world.until(async () => {
    const now = descriptorsOf(served.pid)
    if (now !== last) [last, since] = [now, performance.now()]
    return performance.now() - since > 500
  }, 'the descriptors settle')
  return last
}

/** Lets the process open so many files more than it has open now. The limit is on their numbers, which may have gaps. */
function leave(pid: number, spare: number): void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
  let most = 0
  for (let free = 0; free < spare || open.has(most); most++) free += Number(!open.has(most))
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${most}:`])
}

/** Connections that say nothing. */
async function occupy(t: Test, port: number, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(port, '127.0.0.1'))
  t.teardown(() => sockets.forEach((socket) => void socket.destroy()))
  await Promise.all(
    sockets.map(
      (socket) =>
        new Promise<void>((resolve) => {
          socket
            .on('error', () => {})
            .once('connect', resolve)
            .once('close', resolve)
        }),
    ),
  )
  return sockets
}

/** Whether a new client is served. */
async function isServed(url: string): Promise<boolean> {
  const options = { reset: true, headersTimeout: PATIENCE_MS, bodyTimeout: PATIENCE_MS }
  const response = await request(url, options).catch(() => null)
  return response?.statusCode === 200 && (await response.body.text()) === 'ok'
}

t.test(
  'with no descriptor left to accept with slotgate lives, and serves again once there is one',
  { skip },
  async (t) => {
    const front = await start(t)
    const { world, served, descriptors } = front
    const { port } = world.doors.frontDoor
    leave(served.pid, SPARE)
    for (let round = 0; round < 3; round++) {
      const sockets = await occupy(t, port, SPARE * 5)
      await world.until(async () => descriptorsOf(served.pid) >= descriptors + SPARE - 2, 'all are taken')
      t.notOk(await isServed(world.url), 'there is none for a new client')
      for (const socket of sockets) socket.destroy()
      await world.until(() => isServed(world.url), 'a new client is served again')
      await world.until(
        async () => descriptorsOf(served.pid) <= descriptors,
        'all descriptors are given back',
      )
    }
    served.kill('SIGTERM')
    t.equal(await served.exited, 0)
  },
)

t.test(
  'with no descriptor left to reach the app with, a client is told, and served once there is one',
  { skip },
  async (t) => {
    const front = await start(t)
    const { world, served, descriptors } = front
    const { port } = world.doors.frontDoor
    const clients = await occupy(t, port, SPARE)
    await world.until(async () => descriptorsOf(served.pid) >= descriptors + SPARE, 'all are connected')
    leave(served.pid, 0)
    const readers = clients.map((socket) => new ResponseReader(socket, ANSWER_WITHIN_MS))
    const ask = () =>
      Promise.all(
        clients.map(async (socket, nth) => {
          socket.write(GET)
          return readers[nth]?.response('GET')
        }),
      )
    for (const answer of await ask()) t.match(answer, { status: 502 })
    leave(served.pid, SPARE * 2)
    for (const answer of await ask()) t.match(answer, { status: 200, body: Buffer.from('ok') })
    t.match((await world.status()).live?.claims, { requests: 0, tunnels: 0 })
    served.kill('SIGTERM')
    t.equal(await served.exited, 0)
  },
)
