// One GET of an app's internal port, bounded in time and size. Everything the gate knows comes through here.
import { Agent, type Dispatcher, errors } from 'undici'
import type { Address } from '../config/types.ts'
import { parseStatus, ROLE_HEADER, type Role } from '../contract.ts'
import { type Code, type Facts, messageOf } from '../errors.ts'
import type { Reading } from './judge.ts'

export const STATUS_LIMIT_BYTES = 64 * 1024

const originOf = (address: Address): string =>
  address.kind === 'tcp' ? `http://${hostInUrl(address.host)}:${address.port}` : 'http://localhost'

const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** An address as a person types it: `http://127.0.0.1:3901`, or `unix:/run/green.sock`. */
export const urlOf = (address: Address): string =>
  address.kind === 'tcp' ? originOf(address) : `unix:${address.path}`

export interface Answer {
  status: number
  body: Buffer
}

export interface Question {
  address: Address
  path: string
  role: Role
  /** For the whole exchange, connecting included, in milliseconds. A body that drips ends here too. */
  withinMs: number
  limitBytes?: number
}

class TooLarge extends Error {}

/**
 * Asks once, on a connection of its own: a pooled one could be answered by a process that is already gone.
 *
 * @throws what undici throws, `TimeoutError` at the deadline, `TooLarge` beyond the limit
 */
export async function ask({
  address,
  path,
  role,
  withinMs,
  limitBytes = STATUS_LIMIT_BYTES,
}: Question): Promise<Answer> {
  const signal = AbortSignal.timeout(withinMs)
  const agent = new Agent({
    pipelining: 0,
    maxHeaderSize: 16 * 1024,
    connect: { timeout: withinMs, ...(address.kind === 'unix' && { socketPath: address.path }) },
  })
  try {
    const response = await agent.request({
      origin: originOf(address),
      path,
      method: 'GET',
      headers: { accept: 'application/json', [ROLE_HEADER]: role },
      signal,
    })
    return { status: response.statusCode, body: await readBody(response, limitBytes) }
  } finally {
    // Not awaited: closing must not outlast the deadline when the app holds the connection open.
    agent.destroy().catch(() => {})
  }
}

async function readBody(response: Dispatcher.ResponseData, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response.body) {
    size += chunk.length
    if (size > limitBytes) throw new TooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/**
 * Reads and parses one status.
 *
 * @returns the status, or the code of DESIGN §3 row 1 with the facts of its sentence; it never throws
 */
export async function readStatus(question: Question): Promise<Reading> {
  const facts: Facts = {
    url: urlOf(question.address) + question.path,
    internal_url: urlOf(question.address),
    within_ms: question.withinMs,
    limit_bytes: question.limitBytes ?? STATUS_LIMIT_BYTES,
  }
  try {
    const answer = await ask(question)
    const refused = refuseAnswer(answer.status)
    if (refused) return { ok: false, code: refused, facts: { ...facts, status_code: answer.status } }
    const text = decode(answer.body)
    if (text === null)
      return { ok: false, code: 'schema_status_not_json', facts: { ...facts, detail: 'it is not UTF-8' } }
    const parsed = parseStatus(text)
    if (parsed.ok) return parsed
    const { ok: _, code, ...more } = parsed
    return { ok: false, code, facts: { ...facts, ...more } }
  } catch (error) {
    return { ok: false, code: codeOf(error), facts: { ...facts, detail: describe(error) } }
  }
}

/** Rejects what is not UTF-8 instead of guessing; a byte order mark stays, and is not JSON. */
function decode(body: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return null
  }
}

function refuseAnswer(status: number): Code | null {
  if (status === 200) return null
  if (status === 404) return 'schema_status_not_found'
  if (status === 503) return 'schema_status_unavailable'
  if (status >= 300 && status < 400) return 'schema_status_redirected'
  return 'schema_status_http_error'
}

function codeOf(error: unknown): Code {
  if (error instanceof TooLarge || error instanceof errors.HeadersOverflowError)
    return 'schema_status_too_large'
  const name = error instanceof Error ? error.name : ''
  if (name === 'TimeoutError' || error instanceof errors.ConnectTimeoutError) return 'schema_status_timeout'
  return 'schema_status_unreachable'
}

function describe(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ECONNREFUSED') return 'connection refused'
  if (code === 'ECONNRESET' || code === 'UND_ERR_SOCKET') return 'the connection was reset'
  if (code === 'ENOENT') return 'there is no such socket'
  if (code.startsWith('HPE_')) return 'the answer is not HTTP'
  return messageOf(error)
}
