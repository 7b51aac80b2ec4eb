// Screening a request's head: what is refused, and what the rest of the journey may rely on. Pure.
import type { RelayConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { type Framing, listOf, type RawFields, valuesOf } from './fields.ts'
import { hostnameOf, isHost } from './host.ts'

/** A head as node:http's parser leaves it. */
export interface RawHead {
  method?: string | undefined
  url?: string | undefined
  httpVersion: string
  rawHeaders: RawFields
}

/** A head that may be relayed. */
export interface Head {
  method: string
  httpVersion: string
  /** Origin-form, the client's own bytes; `*` only when the answer is local. */
  target: string
  /** As sent; never changed. */
  host: string
  hostname: string
  framing: Framing
  /** The client waits for a 100 before it sends its body. */
  awaitsContinue: boolean
  maxForwards?: number
  /** slotgate itself is the final recipient (RFC 9110 §7.6.2 and §9.3.7). */
  local: boolean
}

type Limits = Pick<RelayConfig, 'fieldLimit' | 'bodyLimitBytes'>

const bad = (detail: string) => new SlotgateError('bad_request', { detail })

/** The parser also knows the methods of RTSP and ICE, whose requests look like HTTP to it. */
const NOT_HTTP = new Set([
  'ANNOUNCE',
  'DESCRIBE',
  'FLUSH',
  'GET_PARAMETER',
  'PAUSE',
  'PLAY',
  'RECORD',
  'REDIRECT',
  'SETUP',
  'SET_PARAMETER',
  'SOURCE',
  'TEARDOWN',
])

function readMethod({ method = '', httpVersion }: RawHead): string {
  // The parser lets `HTTP/2.0` in text pass.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') throw new SlotgateError('http_version_not_supported')
  if (method === 'CONNECT' || method === 'TRACE') throw new SlotgateError('method_not_relayed', { method })
  if (NOT_HTTP.has(method)) throw new SlotgateError('not_implemented', { detail: `${method} is not HTTP` })
  return method
}

function readHost(raw: RawFields): string {
  const hosts = valuesOf(raw, 'host')
  if (hosts.length !== 1) throw bad(`it has ${hosts.length} Host fields`)
  const [host = ''] = hosts
  if (!isHost(host)) throw bad('its Host is not a host')
  return host
}

const ABSOLUTE = /^([A-Za-z][\w+.-]*):\/\/([^/?#]*)(.*)$/

/** @returns the target in origin-form, or `*`; an absolute target must name the very host of the Host field */
function readTarget({ url = '' }: RawHead, method: string, host: string): string {
  if (url.startsWith('/')) return url
  if (url === '*' && method === 'OPTIONS') return url
  const [, scheme = '', authority = '', rest = ''] = ABSOLUTE.exec(url) ?? []
  if (scheme.toLowerCase() !== 'http') throw bad('its target is not a path')
  // Routing by one name and telling the app another is how caches are poisoned.
  if (authority.toLowerCase() !== host.toLowerCase()) throw bad('its target and its Host differ')
  return rest.startsWith('/') ? rest : `/${rest}`
}

const LENGTH = /^(?:0|[1-9]\d{0,14})$/

function readFraming(raw: RawFields, httpVersion: string): Framing {
  const codings = valuesOf(raw, 'transfer-encoding')
  const lengths = valuesOf(raw, 'content-length')
  if (codings.length + lengths.length > 1) throw bad('it is framed in more than one way')
  const [coding] = codings
  const [length] = lengths
  if (coding !== undefined) {
    if (httpVersion === '1.0') throw bad('HTTP/1.0 has no transfer coding')
    if (coding.trim().toLowerCase() !== 'chunked') throw bad('its transfer coding is not chunked')
    return { kind: 'chunked' }
  }
  if (length === undefined) return { kind: 'none' }
  if (!LENGTH.test(length)) throw bad('its Content-Length is not a number')
  return { kind: 'length', bytes: Number(length) }
}

function readExpect(raw: RawFields, httpVersion: string): boolean {
  const expectations = listOf(raw, 'expect')
  // RFC 9110 §10.1.1: to be ignored from an HTTP/1.0 client.
  if (expectations.length === 0 || httpVersion === '1.0') return false
  // The parser's own test also finds `100-continue` inside other words.
  if (expectations.some((one) => one !== '100-continue')) throw new SlotgateError('expectation_failed')
  return true
}

function readMaxForwards(raw: RawFields, method: string): number | undefined {
  const [hops] = valuesOf(raw, 'max-forwards')
  if (method !== 'OPTIONS' || hops === undefined) return undefined
  if (!/^\d{1,9}$/.test(hops)) throw bad('its Max-Forwards is not a number')
  return Number(hops)
}

/**
 * @returns whether the request asks for a WebSocket. Any other `Upgrade` is dropped, which a server may do.
 * @see RFC 9110 §7.8, HTTP.md §4.1 rule 1
 */
export function asksForWebSocket({ method, httpVersion, rawHeaders: raw }: RawHead): boolean {
  const protocols = listOf(raw, 'upgrade')
  const bodyless = valuesOf(raw, 'content-length').length + valuesOf(raw, 'transfer-encoding').length === 0
  return (
    method === 'GET' &&
    httpVersion === '1.1' &&
    bodyless &&
    protocols.length === 1 &&
    protocols[0] === 'websocket' &&
    listOf(raw, 'connection').includes('upgrade')
  )
}

/**
 * @returns what the journey may rely on: one method, one target, one host, one framing
 * @throws SlotgateError whose status is the answer; the connection is closed after it, because where such a request
 *   ends is anybody's guess
 * @see HTTP.md §2.3 rule 3, RFC 9112 §3.2 and §6
 */
export function screen(request: RawHead, { fieldLimit, bodyLimitBytes }: Limits): Head {
  const raw = request.rawHeaders
  if (raw.length / 2 > fieldLimit) throw new SlotgateError('too_many_fields', { limit: fieldLimit })
  const { httpVersion } = request
  const method = readMethod(request)
  const host = readHost(raw)
  const target = readTarget(request, method, host)
  const framing = readFraming(raw, httpVersion)
  if (bodyLimitBytes > 0 && framing.kind === 'length' && framing.bytes > bodyLimitBytes) {
    throw new SlotgateError('request_too_large', { limit_bytes: bodyLimitBytes })
  }
  const hops = readMaxForwards(raw, method)
  return {
    method,
    httpVersion,
    target,
    host,
    hostname: hostnameOf(host),
    framing,
    awaitsContinue: readExpect(raw, httpVersion) && framing.kind !== 'none',
    local: target === '*' || hops === 0,
    ...(hops !== undefined && hops > 0 && { maxForwards: hops - 1 }),
  }
}
