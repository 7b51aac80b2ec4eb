// The clients of the chaos: kept and fresh connections, waiting or pipelining, and every answer held against its plan.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import type { Fault, FaultKind, FaultProxy } from '../fault-proxy.ts'
import { between, type Random } from '../random.ts'
import { Cut, closesAfter, type Head, Malformed, type Response, ResponseReader } from '../raw-client.ts'
import { contentOf, PIPELINED, type Plan, planOf, tokenOf, uploadOf } from './plan.ts'

/** What may become of an exchange. */
export type Outcome =
  /** Its own answer came, complete. */
  | 'whole'
  /** slotgate's own answer to it came, complete. */
  | 'refused'
  /** The connection broke off before the end of the answer, and the client could tell. */
  | 'cut'
  /** The client left on purpose. */
  | 'left'
  /** Nothing came any more. */
  | 'silent'

export interface Result {
  plan: Plan
  outcome: Outcome
  /** Of the answer that came whole. */
  status: number | undefined
  /** How it ended, if it ended early. */
  end: string | undefined
  /** Between this client and the relay. */
  fault: Fault
  /** Sent together with others, whose end may be its own. */
  isPipelined: boolean
}

export interface CrowdOptions {
  seed: number
  /** The exchanges with the numbers from this one on … */
  from: number
  /** … so many. */
  count: number
  /** How many connections there are at a time. */
  atOnce: number
  /** Leads to the front door. */
  proxy: FaultProxy
  random: Random
}

/** Longer than all timers of the relay together: who is silent so long on a connection that works was forgotten. */
const PATIENCE_MS = 12_000
/** An answer that trickles this long never ends. */
const EXCHANGE_MS = 50_000
const PIPELINE_DEPTH = 4
const SESSION_LENGTHS = [1, 1, 2, 6, 20, 60]
const ECHOES = [20, 300, 70_000]

/** slotgate's own answers where an app cannot be reached; every request here is valid. */
const REFUSALS: readonly number[] = [502, 504]
/** … and to a request of which a part was lost on the way to slotgate. */
const REFUSALS_OF_PARTS: readonly number[] = [400, 408]
/** Faults by which a request comes to its end too early, or not at all. */
const LOSSES: readonly FaultKind[] = ['truncate', 'halfClose', 'blackHole', 'stall']

export class Crowd {
  readonly results: Result[] = []
  /** What must never happen. */
  readonly violations: string[] = []
  readonly #options: CrowdOptions
  #next: number

  constructor(options: CrowdOptions) {
    this.#options = options
    this.#next = options.from
  }

