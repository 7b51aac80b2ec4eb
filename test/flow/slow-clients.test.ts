// Clients that are slow on purpose: the four attacks of slowhttptest, and slow readers of what never ends. Ordinary clients
// are served meanwhile, the slow ones are cut by the timers, and their memory is bounded.
import '../support/without-domains.ts'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { quantile } from '../support/flips.ts'
import { type Front, startFront } from '../support/front.ts'
import { memoryOf } from '../support/proc.ts'

const ATTACKERS = 150
/** Of those who fill every buffer of the kernel first. */
const FILLERS = 25
const LIMIT_MS = 1_000
/** A busy machine, and a relay that looks at its connections once a second, may be late by so much: less than any timer has by default. */
const LATE_MS = 8_000
/** Who fills every buffer of the kernel first is not slow until they are full. */
const FULL_WITHIN_MS = 20_000
const DRIP_MS = 100
const RELAY = [
  'relay:',
  `  head_timeout: ${LIMIT_MS}ms`,
  `  keep_alive_timeout: ${LIMIT_MS}ms`,
  `  stall_timeout: ${LIMIT_MS}ms`,
  `  tunnel_idle: ${LIMIT_MS}ms`,
]

/** What one body or tunnel would be, if it were taken: all of them together are far more than any machine's memory. */
const HUGE_BYTES = 1024 ** 3
const PIECE = Buffer.alloc(64 * 1024, 'x')
/** What all slow clients together may add to slotgate's memory, what it has not collected yet included. */
const MEMORY_MIB = 150
/** An ordinary client, who is served at once, asks so often. */
const ORDINARY_EVERY_MS = 20

const SWITCHED =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'
const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'

/** Writes for as long as somebody takes it. */
function fill(stream: ServerResponse | Socket): void {
  const more = () => {
    while (!stream.destroyed && stream.write(PIECE));
  }
  stream.on('error', () => {}).on('drain', more)
  more()
}

const ROUTES: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
  '/huge': (_, response) => fill(response.writeHead(200, { 'content-length': HUGE_BYTES })),
  // It reads nothing of the body, and says nothing.
  '/deaf': (request) => void request.on('error', () => {}).pause(),
  '/upload': (request, response) =>
    void request
      .on('error', () => {})
      .resume()
      .once('end', () => response.end('ok')),
}

interface Scene extends Front {
  /** Resolves when the app has lost the connection that this client's request came by. */
  lost(client: number): Promise<void>
}

/** One slotgate lives through all attacks. */
async function start(t: Pick<Test, 'teardown'>): Promise<Scene> {
  const losses = new Map<number, PromiseWithResolvers<void>>()
  const lossOf = (client: number) => {
    const loss = losses.get(client) ?? Promise.withResolvers<void>()
    losses.set(client, loss)
    return loss
  }
  const watch = ({ headers, socket }: IncomingMessage) =>
    socket.once('close', () => lossOf(Number(headers['x-client'])).resolve())
  const app = createServer((request, response) => {
    const route = ROUTES[request.url ?? '']
    if (!route) return void response.end('ok')
    watch(request)
    route(request, response)
  })
  app.on('upgrade', (request, socket) => {
    watch(request)
    socket.on('error', () => {})
    socket.write(SWITCHED)
    fill(request.socket)
  })
  app.on('clientError', (_, socket) => socket.destroy())
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  t.teardown(() => {
    app.closeAllConnections()
    app.close()
  })
  const { port } = app.address() as AddressInfo
  const front = await startFront(t, { public: port, internal: port }, RELAY)
  return { ...front, lost: (client) => lossOf(client).promise }
}

/** A client that is slow, and how the front door ended it. */
interface Slow {
  /** Of what came, the beginning. */
  text: string
  /** From its first byte until the front door closed the connection. */
  lastedMs: number
}

interface Attack {
  /** The request line and fields, or what there is of them. */
  head: string
  /** What follows at once. */
  rest?: string
  /** What is sent every `dripMs`. */
  drips?: string
  dripMs?: number
  /** Takes a byte a second, instead of all. */
  readsSlowly?: boolean
  /** Sends for as long as it is taken. */
  fills?: boolean
}

/** Resolves when the front door has closed the connection. */
async function attack(t: Test, how: Attack, client: number): Promise<Slow> {
  const socket = connect(world.doors.frontDoor.port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve))
  const begunMs = performance.now()
  socket.write(`${how.head}Host: a.test\r\nX-Client: ${client}\r\n${how.rest ?? ''}`)
  if (how.fills) fill(socket)
  let text = ''
  const read = () =>
    socket.on('data', (chunk: Buffer) => {
      text = `${text}${chunk}`.slice(0, 2_000)
    })
  const { drips = '', dripMs = DRIP_MS } = how
  const timer = setInterval(() => (how.readsSlowly ? socket.read(1) : socket.write(drips)), dripMs)
  let lastedMs: number | undefined
  if (how.readsSlowly) {
    // Who does not read what came before does not see the end, but the app does.
    await lost(client)
    lastedMs = performance.now() - begunMs
  }
  read()
  await closed
  clearInterval(timer)
  return { text, lastedMs: lastedMs ?? performance.now() - begunMs }
}

