// What the relay makes of octets, read in memory with the relay's own pure parts, joined as its connections join them
// but without sockets. In the test's process.
import type { RelayConfig } from '../../../src/config/types.ts'
import { SlotgateError } from '../../../src/errors.ts'
import { BodyReader, type Framing } from '../../../src/relay/http1/body.ts'
import { HeadReader, Malformed, TooLong, Unreadable } from '../../../src/relay/http1/head.ts'
import {
  afterContent,
  beforeContent,
  interimHead,
  requestFields,
  requestHead,
  responseHead,
} from '../../../src/relay/http1/outgoing.ts'
import { isPersistent, screen } from '../../../src/relay/http1/request.ts'
import { screenResponse } from '../../../src/relay/http1/response.ts'
import type { Field } from '../http-bytes.ts'

/** Small, so that random heads reach them. */
export const LIMITS: RelayConfig = {
  ...{ headLimitBytes: 1_536, targetLimitBytes: 300, fieldLimit: 20, bodyLimitBytes: 0, bodyRateBytes: 0 },
  ...{
    forwarded: 'x-forwarded',
    trustedProxies: [],
    proxyProtocol: false,
    upstreamReuse: true,
    accessLog: 0,
    accessLogOmit: [],
    traceShare: null,
  },
  // No limit of time or of number comes up in memory.
  ...{
    headTimeoutMs: 0,
    keepAliveTimeoutMs: 0,
    stallTimeoutMs: 0,
    connectTimeoutMs: 0,
    upstreamTimeoutMs: 0,
  },
  ...{
    upstreamIdleMs: 0,
    tunnelIdleMs: 0,
    requestsPerConnection: 0,
    connectionLimit: 0,
    connectionsPerAddress: 0,
  },
}

/** What slotgate says of the client beside the client's own fields. */
export const SAID = { peer: '192.0.2.1', requestId: 'id-1' }

/** A request that the relay took, head and body. */
export interface TakenRequest {
  method: string
  /** As it was sent, and as it goes on. */
  target: string
  targetOut: string
  minor: number
  host: string
  fields: Field[]
  framing: Framing
  maxForwards: number | undefined
  upgrade: boolean
  persistent: boolean
  body: string
  /** Where its octets begin, where its body does, and where what follows does. */
  start: number
  bodyStart: number
  end: number
  /** What goes to the app, and the fields in it. */
  out: string
  fieldsOut: string
}

/**
 * `open`: what is left may be the beginning of a request. `refused`: it is none. `closed`: nothing more is read, for
 * the connection ends or is handed over.
 */
export interface RequestsRead {
  requests: TakenRequest[]
  rest: 'open' | 'refused' | 'closed'
  /** How it was refused. */
  refusal: string
  /** What the app had got of a request that did not end, or was refused in its body. */
  unfinished: string
}

const fieldsOf = (head: HeadReader): Field[] =>
  Array.from({ length: head.count }, (_, field) => [head.name(field), head.value(field)])

/** @throws what was thrown, if the relay must never throw it */
export function refusalOf(error: unknown): string {
  if (error instanceof Malformed) return error.version ? 'version' : 'malformed'
  if (error instanceof TooLong) return error.part
  if (error instanceof Unreadable) return error.constructor.name
  if (error instanceof SlotgateError) return error.code
  throw error
}

/** One for all, as a thread has it: nothing of one head may be left in the next. */
const heads = new HeadReader(LIMITS)

/** What has arrived and was not read yet, in a buffer that may have begun with something else. */
class Unread {
  buffer = Buffer.alloc(0)
  start = 0
  /** Octets that were there before those of the buffer. */
  #before = 0

  get isEmpty(): boolean {
    return this.start === this.buffer.length
  }

  /** How many octets were read so far. */
  get at(): number {
    return this.#before + this.start
  }

  add(piece: string): void {
    this.#before += this.start
    this.buffer = Buffer.concat([this.buffer.subarray(this.start), Buffer.from(piece, 'latin1')])
    this.start = 0
  }

  startsWith(text: string): boolean {
    return this.buffer.toString('latin1', this.start, this.start + text.length) === text
  }

  readHead(read: (buffer: Buffer, start: number, end: number) => number): boolean {
    const next = read(this.buffer, this.start, this.buffer.length)
    if (next >= 0) this.start = next
    return next >= 0
  }

