// Screening a request's head: what is refused, and what the rest of the journey may rely on. Pure.
import type { RelayConfig } from '../../config/types.ts'
import { SlotgateError } from '../../errors.ts'
import { METHODS } from '../../http.ts'
import { hostnameOf, isHost } from '../host.ts'
import type { Framing } from './body.ts'
import { type HeadReader, Malformed, TooLong, TooManyFields } from './head.ts'
import { numberOf } from './names.ts'
import { NINE, ZERO } from './octets.ts'
import { membersOf, timesPassed } from './outgoing.ts'

/** A head that may be relayed. */
export interface Request {
  readonly method: string
  /** The minor version of HTTP/1 that the client speaks. */
  readonly minor: number
  /** Origin-form, the client's own octets; `*` only when the answer is local. */
  readonly target: string
  /** As sent; never changed. */
  readonly host: string
  readonly hostname: string
  readonly framing: Framing
  /** The client waits for a 100 before it sends its body. */
  readonly awaitsContinue: boolean
  /** Another request may follow on the connection. */
  readonly persistent: boolean
  /** It asks for a WebSocket. Any other `Upgrade` is dropped, which a server may do. */
  readonly upgrade: boolean
  readonly maxForwards: number | undefined
  /** slotgate itself is the final recipient (RFC 9110 §7.6.2 and §9.3.7). */
  readonly local: boolean
}

const CONNECTION = numberOf('connection')
const CONTENT_LENGTH = numberOf('content-length')
const EXPECT = numberOf('expect')
const HOST = numberOf('host')
const MAX_FORWARDS = numberOf('max-forwards')
const TRANSFER_ENCODING = numberOf('transfer-encoding')
const UPGRADE = numberOf('upgrade')

const bad = (detail: string) => new SlotgateError('bad_request', { detail })

/** Of RTSP, ICE and UPnP: their requests look like HTTP, and what they mean to an app is anybody's guess. */
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

/** What Node itself knows: an app behind the front door gets no method that common parsers stumble over. */
const RELAYED = new Set(METHODS.filter((method) => !NOT_HTTP.has(method)))
const NEVER_RELAYED = new Set(['CONNECT', 'TRACE'])

/** Passing here more often than this is not a chain of proxies but a circle. */
const PASSES = 3

/** @returns what the reader of heads has thrown, as the error that the client gets */
export function asRefusal(error: unknown, limits: RelayConfig): unknown {
  if (error instanceof Malformed) {
    return error.version ? new SlotgateError('http_version_not_supported') : bad(error.message)
  }
  if (error instanceof TooManyFields)
    return new SlotgateError('too_many_fields', { limit: limits.fieldLimit })
  if (!(error instanceof TooLong)) return error
  return error.part === 'target'
    ? new SlotgateError('target_too_long', { limit_bytes: limits.targetLimitBytes })
    : new SlotgateError('head_too_large', { limit_bytes: limits.headLimitBytes })
}

function checkMethod(method: string): void {
  // Most are, and looking one up costs more than asking.
  if (method === 'GET' || method === 'POST') return
  if (NEVER_RELAYED.has(method)) throw new SlotgateError('method_not_relayed', { method })
  if (!RELAYED.has(method))
    throw new SlotgateError('not_implemented', { detail: 'its method is not known here' })
}

/** Hosts that were read before: few are asked for again and again. Bounded, since anybody can name new ones. */
const hostnames = new Map<string, string>()
const HOSTS_KEPT = 256

let lastHost = ''
let lastHostname = ''

/** @returns the name that services are found by */
function hostnameFor(host: string): string {
  // One after the other mostly ask for the same.
  if (host === lastHost && host !== '') return lastHostname
  lastHostname = hostnameOnce(host)
  lastHost = host
  return lastHostname
}

function hostnameOnce(host: string): string {
  const before = hostnames.get(host)
  if (before !== undefined) return before
  if (!isHost(host)) throw bad('its Host is not a host')
  const hostname = hostnameOf(host)
  if (hostnames.size >= HOSTS_KEPT) hostnames.clear()
  hostnames.set(host, hostname)
  return hostname
}

function readHost(head: HeadReader): string {
  if (head.times(HOST) !== 1) throw bad(`it has ${head.times(HOST)} Host fields`)
  return head.value(head.first(HOST))
}

