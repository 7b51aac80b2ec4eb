// The app behind the chaos: answers by the request's target, with its token, and notes what must never happen.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import type { Test } from 'tap'
import { WebSocketServer } from 'ws'
import { randomOf } from '../random.ts'
import { contentOf, eventOf, type Kind, type Plan, planOf, tokenOf, uploadOf } from './plan.ts'

export interface ChaosApp {
  port: number
  /** How often each exchange's request was delivered, by its number. */
  delivered: Map<number, number>
  /** What must never happen. */
  violations: string[]
  /** Sometimes it closes a connection after an answer, with a warning or without. */
  isRude: boolean
  /** Connections that are open now. */
  connections(): Promise<number>
}

const EVENT_EVERY_MS = 5

/** @param seed of the plans */
export async function startChaosApp(t: Pick<Test, 'teardown'>, seed: number): Promise<ChaosApp> {
  const random = randomOf(seed)
  const server = createServer(async (request, response) => {
    if (request.url === '/healthz' || request.url === '/up') return void response.end()
    const plan = receive(app, seed, request)
    if (!plan) return void response.writeHead(500).end()
    if (app.isRude && random() < 0.02) response.setHeader('connection', 'close')
    if (app.isRude && random() < 0.02) response.once('finish', () => request.socket.destroy())
    const body = plan.kind === 'early' ? Buffer.alloc(0) : await buffer(request).catch(() => null)
    if (!body) return // The request was cut off: there is nobody to answer.
    if (plan.kind !== 'early' && !body.equals(uploadOf(plan)))
      app.violations.push(
        `${plan.id}: the app got ${body.length} bytes as the whole of ${plan.upload} others`,
      )
    response.setHeader('x-echo', tokenOf(plan.method, request.url ?? '', body))
    await answer(plan, response)
  })
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {})
    if (!receive(app, seed, request)) return void socket.destroy()
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      webSocket.on('error', ({ message }) =>
        app.violations.push(`${request.url}: a broken frame: ${message}`),
      )
      webSocket.on('message', (data) => webSocket.send(data))
      webSocket.send(`hello ${request.url}`)
    })
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code?.startsWith('HPE_') && error.code !== 'HPE_INVALID_EOF_STATE')
      app.violations.push(`the app cannot parse what it got: ${error.message}`)
    socket.destroy()
  })
  // Far above the time after which the relay lets go: who closes first is not left to chance, but to `isRude`.
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
    server.close()
  })
  const app: ChaosApp = {
    port: (server.address() as AddressInfo).port,
    delivered: new Map(),
    violations: [],
    isRude: false,
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
  }
  return app
}

/** Counts the delivery, and holds the head against the plan it came from. */
function receive(app: ChaosApp, seed: number, request: IncomingMessage): Plan | null {
  const { method, url = '', headers } = request
  const plan = planOf(seed, Number(/^\/\w+\/(\d+)\?/.exec(url)?.[1] ?? -1))
  app.delivered.set(plan.nth, (app.delivered.get(plan.nth) ?? 0) + 1)
  const isRight = method === plan.method && url === plan.target && headers['x-request-id'] === plan.id
  if (!isRight || headers.expect !== undefined)
    app.violations.push(`the app was asked ${method} ${url} ${JSON.stringify(headers)} instead of ${plan.id}`)
  return isRight ? plan : null
}

const ANSWERS: Partial<Record<Kind, (plan: Plan, response: ServerResponse) => unknown>> = {
  early: (plan, response) => withLength(plan, response, 413),
  empty: (_, response) => response.writeHead(204).end(),
  hints(plan, response) {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' })
    return withLength(plan, response)
  },
  getChunked: inChunks,
  postChunked: inChunks,
  postLarge: inChunks,
  leave: inChunks,
  async events({ nth, size }, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let event = 0; event < size; event++) {
      response.write(eventOf(nth, event))
      await pause(EVENT_EVERY_MS)
    }
    response.end()
  },
}

function answer(plan: Plan, response: ServerResponse): unknown {
  return (ANSWERS[plan.kind] ?? withLength)(plan, response)
}

function withLength(plan: Plan, response: ServerResponse, status = 200): unknown {
  return response.writeHead(status, { 'content-length': plan.size }).end(contentOf(plan))
}

/** In up to eight chunks, with the event loop's other work in between. */
async function inChunks(plan: Plan, response: ServerResponse): Promise<void> {
  const content = contentOf(plan)
  const size = Math.max(1, Math.ceil(content.length / 8))
  for (let at = 0; at < content.length; at += size) {
    await new Promise((resolve) => response.write(content.subarray(at, at + size), resolve))
    if (response.destroyed) return
  }
  response.end()
}