  /** @throws Error if what does not belong to the body was touched, or content lies outside of what was read */
  readContent(body: BodyReader): string {
    const { buffer, start } = this
    const all = buffer.toString('latin1')
    const next = body.read(buffer, start, buffer.length)
    const { from, to } = body
    this.start = next
    const inside = start <= from && from <= to && to <= next && next <= buffer.length
    if (!inside) throw new Error('content lies outside of what was read')
    if (!body.done && !this.isEmpty) throw new Error('the body goes on, and octets were left')
    if (buffer.toString('latin1', 0, start) !== all.slice(0, start))
      throw new Error('octets before the body changed')
    if (buffer.toString('latin1', next) !== all.slice(next)) throw new Error('octets behind the body changed')
    return buffer.toString('latin1', from, to)
  }
}

/** Takes pieces one after the other, as `ClientConnection` and `Exchange` do. */
class RequestReader {
  readonly #trusted: boolean
  readonly #unread = new Unread()
  #current: TakenRequest | null = null
  #body: BodyReader | null = null
  readonly read: RequestsRead = { requests: [], rest: 'open', refusal: '', unfinished: '' }

  constructor(trusted: boolean) {
    this.#trusted = trusted
  }

  take(piece: string): void {
    try {
      this.#unread.add(piece)
      while (this.read.rest === 'open' && this.#takeOne());
    } catch (error) {
      this.read.rest = 'refused'
      this.read.refusal = refusalOf(error)
    }
    this.read.unfinished = this.#current?.out ?? ''
  }

  /** @returns whether there may be more */
  #takeOne(): boolean {
    if (this.#body !== null && this.#current !== null) return this.#takeBody(this.#current, this.#body)
    const unread = this.#unread
    while (unread.startsWith('\r\n')) unread.start += 2
    if (unread.isEmpty || (unread.startsWith('\r') && unread.start + 1 === unread.buffer.length)) return false
    const start = unread.at
    if (!unread.readHead((...where) => heads.readRequest(...where))) return false
    return this.#begin(start)
  }

  #begin(start: number): boolean {
    const request = screen(heads)
    const { method, target, host, framing, maxForwards } = request
    const told = { ...request, ...SAID, trusted: this.#trusted, forwarded: LIMITS.forwarded, trace: null }
    const fieldsOut = requestFields(heads, told)
    this.#current = {
      ...{ method, host, framing, maxForwards, minor: heads.minor, fieldsOut },
      ...{ target: heads.target, targetOut: target, fields: fieldsOf(heads), body: '' },
      ...{ upgrade: request.upgrade, persistent: request.persistent },
      ...{ start, bodyStart: this.#unread.at, end: 0 },
      out: requestHead(method, target, fieldsOut, true),
    }
    this.#body = new BodyReader(framing)
    return this.#takeBody(this.#current, this.#body)
  }

  #takeBody(current: TakenRequest, body: BodyReader): boolean {
    const content = this.#unread.readContent(body)
    current.body += content
    current.out += framed(body, content, body.framing)
    if (!body.done) return false
    current.end = this.#unread.at
    this.#body = null
    this.#current = null
    this.read.requests.push(current)
    if (current.upgrade || !current.persistent) this.read.rest = 'closed'
    return true
  }
}

const framed = (body: BodyReader, content: string, { kind }: Framing): string =>
  beforeContent(kind, content.length) + content + afterContent(kind, content.length, body.done)

/** @param cuts where the octets are cut into pieces, in order */
export function readRequests(bytes: string, cuts: readonly number[], trusted: boolean): RequestsRead {
  const reader = new RequestReader(trusted)
  for (const piece of piecesOf(bytes, cuts)) reader.take(piece)
  return reader.read
}

function piecesOf(bytes: string, cuts: readonly number[]): string[] {
  const ends = [...cuts, bytes.length]
  return ends.map((end, at) => bytes.slice(ends[at - 1] ?? 0, end)).filter((piece) => piece !== '')
}

export interface ReadHead {
  status: number
  reason: string
  fields: Field[]
}

/** An answer that the relay took, with the interim ones before it. */
export interface TakenResponse extends ReadHead {
  interims: ReadHead[]
  /** An interim one speaks of its framing, or of the end of the connection; to the relay it can have neither. */
  doubtful: boolean
  minor: number
  framing: Framing
  body: string
  /** Where the octets of the answer itself begin, and where those behind it do. */
  start: number
  end: number
  /** Whether the connection to the app could be used again. */
  persistent: boolean
  /** What goes to the client, how it is framed there, and how the client learns where it ends. */
  out: string
  framingOut: Framing
  closes: boolean
  /** The interim answers in `out`. */
  interimsOut: ReadHead[]
}

