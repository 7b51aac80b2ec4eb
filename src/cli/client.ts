// Talks to the admin API: signs each call, follows nothing, repeats nothing, and says how to mend it when nobody answers.
import { readFileSync } from 'node:fs'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { messageOf, type Problem } from '../errors.ts'
import { request } from '../http.ts'
import { type SigningKey, signRequest } from '../signing.ts'
import type { FeedEvent, ServiceStatus } from '../switch/types.ts'
import { type Call, EXIT, Failure, ProblemAnswer, setting } from './call.ts'
import { devDefaults } from './dev-files.ts'
import { readKeyFile } from './keyfile.ts'

const DEFAULT_ADMIN = 'http://127.0.0.1:8081'
const CONNECT_WITHIN_MS = 5_000
/** A read is answered at once, whatever state the apps are in. */
const READ_WITHIN_MS = 15_000
/** A stream gives a sign of life every 15 s. */
const SILENT_MS = 45_000

/** From then on the system asks the other end of a silent connection whether it is still there. */
const KEEP_ALIVE_MS = 60_000

const STREAM_TYPE = 'text/event-stream'
/** slotgate writes each event into one such line. */
const DATA = 'data: '

export interface Sending {
  body?: object
  ifGeneration?: number
  signal?: AbortSignal
  isStream?: boolean
}

export class AdminClient {
  readonly origin: string
  readonly #key: SigningKey
  readonly #ca: string | undefined

  constructor(origin: string, key: SigningKey, ca?: string) {
    this.origin = origin
    this.#key = key
    this.#ca = ca
  }

  get keyId(): string {
    return this.#key.id
  }

  /** @throws ProblemAnswer if slotgate refuses, Failure if it cannot be reached */
  async get<T>(path: string, sending: Sending = {}): Promise<T> {
    return (await this.#call('GET', path, sending)) as T
  }

  /** @throws like `get` */
  async post<T>(path: string, sending: Sending = {}): Promise<T> {
    return (await this.#call('POST', path, sending)) as T
  }

  async status(service: string, sending: Sending = {}): Promise<ServiceStatus> {
    return this.get(`/v1/services/${encodeURIComponent(service)}`, sending)
  }

  /**
   * @param query which of them, and from where on
   * @returns what happens, as it is told, until slotgate ends the stream
   * @throws like `get`
   */
  async *events(query: Record<string, string>, signal?: AbortSignal): AsyncGenerator<FeedEvent> {
    const path = `/v1/events?${new URLSearchParams(query)}`
    const response = await this.#send('GET', path, { isStream: true, ...(signal && { signal }) })
    const { statusCode = 0, headers } = response
    if (!isDone(statusCode)) this.#refuse(statusCode, this.#parse(await this.#textOf(response, 'GET')))
    if (headers['content-type'] !== STREAM_TYPE) {
      // Unread, it would keep the process from its end.
      response.destroy()
      throw this.#stranger('what it answered is something else')
    }
    try {
      for await (const line of linesOf(response))
        if (line.startsWith(DATA)) yield JSON.parse(line.slice(DATA.length))
    } catch (error) {
      throw this.#lost(error, 'GET')
    }
  }

  async #call(method: 'GET' | 'POST', path: string, sending: Sending): Promise<unknown> {
    const response = await this.#send(method, path, sending)
    const { statusCode = 0 } = response
    const parsed = this.#parse(await this.#textOf(response, method))
    if (!isDone(statusCode)) this.#refuse(statusCode, parsed)
    if (isOurs(parsed)) return parsed
    throw this.#stranger('what it answered is something else')
  }

  async #send(method: 'GET' | 'POST', path: string, sending: Sending): Promise<IncomingMessage> {
    const url = new URL(path, this.origin)
    const { isStream = false, ifGeneration, signal } = sending
    const body = sending.body && JSON.stringify(sending.body)
    const ifMatch = ifGeneration === undefined ? undefined : `"${ifGeneration}"`
    const signed = signRequest({
      method,
      url,
      key: this.#key,
      ...(body && { body }),
      ...(ifMatch && { ifMatch }),
    })
    const call = requestOf(url)(url, {
      method,
      headers: { ...signed, accept: isStream ? STREAM_TYPE : 'application/json' },
      agent: false,
      timeout: CONNECT_WITHIN_MS,
      ...(this.#ca && { ca: this.#ca }),
      ...(signal && { signal }),
    })
    // A deploy takes as long as the app's setup and boot take; slotgate has the deadlines.
    const silentMs = method === 'POST' ? 0 : isStream ? SILENT_MS : READ_WITHIN_MS
    const connected = url.protocol === 'https:' ? 'secureConnect' : 'connect'
    let isSent = false
    call.once('socket', (socket) =>
      socket.once(connected, () => {
        isSent = true
        socket.setTimeout(silentMs).setKeepAlive(true, KEEP_ALIVE_MS)
      }),
    )
    call.end(body)
    try {
      return await answerTo(call)
    } catch (error) {
      throw isSent ? this.#lost(error, method) : this.#unreachable(error)
    }
  }

  /** @throws ProblemAnswer, or Failure where it is not slotgate's admin that answered */
  #refuse(statusCode: number, answer: unknown): never {
    if (!isProblem(answer)) throw this.#stranger(`it answered ${statusCode}`)
    if (answer.stage === 'relay') throw this.#stranger('it is the front door')
    throw new ProblemAnswer(answer)
  }