  /** Resolves when every exchange has its outcome. */
  async run(): Promise<this> {
    await Promise.all(Array.from({ length: this.#options.atOnce }, () => this.#visit()))
    return this
  }

  /** The exchange that comes next. */
  #peek(): Plan | undefined {
    const { seed, from, count } = this.#options
    return this.#next < from + count ? planOf(seed, this.#next) : undefined
  }

  /** Connects again and again while there is something left to do. */
  async #visit(): Promise<void> {
    for (let plan = this.#peek(); plan; plan = this.#peek()) {
      if (plan.kind === 'webSocket') {
        this.#next++
        await this.#useWebSocket(plan)
      } else await this.#useConnection()
    }
  }

  /** Exchanges on one connection, until it ends or has served its time. */
  async #useConnection(): Promise<void> {
    const { proxy, random } = this.#options
    const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }).setNoDelay(true)
    const reader = new ResponseReader(socket, PATIENCE_MS)
    const fault = faultOf(socket, proxy)
    const length = SESSION_LENGTHS[between(random, 0, SESSION_LENGTHS.length - 1)] ?? 1
    for (let served = 0; served < length; ) {
      const batch = this.#takeBatch(random() < 0.2 ? PIPELINE_DEPTH : 1)
      served += batch.length
      if (batch.length === 0 || !(await this.#useFor(batch, socket, reader, fault))) break
    }
    socket.destroy()
  }

  /** @returns what is sent at once: several only where all may be pipelined */
  #takeBatch(most: number): Plan[] {
    const batch: Plan[] = []
    for (let plan = this.#peek(); plan && plan.kind !== 'webSocket'; plan = this.#peek()) {
      const isAlone = most === 1 || !PIPELINED.has(plan.kind)
      if (isAlone && batch.length > 0) break
      batch.push(plan)
      this.#next++
      if (isAlone || batch.length === most) break
    }
    return batch
  }

  /** @returns whether the connection can be used for more */
  async #useFor(batch: Plan[], socket: Socket, reader: ResponseReader, fault: () => Fault): Promise<boolean> {
    for (const plan of batch) socket.write(plan.kind === 'expect' ? headOf(plan) : requestOf(plan))
    const isLast = batch.some(({ kind }) => kind === 'farewell')
    if (isLast) socket.end()
    const deadline = setTimeout(() => {
      this.#violate(batch, fault(), `no end after ${EXCHANGE_MS} ms`)
      socket.destroy()
    }, EXCHANGE_MS)
    let isOpen = true
    for (const plan of batch) {
      // What was pipelined behind the end of a connection is not answered any more.
      const got: Response | Cut | Malformed = isOpen
        ? await this.#exchange(plan, socket, reader).catch(toEnd)
        : new Cut('behind the last answer')
      const { outcome, status, problem } = judge(plan, got, reader, fault())
      if (problem) this.#violate([plan], fault(), problem)
      this.results.push({
        plan,
        outcome,
        status,
        end: endOf(got),
        fault: fault(),
        isPipelined: batch.length > 1,
      })
      isOpen &&= !(got instanceof Error) && outcome !== 'left' && !isLast && !closesAfter(got)
    }
    clearTimeout(deadline)
    if (isOpen && reader.surplus > 0) this.#violate(batch, fault(), `${reader.surplus} bytes came unasked`)
    return isOpen
  }

  async #exchange(plan: Plan, socket: Socket, reader: ResponseReader): Promise<Response> {
    if (plan.kind === 'leave') return leaveEarly(plan, socket, reader)
    if (plan.kind !== 'expect') return reader.response(plan.method)
    const head = await reader.head()
    if (head.status !== 100) return { ...head, interim: [], body: await reader.content(plan.method, head) }
    socket.write(uploadOf(plan))
    return reader.response(plan.method)
  }

  #violate(plans: readonly Plan[], { kind, way, amount }: Fault, problem: string): void {
    const whose = plans.map(({ id, kind }) => `${id} (${kind})`).join(', ')
    this.violations.push(`${whose}, on a connection with the fault ${kind} ${way} ${amount}: ${problem}`)
  }

  /** A session of a few echoes on a connection of its own. */
  async #useWebSocket(plan: Plan): Promise<void> {
    const socket = connect(this.#options.proxy.port, '127.0.0.1').setNoDelay(true)
    const fault = faultOf(socket, this.#options.proxy)
    const gone = new AbortController()
    const patience = setTimeout(() => gone.abort(), PATIENCE_MS)
    const client = new WebSocket(`ws://chaos.test${plan.target}`, {
      createConnection: () => socket,
      headers: { 'x-request-id': plan.id },
      perMessageDeflate: false,
    })
    const got = await converse(client, plan, gone.signal).catch(toEnd)
    clearTimeout(patience)
    client.on('error', () => {}).terminate()
    const { outcome, status, problem } = judgeSession(plan, got, gone.signal.aborted, fault())
    if (problem) this.#violate([plan], fault(), problem)
    this.results.push({ plan, outcome, status, end: endOf(got), fault: fault(), isPipelined: false })
  }
}

/** @returns what tells the connection's fault, also when it is closed and does not know its port any more */
function faultOf(socket: Socket, proxy: FaultProxy): () => Fault {
  let port: number | undefined
  socket.once('connect', () => {
    port = socket.localPort
  })
  return () => proxy.faultOf(port)
}

const endOf = (got: unknown): string | undefined => (got instanceof Error ? got.message : undefined)

/** Anything but the two ends of a connection is a fault of this test. */
function toEnd(error: unknown): Cut | Malformed {
  if (error instanceof Cut || error instanceof Malformed) return error
  throw error
}

