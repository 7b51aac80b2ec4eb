// What counting an exchange costs: `node bench/meter.ts [ROUNDS]`, alone and on the way of requests through a front door.
// Others may work on the same cores, so it is the median of many.
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { Counter } from '../src/relay/counter.ts'
import type { Known } from '../src/relay/known.ts'
import { Meter } from '../src/relay/meter.ts'
import { startRelay } from '../test/relay/support.ts'
import { browserRequest } from './canned.ts'
import { median, quantile, short } from './stats.ts'

const rounds = Number(process.argv[2] ?? 200)
const CALLS = 200_000
const REQUESTS = 2_000
const CONNECTIONS = 16

const LAYOUT = { services: 2, workers: 2 }
const ANSWER = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n${'x'.repeat(300)}`)

const { count } = Counter.prototype

function nothing(): void {}

function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Exchanges as they end: most go well, in times of their own. */
function exchanges(): Known[] {
  return Array.from({ length: 1_000 }, (_, nth) => ({
    requestId: 'r',
    trace: null,
    method: 'GET',
    target: '/',
    client: '127.0.0.1',
    ageMs: 0.2 * 1.009 ** nth,
    service: 'invoices',
    serviceIndex: nth % 2,
    claim: { service: nth % 2, generation: 1, slot: 'blue', kind: 'requests' },
    isPreview: false,
    release: 'r1',
    status: nth % 10 === 0 ? 404 : 200,
    bytes: 300,
    upstreamMs: 0.1 * 1.009 ** nth,
    heldMs: 0,
    error: undefined,
  }))
}

/** @returns nanoseconds for each call, of each round */
function alone(): number[] {
  const counter = new Counter(new Meter(LAYOUT).buffer, LAYOUT, 0)
  const ended = exchanges()
  const timeOf = (act: (known: Known) => void): number => {
    const before = cpuUs()
    for (let call = 0; call < CALLS; call++) {
      const known = ended[call % ended.length]
      if (known) act(known)
    }
    return ((cpuUs() - before) * 1_000) / CALLS
  }
  const once = () => timeOf((known) => counter.count(known)) - timeOf(nothing)
  return Array.from({ length: rounds }, once)
}

/** Answers each piece that comes: a client here sends one request at a time. */
async function startApp(): Promise<{ port: number; close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('data', () => socket.write(ANSWER))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { port: typeof address === 'object' && address ? address.port : 0, close }
}

const request = browserRequest('GET', '/')

/** Sends its share of the requests, one after the other. */
function ask(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    let left = REQUESTS / CONNECTIONS
    let got = 0
    let size = 0
    const onData = (chunk: Buffer) => {
      got += chunk.length
      // The answer to the first request tells how long all of them are.
      if (size === 0) size = chunk.indexOf('\r\n\r\n') + 4 + 300
      if (got < size) return
      got = 0
      if (--left > 0) return void socket.write(request)
      socket.off('data', onData)
      resolve()
    }
    socket.on('data', onData).write(request)
  })
}

/**
 * What counting takes where a front door does it, between its other work: each call is timed by itself, and so is the
 * timing.
 *
 * @returns nanoseconds of each call
 */
async function onItsWay(): Promise<number[]> {
  const teardowns: (() => unknown)[] = []
  const relay = { requestsPerConnection: Number.POSITIVE_INFINITY, accessLog: 0 }
  const bench = await startRelay({ teardown: (act) => void teardowns.push(act) }, { relay })
  const app = await startApp()
  await bench.promote({ kind: 'tcp', host: '127.0.0.1', port: app.port })
  const times: number[] = []
  Counter.prototype.count = function (ended) {
    const before = performance.now()
    count.call(this, ended)
    const after = performance.now()
    const timing = performance.now() - after
    times.push((after - before - timing) * 1_000_000)
  }
  const sockets = Array.from({ length: CONNECTIONS }, () => connect(bench.port, '127.0.0.1'))
  for (let nth = 0; nth < rounds; nth++) await Promise.all(sockets.map(ask))
  for (const socket of sockets) socket.destroy()
  app.close()
  for (const act of teardowns) await act()
  // The first ones are not compiled yet.
  return times.slice(times.length / 2)
}

const middle = (times: number[]): string =>
  `${short(median(times))} ns (${short(quantile(times, 0.1))}–${short(quantile(times, 0.9))})`

console.log(`counting, alone: ${middle(alone())}, the median of ${rounds} rounds of ${CALLS} calls`)
const times = await onItsWay()
console.log(`counting, on a request's way: ${middle(times)}, the median of ${times.length} requests`)