  async #textOf(response: IncomingMessage, method: string): Promise<string> {
    try {
      return await text(response)
    } catch (error) {
      throw this.#lost(error, method)
    }
  }

  #parse(answer: string): unknown {
    try {
      return JSON.parse(answer)
    } catch {
      throw this.#stranger('what it answered is not JSON')
    }
  }

  /** How a call ended that was sent. */
  #lost(error: unknown, method: string): Failure {
    if (String((error as NodeJS.ErrnoException).code).startsWith('HPE_'))
      return this.#stranger('what it answered is not HTTP')
    if (method === 'GET') return this.#unreachable(error)
    return new Failure(EXIT.unreachable, `slotgate's admin at ${this.origin} went away before it answered.`, [
      'Whether the call took effect is in the journal: slotgate history, slotgate status.',
    ])
  }

  #unreachable(error: unknown): Failure {
    const { code = '', syscall } = error as NodeJS.ErrnoException
    // Node calls an end in the middle a reset, too, but no call of the system said so.
    const isEnd = code === 'ECONNRESET' && syscall === undefined
    const why = isEnd ? NO_ANSWER : (WHY[code] ?? messageOf(error))
    return new Failure(EXIT.unreachable, `Cannot reach slotgate's admin at ${this.origin} (${why}).`, [
      'Is it running there? slotgate serve --config proxy.config.yaml',
      'If it listens elsewhere, name the address: --admin URL or SLOTGATE_ADMIN.',
      ...(this.origin.startsWith('https:')
        ? ['If its certificate is your own: --ca FILE or SLOTGATE_CA.']
        : []),
    ])
  }

  #stranger(what: string): Failure {
    return new Failure(EXIT.unreachable, `What listens at ${this.origin} is not slotgate's admin: ${what}.`, [
      'Name the address of `admin.listen`: --admin URL or SLOTGATE_ADMIN.',
    ])
  }
}

const NO_ANSWER = 'the connection was closed without an answer'

/** What the system's codes mean, in words. */
const WHY: Partial<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to that host',
  ENOTFOUND: 'no such host',
  ETIMEDOUT: 'no answer',
}

/** TLS is loaded for who needs it. */
const requestOf = ({ protocol }: URL): typeof request =>
  protocol === 'https:' ? process.getBuiltinModule('node:https').request : request

