// Helpers of the relay's tests: a relay over real sockets, tiny apps as slots, and a client that sees raw bytes.
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import {
  type AddressInfo,
  connect,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net'
import type { Address, RelayConfig, ServiceConfig } from '../../src/config/types.ts'
import type { SlotName } from '../../src/contract.ts'
import { createLogger, type LineSink } from '../../src/log.ts'
import { createRelay, type Relay, workersOf } from '../../src/relay/relay.ts'
import { countPlaces } from '../../src/slots/places.ts'
import { createBuffer, openTable, type Table } from '../../src/slots/table.ts'
import { Looks } from '../support/looks.ts'
import type { Scope } from '../support/scope.ts'

export type { Scope }

/** The field that every request needs. */
export const H = 'Host: a.test\r\n'
export const GET = `GET / HTTP/1.1\r\n${H}\r\n`
/** Whoever sees this as a request of its own was cheated about the one before. */
export const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${H}\r\n`
/** An answer to any request, on a kept connection. */
export const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

/** For what is to take as long as it takes. */
export const NEVER = new AbortController().signal

export const RELAY_CONFIG: RelayConfig = {
  trustedProxies: [],
  proxyProtocol: false,
  forwarded: 'x-forwarded',
  headLimitBytes: 16_384,
  targetLimitBytes: 8_192,
  fieldLimit: 100,
  bodyLimitBytes: 0,
  bodyRateBytes: 500,
  headTimeoutMs: 10_000,
  keepAliveTimeoutMs: 15_000,
  requestsPerConnection: 1_000,
  connectionLimit: 10_000,
  connectionsPerAddress: 0,
  stallTimeoutMs: 15_000,
  // A connection within one busy machine can take longer than the two seconds of the default.
  connectTimeoutMs: 20_000,
  upstreamTimeoutMs: 60_000,
  upstreamIdleMs: 3_500,
  upstreamReuse: true,
  tunnelIdleMs: 300_000,
  accessLog: 1,
  accessLogOmit: [],
  traceShare: null,
}

/** What passes are made with, where a service has previews. */
export const PASS_SECRET: Uint8Array = Buffer.alloc(32, 7)

export const service = (part: Partial<ServiceConfig> = {}): ServiceConfig => ({
  name: 'invoices',
  hosts: [],
  pathPrefix: '/',
  stripPrefix: false,
  limits: { openRequests: 0 },
  errorPages: {},
  health: { path: '/healthz', intervalMs: 250, timeoutMs: 2_000, withinMs: 30_000 },
  schema: 'off',
  hold: { withinMs: 10_000, requests: 1_000, nothingLive: false },
  drain: { withinMs: 1_000, tunnelsWithinMs: 1_000 },
  previous: 'keep',
  hiddenPaths: [],
  ...part,
})

/** One line of the access log. */
export interface LogLine {
  msg: string
  level: string
  code?: string
  status?: number
  request_id?: string
  [field: string]: unknown
}

export interface Bench {
  relay: Relay
  table: Table
  port: number
  lines: LogLine[]
  /** Resolves with the first line of the log, already written or to come, that fits. */
  line(fits: (line: LogLine) => boolean): Promise<LogLine>
  /** The same of the access log. */
  logged(fits: (line: LogLine) => boolean): Promise<LogLine>
  /** Points the slot at the address and flips to it. */
  promote(address: Address, slot?: SlotName, service?: number): Promise<void>
  claims(service?: number): number
}

export interface Options {
  relay?: Partial<RelayConfig>
  services?: ServiceConfig[]
  /** Worker threads; none unless a test is about them. */
  threads?: number
  /** 0 unless a test is about the port. */
  port?: number
  spans?: LineSink
}

/** A listening relay with nothing live. */
export async function startRelay(
  t: Scope,
  { relay: part = {}, services = [service()], threads = 0, port: wanted = 0, spans }: Options = {},
): Promise<Bench> {
  const layout = { services: countPlaces(services), workers: workersOf(threads) }
  const table = openTable(createBuffer(layout), layout)
  const lines: LogLine[] = []
  let unread = ''
  const looks = new Looks()
  const log = createLogger('info', {
    write(some) {
      unread += some
      looks.again()
    },
  })
  // Most lines are of no interest to anybody, and to read one costs as much as what it tells of.
  const readLines = () => {
    for (const line of unread.split('\n').filter(Boolean)) lines.push(JSON.parse(line) as LogLine)
    unread = ''
    return lines
  }
  const relay = createRelay({
    listen: { host: '127.0.0.1', port: wanted },
    threads,
    relay: { ...RELAY_CONFIG, ...part },
    services,
    passSecret: PASS_SECRET,
    table,
    log,
    ...(spans && { spans }),
  })
  const { port } = await relay.listen()
  t.teardown(() => relay.close(0))
  const lineThat = (fits: (line: LogLine) => boolean) => looks.until(() => readLines().find(fits))
  return {
    relay,
    table,
    port,
    get lines() {
      return readLines()
    },
    line: lineThat,
    logged: (fits) => lineThat((line) => line.msg === 'exchange' && fits(line)),
    async promote(address, slot = 'blue', index = 0) {
      const release = `r-${slot}`
      await relay.setBackend(index, slot, { release, addresses: [address] })
      relay.begin({ service: index, generation: table.pointer(index).generation + 1, slot, release })
      table.flip(index, slot)
    },
    claims(index = 0) {
      const { generation } = table.pointer(index)
      let open = 0
      for (let one = Math.max(1, generation - 60); one <= generation; one++) {
        const { requests, tunnels } = table.claims(index, one)
        open += requests + tunnels
      }
      return open
    },
  }
}

const tcp = (server: Server | TcpServer): Address => ({
  kind: 'tcp',
  host: '127.0.0.1',
  port: (server.address() as AddressInfo).port,
})

export interface App {
  server: Server
  address: Address
}

/** An app on node:http. */
export async function startApp(t: Scope, listener: RequestListener): Promise<App> {
  const server = createServer(listener)
  server.on('clientError', (_, socket) => socket.destroy())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, address: tcp(server) }
}

export interface RawApp {
  address: Address
  /** Every connection so far. */
  sockets: Socket[]
  server: TcpServer
}

/** An app on a bare socket: it sees and sends bytes. */
export async function startRawApp(
  t: Scope,
  onConnection: (socket: Socket, nth: number) => void,
): Promise<RawApp> {
  const sockets: Socket[] = []
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    sockets.push(socket)
    onConnection(socket, sockets.length)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { address: tcp(server), sockets, server }
}

/** The address of an app that does not listen any more. */
export async function refusedAddress(t: Scope): Promise<Address> {
  const { address, server } = await startRawApp(t, () => {})
  server.close()
  return address
}

export interface Observed {
  bench: Bench
  app: RawApp
  /** What came over the app's connections, in Latin-1, piece by piece; a small request is one. */
  seen: string[]
}

/** A relay in front of an app on a bare socket, which answers every piece that it gets. */
export async function startObserved(
  t: Scope,
  options: Options = {},
  answerTo: (piece: string) => string = () => OK,
): Promise<Observed> {
  const bench = await startRelay(t, options)
  const seen: string[] = []
  const app = await startRawApp(t, (socket) => {
    socket.on('data', (chunk: Buffer) => {
      const piece = chunk.toString('latin1')
      seen.push(piece)
      socket.write(Buffer.from(answerTo(piece), 'latin1'))
    })
  })
  await bench.promote(app.address)
  return { bench, app, seen }
}

/** Resolves when the bytes collected so far fit. */
export interface Wire {
  socket: Socket
  /** Latin-1. */
  readonly text: string
  /** Whether the other side ended with a FIN or a reset; undefined while it is open. */
  readonly ended: 'fin' | 'reset' | undefined
  until(fits: (text: string) => boolean): Promise<string>
  /** Resolves when nothing more can come. */
  closed(): Promise<string>
}

/** Collects what comes out of a socket. */
export function collect(socket: Socket): Wire {
  let text = ''
  let ended: Wire['ended']
  const waiting = new Set<() => void>()
  const look = () => {
    for (const one of waiting) one()
  }
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    look()
  })
  socket.on('end', () => {
    ended ??= 'fin'
    look()
  })
  socket.on('error', () => {
    ended ??= 'reset'
    look()
  })
  socket.on('close', () => {
    ended ??= 'fin'
    look()
  })
  const when = (isSo: () => boolean): Promise<string> => {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const one = () => {
      if (isSo()) resolve(text)
      else if (ended) reject(new Error(`the connection ended (${ended}) after ${JSON.stringify(text)}`))
      else return
      waiting.delete(one)
    }
    waiting.add(one)
    one()
    return promise
  }
  return {
    socket,
    get text() {
      return text
    },
    get ended() {
      return ended
    },
    until: (fits) => when(() => fits(text)),
    closed: () => when(() => ended !== undefined),
  }
}

/** Opens a connection to the relay and sends these bytes. */
export function dial(t: Scope, port: number, bytes = '', allowHalfOpen = true): Wire {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen })
  t.teardown(() => socket.destroy())
  const wire = collect(socket)
  if (bytes) socket.write(Buffer.from(bytes, 'latin1'))
  return wire
}

/** Whether the text holds a whole answer with a Content-Length. */
export function hasAnswer(text: string): boolean {
  const [head, ...rest] = text.split('\r\n\r\n')
  const length = /content-length: (\d+)/i.exec(head ?? '')?.[1]
  return rest.length > 0 && (length === undefined || rest.join('\r\n\r\n').length >= Number(length))
}

export const statusOf = (text: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])

/** The request as an app on a bare socket got it. */
export function headOf(text: string): { line: string; fields: [string, string][]; body: string } {
  const at = text.indexOf('\r\n\r\n')
  const [line = '', ...fields] = text.slice(0, at).split('\r\n')
  return {
    line,
    body: text.slice(at + 4),
    fields: fields.map((field) => {
      const colon = field.indexOf(':')
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()]
    }),
  }
}