function headOf({ method, target, id, kind, upload }: Plan): string {
  const isChunked = kind === 'postChunked' || kind === 'postLarge'
  const fields = [
    'Host: chaos.test',
    `X-Request-Id: ${id}`,
    ...(kind === 'expect' ? ['Expect: 100-continue'] : []),
    ...(isChunked
      ? ['Transfer-Encoding: chunked']
      : method === 'GET' || method === 'HEAD'
        ? []
        : [`Content-Length: ${upload}`]),
  ]
  return `${method} ${target} HTTP/1.${kind === 'old' ? 0 : 1}\r\n${fields.join('\r\n')}\r\n\r\n`
}

function requestOf(plan: Plan): Buffer {
  const body = uploadOf(plan)
  const isChunked = plan.kind === 'postChunked' || plan.kind === 'postLarge'
  return Buffer.concat([Buffer.from(headOf(plan)), ...(isChunked ? chunksOf(body) : [body])])
}

/** In chunks of growing size. */
function* chunksOf(body: Buffer): Generator<Buffer> {
  for (let at = 0, size = 1; at < body.length; at += size, size *= 3) {
    const piece = body.subarray(at, at + size)
    yield Buffer.from(`${piece.length.toString(16)}\r\n`)
    yield piece
    yield Buffer.from('\r\n')
  }
  yield Buffer.from('0\r\n\r\n')
}

/** Reads a part of the answer and hangs up, by turns with a FIN and with a reset. */
async function leaveEarly(plan: Plan, socket: Socket, reader: ResponseReader): Promise<Response> {
  let head = await reader.head()
  // With 100 slotgate finds out whether a client that has closed its half is still there.
  while (head.status === 100) head = await reader.head()
  // An answer of slotgate's own is read to its end: it has to say whose it is.
  const enough = head.fields.has('x-echo') ? plan.nth % 5 : Number.POSITIVE_INFINITY
  const pieces: Buffer[] = []
  for await (const piece of reader.body(plan.method, head)) {
    pieces.push(piece)
    if (pieces.length > enough) break
  }
  if (plan.nth % 2 === 0) socket.destroy()
  else socket.resetAndDestroy()
  return { ...head, interim: [], body: Buffer.concat(pieces) }
}

interface Judgement {
  outcome: Outcome
  status?: number
  problem?: string
}

/** Holds what came against the plan. */
function judge(plan: Plan, got: Response | Cut | Malformed, reader: ResponseReader, fault: Fault): Judgement {
  if (got instanceof Malformed) return { outcome: 'cut', problem: got.message }
  if (got instanceof Cut) return reader.gaveUp ? silent(fault) : { outcome: 'cut' }
  const { status } = got
  if (got.fields.get('x-echo') === undefined) return { status, ...judgeRefusal(plan, got, fault) }
  const problem = differenceOf(plan, got)
  return { status, outcome: plan.kind === 'leave' ? 'left' : 'whole', ...(problem && { problem }) }
}

/** The relay's timers end what waits; nobody has to wait for longer, unless the network itself has gone silent. */
function silent({ kind }: Fault): Judgement {
  const isExcused = kind === 'blackHole' || kind === 'stall'
  return { outcome: 'silent', ...(!isExcused && { problem: `nothing came for ${PATIENCE_MS} ms` }) }
}

const STATUSES: Partial<Record<Plan['kind'], number>> = { early: 413, empty: 204 }

function differenceOf(plan: Plan, { status, fields, body, interim }: Response): string | undefined {
  const token = tokenOf(plan.method, plan.target, plan.kind === 'early' ? Buffer.alloc(0) : uploadOf(plan))
  if (fields.get('x-echo') !== token) return `the answer is for ${fields.get('x-echo')}`
  if (status !== (STATUSES[plan.kind] ?? 200)) return `the status is ${status}`
  const length = fields.get('content-length')
  if (plan.kind === 'head' && length !== String(plan.size)) return `the length is ${length}`
  // With 100 slotgate finds out whether a client that has closed its half is still there.
  if (plan.kind === 'hints' && interim.filter((one) => one !== 100).join() !== '103')
    return `the interim answers are ${interim}`
  const content = plan.kind === 'head' ? Buffer.alloc(0) : contentOf(plan)
  const isRight = plan.kind === 'leave' ? content.subarray(0, body.length).equals(body) : content.equals(body)
  if (!isRight) return `the body has ${body.length} bytes and is not the one of ${content.length}`
}

