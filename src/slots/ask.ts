// One GET of an app's internal port, bounded in time and size: all that slotgate ever asks of an app.
import type { ClientRequest, IncomingMessage } from 'node:http'
import { isUnspecified } from '../config/addresses.ts'
import type { Address, ListenAddress, ServiceConfig } from '../config/types.ts'
import { ROLE_HEADER, type Role } from '../contract.ts'
import { messageOf } from '../errors.ts'
import { request } from '../http.ts'

/** A status is a few hundred bytes; nothing an app is asked needs more than this. */
export const ANSWER_LIMIT_BYTES = 64 * 1024
const HEAD_LIMIT_BYTES = 16 * 1024

const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host)

export const originOf = (address: Address): string =>
  address.kind === 'tcp' ? `http://${hostInUrl(address.host)}:${address.port}` : 'http://localhost'

/** An address as a person types it: `http://127.0.0.1:3901`, or `unix:/run/green.sock`. */
export const urlOf = (address: Address): string =>
  address.kind === 'tcp' ? originOf(address) : `unix:${address.path}`

export const listenUrl = (listen: ListenAddress): string => urlOf({ kind: 'tcp', ...listen })

/** Where a browser on this machine finds the front page of a service; without a slash at its end. */
export function siteOf(
  { hosts: [name], pathPrefix }: Pick<ServiceConfig, 'hosts' | 'pathPrefix'>,
  { host, port }: ListenAddress,
): string {
  const origin = listenUrl({ host: name ?? (isUnspecified(host) ? 'localhost' : host), port })
  return pathPrefix === '/' ? origin : origin + pathPrefix
}

export interface Answer {
  status: number
  body: Buffer
}

export interface Question {
  address: Address
  path: string
  /** What the asked process is to slotgate right now; it is told with every question. */
  role: Role
  /** For the whole exchange, connecting included, in milliseconds. A body that drips ends here too. */
  withinMs: number
}

/** How asking failed, in the few kinds that matter. */
export type AskFailure = 'unreachable' | 'timeout' | 'too_large'

export class AskError extends Error {
  readonly failure: AskFailure

  constructor(failure: AskFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'AskError'
    this.failure = failure
  }
}

/**
 * Asks once, on a connection of its own: a pooled one could be answered by a process that is already gone.
 * Redirects are not followed.
 *
 * @throws AskError
 */
export const ask = (question: Question): Promise<Answer> =>
  exchange(question, async (response) => ({
    status: statusOf(response),
    body: await readBody(response),
  }))

/**
 * The same of a path that may lead to anything: what comes behind the head is not waited for.
 *
 * @throws AskError
 */
export const askStatus = (question: Question): Promise<number> =>
  exchange(question, async (response) => {
    // It ends with the connection, before anybody has read it.
    response.on('error', () => {})
    return statusOf(response)
  })

async function exchange<Result>(
  { address, path, role, withinMs }: Question,
  read: (response: IncomingMessage) => Promise<Result>,
): Promise<Result> {
  const signal = AbortSignal.timeout(withinMs)
  let call: ClientRequest | undefined
  let failure: unknown
  try {
    call = request({
      ...(address.kind === 'unix'
        ? { socketPath: address.path }
        : { host: address.host, port: address.port }),
      path,
      headers: { accept: 'application/json', [ROLE_HEADER]: role },
      agent: false,
      maxHeaderSize: HEAD_LIMIT_BYTES,
      signal,
    })
    call.on('error', (error) => {
      failure = error
    })
    return await read(await answerTo(call))
  } catch (error) {
    // Of what broke a body, the body knows only that it ended.
    throw signal.aborted ? timedOut(error, withinMs) : toAskError(failure ?? error)
  } finally {
    call?.destroy()
  }
}

function answerTo(call: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    call.on('response', resolve)
    call.on('error', reject)
    // All that an answer that upgrades unasked leads to is this; once there is a head or an error it says nothing new.
    call.on('close', () => reject(new Error('no answer came, only an upgrade or the end of the connection')))
    call.end()
  })
}

/** Every answer has one; only a request that another sent has none. */
const statusOf = ({ statusCode = 0 }: IncomingMessage): number => statusCode

async function readBody(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += chunk.length
    if (size > ANSWER_LIMIT_BYTES)
      throw new AskError('too_large', `the answer is larger than ${ANSWER_LIMIT_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

const timedOut = (cause: unknown, withinMs: number): AskError =>
  new AskError('timeout', `no complete answer within ${withinMs} ms`, { cause })

function toAskError(error: unknown): AskError {
  if (error instanceof AskError) return error
  const isTooLarge = codeOf(error) === 'HPE_HEADER_OVERFLOW'
  return isTooLarge
    ? new AskError('too_large', `the head of the answer is larger than ${HEAD_LIMIT_BYTES} bytes`, {
        cause: error,
      })
    : new AskError('unreachable', describeFailure(error), { cause: error })
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : ''

const SYSTEM_ERRORS: Record<string, string> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'the connection was reset',
  UND_ERR_SOCKET: 'the connection ended early',
  UND_ERR_HEADERS_TIMEOUT: 'no answer came in time',
  UND_ERR_BODY_TIMEOUT: 'its answer began, and nothing more came',
  ENOENT: 'there is no such socket',
  EACCES: 'permission denied',
}

/** Why a connection or an exchange failed, in a few words. */
export function describeFailure(error: unknown): string {
  const code = codeOf(error)
  // Node calls an end in the middle a reset, too, but no call of the system said so.
  if (code === 'ECONNRESET' && !(error instanceof Error && 'syscall' in error))
    return 'the connection ended early'
  if (code.startsWith('HPE_')) return 'the answer is not HTTP'
  return SYSTEM_ERRORS[code] ?? messageOf(error)
}
