// What node:http makes of octets: its own server and client, fed over a stream in memory. In the test's process.
import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import type { Field } from '../http-bytes.ts'

/** Wider than any head of a case: the limits of the relay are what is looked at. */
const HEAD_LIMIT_BYTES = 256 * 1024

/** What happens in memory needs few turns of the event loop; more mean that it does not happen. */
const TURNS = 20

const OPTIONS = { insecureHTTPParser: false, maxHeaderSize: HEAD_LIMIT_BYTES }

export interface SeenRequest {
  method: string
  target: string
  version: string
  fields: Field[]
  body: string
  whole: boolean
  upgrade: boolean
}

export interface SeenRequests {
  requests: SeenRequest[]
  /** The code of a parser's error, or nothing. */
  error: string
}

/** Field names and values as the parser has found them. */
export function pairsOf(raw: readonly string[]): Field[] {
  const pairs: Field[] = []
  for (let at = 0; at < raw.length; at += 2) pairs.push([raw[at] ?? '', raw[at + 1] ?? ''])
  return pairs
}

/** A stream whose octets a test pushes; what is written to it is dropped. */
function pipe(): Duplex {
  return new Duplex({
    read() {},
    write(_chunk, _encoding, done) {
      done()
    },
  }).on('error', () => {})
}

/** All of the body that is there. */
function latin1Of(message: IncomingMessage): string {
  let text = ''
  for (let octets: Buffer | null = message.read(); octets !== null; octets = message.read()) {
    text += octets.toString('latin1')
  }
  return text
}

/** Without a response it is an upgrade. */
interface Incoming {
  message: IncomingMessage
  response?: ServerResponse
}

/** One connection after the other to a node:http server; the next begins when the one before has ended. */
export class NodeServer {
  readonly #server: Server
  #socket: Duplex | null = null
  #incoming: Incoming[] = []
  #error = ''

  constructor() {
    this.#server = createServer({ ...OPTIONS, connectionsCheckingInterval: 2 ** 30 })
    this.#server.maxHeadersCount = 0
    this.#server.on('request', (message, response) => {
      response.sendDate = false
      this.#incoming.push({ message, response })
    })
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      this.#error = error.code ?? error.message
      socket.destroy()
    })
  }

  /** From now on an upgrade is one, and ends its connection. */
  takeUpgrades(): this {
    this.#server.on('upgrade', (message: IncomingMessage) => this.#incoming.push({ message }))
    return this
  }

  /**
   * Sends octets on the connection that is there, or on a new one.
   *
   * @param expected how many whole requests to wait for
   */
  async feed(bytes: string, expected: number): Promise<SeenRequests> {
    if (this.#socket === null) await this.#connect()
    this.#socket?.push(Buffer.from(bytes, 'latin1'))
    const isWhole = () => this.#incoming.length >= expected && this.#incoming.at(-1)?.message.complete
    for (let turns = 0; turns < TURNS && !isWhole() && this.#error === ''; turns++) await turn()
    const requests = this.#incoming.map(seen)
    // Not before: node:http throws away what was not read of a request that is answered.
    for (const { response } of this.#incoming) response?.end()
    const error = this.#error
    this.#incoming = []
    if (error !== '') this.drop()
    await turn()
    return { requests, error }
  }

  /** The next octets go over a new connection. */
  drop(): void {
    this.#socket?.destroy()
    this.#socket = null
    this.#error = ''
  }

  /** Nothing keeps the process then. */
  close(): void {
    this.drop()
    this.#server.close()
  }

  async #connect(): Promise<void> {
    this.#socket = pipe()
    this.#server.emit('connection', this.#socket)
    await turn()
  }
}

function seen({ message, response }: Incoming): SeenRequest {
  return {
    method: message.method ?? '',
    target: message.url ?? '',
    version: message.httpVersion,
    fields: pairsOf(message.rawHeaders),
    body: latin1Of(message),
    whole: message.complete,
    upgrade: response === undefined,
  }
}

export interface SeenHead {
  status: number
  reason: string
  fields: Field[]
}

export interface SeenResponse {
  response: (SeenHead & { body: string; whole: boolean }) | null
  interims: SeenHead[]
  error: string
}

/**
 * What a node:http client reads as the answer to one request.
 *
 * @param bytes all that it is sent
 * @param ends whether the connection ends with them
 */
export async function readByClient(method: string, bytes: string, ends: boolean): Promise<SeenResponse> {
  const socket = pipe()
  const interims: SeenHead[] = []
  let answer: IncomingMessage | null = null
  let error = ''
  const ask = request({ ...OPTIONS, method, host: 'a.test', createConnection: () => socket })
  ask.on('information', ({ statusCode, statusMessage, rawHeaders }) =>
    interims.push({ status: statusCode, reason: statusMessage, fields: pairsOf(rawHeaders) }),
  )
  const failed = (thrown: NodeJS.ErrnoException) => {
    error ||= thrown.code ?? thrown.message
  }
  ask.on('error', failed).on('response', (message) => {
    answer = message.on('error', failed)
  })
  // A listener of its own: without one, node:http takes a 101 for an error of the client's program.
  ask.on('upgrade', () => failed(new Error('upgraded')))
  ask.end()
  socket.push(Buffer.from(bytes, 'latin1'))
  if (ends) socket.push(null)
  const isOver = () => error !== '' || (answer as IncomingMessage | null)?.complete
  for (let turns = 0; turns < TURNS && !isOver(); turns++) await turn()
  return finish(ask, socket, answer, { response: null, interims, error })
}

function finish(
  ask: ClientRequest,
  socket: Duplex,
  answer: IncomingMessage | null,
  seen: SeenResponse,
): SeenResponse {
  if (answer !== null) {
    const { statusCode = 0, statusMessage = '', rawHeaders, complete } = answer
    const body = latin1Of(answer)
    seen.response = {
      status: statusCode,
      reason: statusMessage,
      fields: pairsOf(rawHeaders),
      body,
      whole: complete,
    }
    answer.resume()
  }
  ask.destroy()
  socket.destroy()
  return seen
}