interface Siege {
  slow: Slow[]
  /** How long each ordinary request took that was sent meanwhile. */
  ordinaryMs: number[]
  /** The most memory that the attack added, in MiB. */
  addedMib: number
}

/** Many attackers at once, and an ordinary client that goes on as if nothing were the matter. */
async function besiege(t: Test, how: Attack): Promise<Siege> {
  const siege: Siege = { slow: [], ordinaryMs: [], addedMib: 0 }
  let isOver = false
  const length = how.readsSlowly || how.fills ? FILLERS : ATTACKERS
  const attacks = Promise.all(Array.from({ length }, () => attack(t, how, attackers++)))
  attacks.finally(() => {
    isOver = true
  })
  while (!isOver) {
    const sentMs = performance.now()
    const { status, text } = await world.get()
    if (status !== 200 || text !== 'ok') throw new Error(`an ordinary client got ${status}`)
    siege.ordinaryMs.push(performance.now() - sentMs)
    siege.addedMib = Math.max(siege.addedMib, memoryOf(served.pid, 'VmRSS') - atFirstMib)
    if (siege.addedMib > MEMORY_MIB) throw new Error(`the attack added ${siege.addedMib.toFixed(0)} MiB`)
    await pause(ORDINARY_EVERY_MS)
  }
  siege.slow = await attacks
  return siege
}

function checkSiege(t: Test, { slow, ordinaryMs, addedMib }: Siege, slowWithinMs = 0): void {
  const [median, worst] = [quantile(ordinaryMs, 0.5), Math.max(...ordinaryMs)]
  t.comment(
    `${ordinaryMs.length} ordinary requests: median ${median.toFixed(1)} ms, worst ${worst.toFixed(0)} ms`,
  )
  const lasted = slow.map(({ lastedMs }) => lastedMs)
  t.comment(
    `slow ones lasted ${Math.min(...lasted).toFixed(0)} to ${Math.max(...lasted).toFixed(0)} ms; ${addedMib.toFixed(0)} MiB`,
  )
  t.ok(ordinaryMs.length >= 5, 'ordinary clients come and go')
  t.ok(median < LIMIT_MS && worst < LIMIT_MS + LATE_MS, 'they do not wait for the slow ones')
  t.ok(Math.min(...lasted) > LIMIT_MS * 0.9, 'slow clients get their time')
  t.ok(Math.max(...lasted) < slowWithinMs + LIMIT_MS + LATE_MS, 'and no more')
}

const { world, served, lost } = await start(t)
for (let warm = 0; warm < 50; warm++) await world.get()
const atFirstMib = memoryOf(served.pid, 'VmRSS')
let attackers = 0

t.test('slow heads are cut, and answered with 408', async (t) => {
  const siege = await besiege(t, { head: 'GET / HTTP/1.1\r\n', drips: 'X-More: a\r\n' })
  checkSiege(t, siege)
  t.ok(siege.slow.every(({ text }) => text.startsWith('HTTP/1.1 408 ')))
})

const BODIES = {
  'a length': 'Content-Length: 8192\r\n\r\n12',
  chunks: 'Transfer-Encoding: chunked\r\n\r\n2000\r\n12',
}
for (const [framing, rest] of Object.entries(BODIES)) {
  t.test(`a body with ${framing} that stands still is cut, and answered with 408`, async (t) => {
    const head = 'POST /upload HTTP/1.1\r\n'
    const siege = await besiege(t, { head, rest, drips: '3', dripMs: LIMIT_MS * 3 })
    checkSiege(t, siege)
    t.ok(siege.slow.every(({ text }) => text.startsWith('HTTP/1.1 408 ')))
  })
}

t.test('a thousand ranges are the business of the app; the connection is closed when idle', async (t) => {
  const ranges = Array.from({ length: 1_000 }, (_, at) => `5-${at}`).join(',')
  const rest = `Range: bytes=0-,${ranges}\r\n\r\n`
  const siege = await besiege(t, { head: 'GET / HTTP/1.1\r\n', rest })
  checkSiege(t, siege)
  t.ok(siege.slow.every(({ text }) => text.startsWith('HTTP/1.1 200 ') && text.endsWith('ok')))
})

t.test('who hardly reads a huge answer is cut, and costs no memory', async (t) => {
  const head = 'GET /huge HTTP/1.1\r\n'
  const siege = await besiege(t, { head, rest: '\r\n', readsSlowly: true, dripMs: 1_000 })
  checkSiege(t, siege, FULL_WITHIN_MS)
})

t.test('who hardly reads from a tunnel is cut, and costs no memory', async (t) => {
  const head = 'GET /tunnel HTTP/1.1\r\n'
  const siege = await besiege(t, { head, rest: UPGRADE, readsSlowly: true, dripMs: 1_000 })
  checkSiege(t, siege, FULL_WITHIN_MS)
})

t.test('a huge body that the app does not take is cut, and costs no memory', async (t) => {
  const rest = `Content-Length: ${HUGE_BYTES}\r\n\r\n`
  const siege = await besiege(t, { head: 'POST /deaf HTTP/1.1\r\n', rest, fills: true })
  checkSiege(t, siege, FULL_WITHIN_MS)
})