const ABSOLUTE = /^([A-Za-z][\w+.-]*):\/\/([^/?#]*)(.*)$/

/** @returns the target in origin-form, or `*`; an absolute target must name the very host of the Host field */
function readTarget(target: string, method: string, host: string): string {
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return target
  const [, scheme = '', authority = '', rest = ''] = ABSOLUTE.exec(target) ?? []
  if (scheme.toLowerCase() !== 'http') throw bad('its target is not a path')
  // Routing by one name and telling the app another is how caches are poisoned.
  if (authority.toLowerCase() !== host.toLowerCase()) throw bad('its target and its Host differ')
  // RFC 9112 §3.2.4: an empty path means the server itself to OPTIONS.
  if (rest === '' && method === 'OPTIONS') return '*'
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** More digits than any body needs, and fewer than a number can hold exactly. */
const LENGTH_DIGITS = 15

/** @returns the number; -1: it is none, or written in another way than everybody reads alike */
function lengthOf(text: string): number {
  const { length } = text
  if (length === 0 || length > LENGTH_DIGITS || (length > 1 && text.charCodeAt(0) === ZERO)) return -1
  let bytes = 0
  for (let at = 0; at < length; at++) {
    const octet = text.charCodeAt(at)
    if (octet < ZERO || octet > NINE) return -1
    bytes = bytes * 10 + (octet - ZERO)
  }
  return bytes
}

const NO_BODY: Framing = { kind: 'none' }
const CHUNKED: Framing = { kind: 'chunked' }

/** llhttp reads `chunked` and a tab as a coding that it does not know: where readers disagree, nothing goes on. */
const hasTabBehind = (head: HeadReader, field: number): boolean =>
  head.text.slice(head.valueEnd(field), head.nextStart(field)).includes('\t')

/**
 * The framing that the fields of a message declare.
 *
 * @returns undefined: they declare none
 * @throws Malformed if they declare two, or one that is not spoken here
 * @see RFC 9112 §6.1 and §6.3, HTTP.md §2.3 rule 1
 */
export function declaredFraming(head: HeadReader): Framing | undefined {
  const codings = head.times(TRANSFER_ENCODING)
  const lengths = head.times(CONTENT_LENGTH)
  if (codings + lengths === 0) return undefined
  if (codings + lengths > 1) throw new Malformed('it is framed in more than one way')
  if (codings === 1) {
    if (head.minor === 0) throw new Malformed('HTTP/1.0 has no transfer coding')
    const field = head.first(TRANSFER_ENCODING)
    const coding = head.value(field)
    const isChunked = coding === 'chunked' || coding.toLowerCase() === 'chunked'
    if (!isChunked || hasTabBehind(head, field)) throw new Malformed('its transfer coding is not chunked')
    return CHUNKED
  }
  const bytes = lengthOf(head.value(head.first(CONTENT_LENGTH)))
  if (bytes < 0) throw new Malformed('its Content-Length is not a number')
  return { kind: 'length', bytes }
}

function readExpect(head: HeadReader): boolean {
  // RFC 9110 §10.1.1: to be ignored from an HTTP/1.0 client.
  if (head.first(EXPECT) < 0 || head.minor === 0) return false
  if (membersOf(head.values('expect')).some((one) => one !== '100-continue')) {
    throw new SlotgateError('expectation_failed')
  }
  return true
}

function readMaxForwards(head: HeadReader, method: string): number | undefined {
  if (method !== 'OPTIONS' || head.first(MAX_FORWARDS) < 0) return undefined
  const hops = head.value(head.first(MAX_FORWARDS))
  if (head.times(MAX_FORWARDS) > 1 || !/^\d{1,9}$/.test(hops)) throw bad('its Max-Forwards is not a number')
  return Number(hops)
}

const optionsOf = (head: HeadReader): string[] => membersOf(head.values('connection'))

/**
 * @returns whether the connection may be used again after this message (RFC 9112 §9.3), for the side that sent it
 */
export function isPersistent(head: HeadReader): boolean {
  const first = head.first(CONNECTION)
  if (head.minor === 0) return false
  if (first < 0 || (head.times(CONNECTION) === 1 && head.value(first) === 'keep-alive')) return true
  return !optionsOf(head).includes('close')
}

/** HTTP.md §4.1 rule 1, RFC 9110 §7.8. */
function asksForWebSocket(head: HeadReader, framing: Framing): boolean {
  if (head.first(UPGRADE) < 0 || head.method !== 'GET' || head.minor === 0 || framing.kind !== 'none')
    return false
  const protocols = membersOf(head.values('upgrade'))
  return protocols.length === 1 && protocols[0] === 'websocket' && optionsOf(head).includes('upgrade')
}

/**
 * @param head that was read just now
 * @returns what the journey may rely on: one method, one target, one host, one framing
 * @throws SlotgateError whose status is the answer, or Malformed; the connection is closed after either, because where
 *   such a request ends is anybody's guess
 * @see HTTP.md §2.3 rule 3, RFC 9112 §3.2 and §6
 */
export function screen(head: HeadReader): Request {
  const { method, minor } = head
  checkMethod(method)
  const host = readHost(head)
  const hostname = hostnameFor(host)
  const target = readTarget(head.target, method, host)
  const framing = declaredFraming(head) ?? NO_BODY
  const hops = readMaxForwards(head, method)
  if (timesPassed(head) >= PASSES) throw new SlotgateError('loop_detected')
  return {
    method,
    minor,
    target,
    host,
    hostname,
    framing,
    awaitsContinue: readExpect(head) && framing.kind !== 'none',
    persistent: isPersistent(head),
    upgrade: asksForWebSocket(head, framing),
    maxForwards: hops === undefined ? undefined : hops - 1,
    local: target === '*' || hops === 0,
  }
}

/**
 * @param receivedBytes of the body so far
 * @param limitBytes 0: none
 * @throws SlotgateError request_too_large: it is, or says that it will be
 */
export function bodyMustFit({ framing }: Request, receivedBytes: number, limitBytes: number): void {
  if (limitBytes === 0) return
  const bytes = framing.kind === 'length' ? framing.bytes : receivedBytes
  if (bytes > limitBytes) throw new SlotgateError('request_too_large', { limit_bytes: limitBytes })
}
