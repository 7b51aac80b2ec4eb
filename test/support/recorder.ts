// An app on a bare socket that keeps every byte it gets, and reads requests only as strictly as they can be read. In the test's process.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import type { Address } from '../../src/config/types.ts'
import { type ReadRequest, readRequest } from './http-bytes.ts'
import type { Scope } from './scope.ts'

export interface Recorded {
  /** The how-manieth connection it is. */
  nth: number
  socket: Socket
  /** Whole requests, in their order. */
  requests: RecordedRequest[]
  /** How many there were, those forgotten included. */
  served: number
  /** Bytes behind the last whole request. */
  rest: string
  /** Why these bytes are no request, if they are none. */
  wrong?: string
  isClosed: boolean
}

export interface RecordedRequest extends ReadRequest {
  /** Of the requests of all connections. */
  serial: number
}

export interface Recorder {
  address: Address
  port: number
  connections: Recorded[]
  /** Every whole request so far, in the order of completion. */
  requests: RecordedRequest[]
  /** Forgets what was recorded; open connections stay, and go on being recorded. */
  forget(): void
}

type AnswerTo = (request: RecordedRequest, connection: Recorded) => void

/** The answer says whose it is: the request's method and target, and its serial. */
export const echo: AnswerTo = (request, { socket }) => {
  const body = `${request.method} ${request.target} #${request.serial}`
  const head = `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nX-Serial: ${request.serial}\r\n\r\n`
  socket.write(Buffer.from(request.method === 'HEAD' ? head : head + body, 'latin1'))
}

/** @param answer writes the answer to each whole request */
export async function startRecorder(t: Scope, answer: AnswerTo = echo): Promise<Recorder> {
  const recorder = { connections: [] as Recorded[], requests: [] as RecordedRequest[] }
  let accepted = 0
  let serial = 0
  const server = createServer((socket) => {
    const connection: Recorded = {
      nth: ++accepted,
      socket,
      requests: [],
      served: 0,
      rest: '',
      isClosed: false,
    }
    recorder.connections.push(connection)
    socket.setNoDelay()
    socket.on('error', () => {})
    socket.on('close', () => {
      connection.isClosed = true
    })
    socket.on('data', (chunk: Buffer) => {
      connection.rest += chunk.toString('latin1')
      while (connection.rest !== '' && connection.wrong === undefined) {
        const reading = readRequest(connection.rest)
        if (reading.kind === 'part') return
        if (reading.kind === 'wrong') {
          connection.wrong = reading.why
          socket.destroy()
          return
        }
        const request = { ...reading.request, serial: ++serial }
        connection.rest = connection.rest.slice(request.raw.length)
        connection.requests.push(request)
        connection.served++
        recorder.requests.push(request)
        answer(request, connection)
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  t.teardown(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return {
    address: { kind: 'tcp', host: '127.0.0.1', port },
    port,
    ...recorder,
    forget() {
      recorder.requests.length = 0
      const left = recorder.connections.filter(({ isClosed }) => !isClosed)
      for (const connection of left) connection.requests.length = 0
      recorder.connections.splice(0, Infinity, ...left)
    },
  }
}