export interface ResponseRead {
  response: TakenResponse | null
  rest: 'open' | 'refused' | 'whole'
  refusal: string
}

export interface Asked {
  method: string
  /** The minor version that the client speaks. */
  minor: number
  /** The client's connection ends with the answer. */
  closes: boolean
}

/** What node:http takes to mean something in an interim answer; `Proxy-Connection` counts as `Connection` there. */
const DOUBTFUL = ['content-length', 'transfer-encoding', 'proxy-connection'] as const

/** Takes pieces one after the other, as `AppConnection` and `Exchange` do. */
class ResponseReader {
  readonly #asked: Asked
  readonly #unread = new Unread()
  #interims: ReadHead[] = []
  #interimsOut: ReadHead[] = []
  #doubtful = false
  #out = ''
  #current: TakenResponse | null = null
  #body: BodyReader | null = null
  readonly read: ResponseRead = { response: null, rest: 'open', refusal: '' }

  constructor(asked: Asked) {
    this.#asked = asked
  }

  take(piece: string): void {
    if (this.read.rest !== 'open') return
    this.#unread.add(piece)
    try {
      if (this.#body !== null && this.#current !== null) this.#takeBody(this.#current, this.#body)
      else while (this.#takeHead());
    } catch (error) {
      this.read.rest = 'refused'
      this.read.refusal = refusalOf(error)
    }
  }

  /** The app has closed its connection. */
  end(): void {
    const body = this.#body
    if (this.read.rest !== 'open' || body === null || this.#current === null) return
    if (body.framing.kind !== 'close') return
    body.end()
    this.#current.out += framed(body, '', this.#current.framingOut)
    this.#whole(this.#current)
  }

  /** @returns whether another head may follow */
  #takeHead(): boolean {
    const start = this.#unread.at
    if (!this.#unread.readHead((...where) => heads.readResponse(...where))) return false
    const { status, reason } = heads
    const isInterim = status >= 100 && status < 200 && status !== 101
    if (!isInterim) {
      this.#begin(start)
      return false
    }
    const interim = { status, reason, fields: fieldsOf(heads) }
    this.#interims.push(interim)
    const isSaid = DOUBTFUL.some((name) => heads.values(name).length > 0)
    this.#doubtful ||= isSaid || !isPersistent(heads)
    if (status !== 100 && this.#asked.minor === 1) {
      this.#interimsOut.push(interim)
      this.#out += interimHead(heads)
    }
    return !this.#unread.isEmpty
  }

  #begin(start: number): void {
    const { status, reason, minor } = heads
    const { framing, declared } = screenResponse(heads, this.#asked.method)
    const told = declared.kind === 'none' || declared.kind === 'length'
    const framingOut: Framing = told ? declared : { kind: this.#asked.minor === 1 ? 'chunked' : 'close' }
    const closes = this.#asked.closes || framingOut.kind === 'close'
    this.#body = new BodyReader(framing)
    this.#current = {
      ...{ status, reason, minor, framing, framingOut, closes, fields: fieldsOf(heads) },
      ...{ interims: this.#interims, interimsOut: this.#interimsOut, body: '' },
      ...{ start, end: 0, doubtful: this.#doubtful },
      persistent: isPersistent(heads) && framing.kind !== 'close',
      out: this.#out + responseHead(heads, framingOut, closes),
    }
    this.#takeBody(this.#current, this.#body)
  }

  #takeBody(current: TakenResponse, body: BodyReader): void {
    const content = this.#unread.readContent(body)
    current.body += content
    current.out += framed(body, content, current.framingOut)
    if (body.done) this.#whole(current)
  }

  #whole(current: TakenResponse): void {
    current.end = this.#unread.at
    this.read.response = current
    this.read.rest = 'whole'
  }
}

/** @param bytes all that the app says before it closes its connection */
export function readResponse(bytes: string, cuts: readonly number[], asked: Asked): ResponseRead {
  const reader = new ResponseReader(asked)
  for (const piece of piecesOf(bytes, cuts)) reader.take(piece)
  reader.end()
  return reader.read
}