/** A problem document of slotgate, for this very request. */
function judgeRefusal(
  plan: Plan,
  { status, body }: { status: number; body: Buffer },
  fault: Fault,
): Judgement {
  const isLossy = LOSSES.includes(fault.kind) && fault.way === 'up'
  const allowed = isLossy ? [...REFUSALS, ...REFUSALS_OF_PARTS] : REFUSALS
  if (!allowed.includes(status))
    return { outcome: 'refused', problem: `slotgate answered ${status}: ${body}` }
  // Where the head was cut nobody knows its id; and HEAD has no body to tell it.
  const isKnown = plan.method !== 'HEAD' && !REFUSALS_OF_PARTS.includes(status)
  if (isKnown && !body.includes(`"request_id":"${plan.id}"`))
    return { outcome: 'refused', problem: `slotgate answered another request: ${body}` }
  return { outcome: 'refused' }
}

/** @returns the upgrade's refusal, or null when the session went as planned @throws Cut or Malformed */
async function converse(
  client: WebSocket,
  plan: Plan,
  signal: AbortSignal,
): Promise<(Head & { body: Buffer }) | null> {
  const { promise: ended, reject } = Promise.withResolvers<never>()
  ended.catch(() => {})
  signal.addEventListener('abort', () => reject(new Cut('silent')))
  client.on('close', (code) => reject(new Cut(`closed with ${code}`)))
  client.on('error', (error: NodeJS.ErrnoException) => {
    // The client checks frames and handshake itself; what it says about the bytes is not the network's doing.
    const isAboutBytes =
      error.code?.startsWith('WS_ERR') || /Sec-WebSocket|frame|upgrade header/i.test(error.message)
    reject(
      isAboutBytes || error.code?.startsWith('HPE_') ? new Malformed(error.message) : new Cut(error.message),
    )
  })
  const refused = new Promise<Head & { body: Buffer }>((resolve, fail) => {
    client.on('unexpected-response', async (_, response) => {
      const fields = new Map(Object.entries(response.headers).map(([name, value]) => [name, String(value)]))
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => pieces.push(piece))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, fields, body: Buffer.concat(pieces) }),
      )
      response.on('error', () => fail(new Cut('in a refusal')))
    })
  })
  const talked = talk(client, plan)
  return Promise.race([ended, refused, talked])
}

async function talk(client: WebSocket, plan: Plan): Promise<null> {
  const [hello] = await once(client, 'message')
  if (String(hello) !== `hello ${plan.target}`) throw new Malformed(`the tunnel leads to ${hello}`)
  for (const size of ECHOES) {
    const sent = Buffer.concat([Buffer.from(plan.id), contentOf({ ...plan, size })])
    client.send(sent)
    const [back] = (await once(client, 'message')) as [Buffer]
    if (!sent.equals(back))
      throw new Malformed(`an echo of ${sent.length} bytes came back as ${back.length} others`)
  }
  client.removeAllListeners('close').close(1000)
  const [code] = await once(client, 'close')
  if (code !== 1000) throw new Cut(`closed with ${code}`)
  return null
}

function judgeSession(
  plan: Plan,
  got: Awaited<ReturnType<typeof converse>> | Cut | Malformed,
  isSilent: boolean,
  fault: Fault,
): Judgement {
  if (got === null) return { outcome: 'whole', status: 101 }
  if (got instanceof Malformed) return { outcome: 'cut', problem: got.message }
  if (got instanceof Cut) return isSilent ? silent(fault) : { outcome: 'cut' }
  return { status: got.status, ...judgeRefusal(plan, got, fault) }
}

/** @returns how many of the results have this outcome */
export const countOf = (results: readonly Result[], outcome: Outcome): number =>
  results.filter((result) => result.outcome === outcome).length

/** What delays and cuts up, but loses nothing. */
const HARMLESS: readonly FaultKind[] = ['none', 'latency', 'slice', 'bandwidth']

/** Whether nothing between this client and the relay loses anything. */
export const isHarmless = ({ fault }: Result): boolean => HARMLESS.includes(fault.kind)