/** The head of the answer; where it or what follows it is not there in time, that is an error of either. */
function answerTo(call: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let answer: IncomingMessage | undefined
    call.on('response', (response) => {
      answer = response
      resolve(response)
    })
    call.on('error', reject)
    // All that an answer that upgrades unasked leads to is this; once there is a head or an error it says nothing new.
    call.on('close', () => reject(new Error(NO_ANSWER)))
    call.on('timeout', () =>
      answer ? answer.destroy(new Error('no complete answer')) : call.destroy(new Error('no answer')),
    )
  })
}

const isDone = (statusCode: number): boolean => statusCode >= 200 && statusCode < 300

async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const isProblem = (value: unknown): value is Problem =>
  isObject(value) && 'type' in value && String(value.type).startsWith('urn:slotgate:error:')

/** Every answer of the admin API has one of these. */
const isOurs = (value: unknown): boolean =>
  isObject(value) && ['service', 'services', 'records', 'key'].some((name) => name in value)

/** Runs the work with a client by the flags and the environment of a call. */
export async function withAdmin<T>(call: Call, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const dev = setting(call, 'key', 'SLOTGATE_KEY') === undefined ? devDefaults() : undefined
  return work(new AdminClient(originOf(call, dev), keyOf(call, dev), caOf(call)))
}

/** What a `slotgate dev` of this folder has left for who names no key. */
type Dev = ReturnType<typeof devDefaults>

function originOf(call: Call, dev: Dev): string {
  const given = setting(call, 'admin', 'SLOTGATE_ADMIN') ?? dev?.admin ?? DEFAULT_ADMIN
  const url = URL.parse(given.includes('://') ? given : `http://${given}`)
  const isPlain = url?.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
  if (url && isPlain && /^https?:$/.test(url.protocol)) return url.origin
  throw new Failure(EXIT.usage, `${given} is not the address of an admin API.`, [
    `Write it like ${DEFAULT_ADMIN}.`,
  ])
}

function keyOf(call: Call, dev: Dev): SigningKey {
  const file = setting(call, 'key', 'SLOTGATE_KEY') ?? dev?.key
  if (file === undefined) {
    throw new Failure(EXIT.usage, 'No key to sign with.', [
      'Name one with --key FILE or SLOTGATE_KEY; slotgate keys generate --id NAME makes one.',
    ])
  }
  const { key, isOpenToOthers } = readKeyFile(file, setting(call, 'key-id', 'SLOTGATE_KEY_ID'))
  if (isOpenToOthers) call.stderr.write(`Warning: ${file} can be read by others. chmod 600 ${file}\n`)
  return key
}

function caOf(call: Call): string | undefined {
  const file = setting(call, 'ca', 'SLOTGATE_CA')
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new Failure(EXIT.usage, `The CA file ${file} cannot be read: ${messageOf(error)}.`)
  }
}

/**
 * @returns the service a call is about: the one it names, or the only one there is
 * @throws Failure if there are several to choose from
 */
export async function serviceOf(call: Call, admin: AdminClient): Promise<string> {
  const named = setting(call, 'service', 'SLOTGATE_SERVICE')
  if (named !== undefined) return named
  const names = await serviceNames(admin)
  const [only] = names
  if (only !== undefined && names.length === 1) return only
  throw new Failure(EXIT.usage, `There are ${names.length} services: ${names.join(', ')}.`, [
    'Say which one with --service NAME or SLOTGATE_SERVICE.',
  ])
}

async function serviceNames(admin: AdminClient): Promise<string[]> {
  try {
    const { services } = await admin.get<{ services: Record<string, ServiceStatus> }>('/v1/services')
    return Object.keys(services)
  } catch (error) {
    if (!(error instanceof ProblemAnswer) || error.problem.code !== 'not_allowed') throw error
    throw new Failure(EXIT.unreachable, 'This key may not read which services there are.', [
      'Say which one is meant with --service NAME or SLOTGATE_SERVICE.',
    ])
  }
}
