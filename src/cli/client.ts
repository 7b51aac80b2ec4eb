// Talks to the admin API: signs each call, follows nothing, repeats nothing, and says how to mend it when nobody answers.
import { readFileSync } from 'node:fs'
import type { Agent, Dispatcher } from 'undici'
import { messageOf, type Problem } from '../errors.ts'
import { type SigningKey, signRequest } from '../signing.ts'
import type { ServiceStatus } from '../switch/types.ts'
import { type Call, EXIT, Failure, ProblemAnswer, setting } from './call.ts'
import { readKeyFile } from './keyfile.ts'

/** Takes longer to load than all else of the command line, so only what calls slotgate loads it. */
type Http = Pick<typeof import('undici'), 'Agent' | 'request'>

const DEFAULT_ADMIN = 'http://127.0.0.1:8081'
const CONNECT_WITHIN_MS = 5_000
/** A read is answered at once, whatever state the apps are in. */
const READ_WITHIN_MS = 15_000

export interface Sending {
  body?: object
  ifGeneration?: number
  signal?: AbortSignal
}

export class AdminClient {
  readonly origin: string
  readonly #key: SigningKey
  readonly #http: Http
  readonly #agent: Agent

  constructor(http: Http, origin: string, key: SigningKey, ca?: string) {
    this.origin = origin
    this.#key = key
    this.#http = http
    // A deploy takes as long as the app's setup and boot take; slotgate has the deadlines.
    const connect = { timeout: CONNECT_WITHIN_MS, ...(ca && { ca }) }
    this.#agent = new http.Agent({ connect, headersTimeout: 0, bodyTimeout: 0, allowH2: false })
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

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #call(method: 'GET' | 'POST', path: string, sending: Sending): Promise<unknown> {
    const url = new URL(path, this.origin)
    const body = sending.body && JSON.stringify(sending.body)
    const ifMatch = sending.ifGeneration === undefined ? undefined : `"${sending.ifGeneration}"`
    const signed = signRequest({
      method,
      url,
      key: this.#key,
      ...(body && { body }),
      ...(ifMatch && { ifMatch }),
    })
    const { statusCode, text } = await this.#send(url, {
      method,
      headers: { ...signed, accept: 'application/json' },
      ...(body && { body }),
      ...(sending.signal && { signal: sending.signal }),
      ...(method === 'GET' && { headersTimeout: READ_WITHIN_MS, bodyTimeout: READ_WITHIN_MS }),
    })
    const parsed = this.#parse(text)
    if (statusCode >= 200 && statusCode < 300) {
      if (isOurs(parsed)) return parsed
      throw this.#stranger('what it answered is something else')
    }
    if (!isProblem(parsed)) throw this.#stranger(`it answered ${statusCode}`)
    if (parsed.stage === 'relay') throw this.#stranger('it is the front door')
    throw new ProblemAnswer(parsed)
  }

  async #send(
    url: URL,
    options: Omit<Dispatcher.RequestOptions, 'path' | 'origin'>,
  ): Promise<{ statusCode: number; text: string }> {
    try {
      const { statusCode, body } = await this.#http.request(url, { ...options, dispatcher: this.#agent })
      return { statusCode, text: await body.text() }
    } catch (error) {
      throw this.#unreachable(error, options.method)
    }
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw this.#stranger('what it answered is not JSON')
    }
  }

  #unreachable(error: unknown, method: string): Failure {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'UND_ERR_SOCKET' && method === 'POST') {
      return new Failure(
        EXIT.unreachable,
        `slotgate's admin at ${this.origin} went away before it answered.`,
        ['Whether the call took effect is in the journal: slotgate history, slotgate status.'],
      )
    }
    const why = WHY[code ?? ''] ?? messageOf(error)
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

/** What the system's codes mean, in words. */
const WHY: Partial<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to that host',
  ENOTFOUND: 'no such host',
  UND_ERR_CONNECT_TIMEOUT: 'no answer',
  UND_ERR_HEADERS_TIMEOUT: 'no answer',
  UND_ERR_BODY_TIMEOUT: 'no complete answer',
  UND_ERR_SOCKET: 'the connection was closed without an answer',
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const isProblem = (value: unknown): value is Problem =>
  isObject(value) && 'type' in value && String(value.type).startsWith('urn:slotgate:error:')

/** Every answer of the admin API has one of these. */
const isOurs = (value: unknown): boolean =>
  isObject(value) && ['service', 'services', 'records'].some((name) => name in value)

/** Opens a client by the flags and the environment of a call, runs the work, and closes it. */
export async function withAdmin<T>(call: Call, work: (admin: AdminClient) => Promise<T>): Promise<T> {
  const admin = new AdminClient(await import('undici'), originOf(call), keyOf(call), caOf(call))
  try {
    return await work(admin)
  } finally {
    await admin.close()
  }
}

function originOf(call: Call): string {
  const given = setting(call, 'admin', 'SLOTGATE_ADMIN') ?? DEFAULT_ADMIN
  const url = URL.parse(given.includes('://') ? given : `http://${given}`)
  const isPlain = url?.pathname === '/' && url.search === '' && url.hash === '' && url.username === ''
  if (url && isPlain && /^https?:$/.test(url.protocol)) return url.origin
  throw new Failure(EXIT.usage, `${given} is not the address of an admin API.`, [
    `Write it like ${DEFAULT_ADMIN}.`,
  ])
}

function keyOf(call: Call): SigningKey {
  const file = setting(call, 'key', 'SLOTGATE_KEY')
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
