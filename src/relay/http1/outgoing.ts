// Which header fields go on, and how the message is framed: one function for both directions, and the two heads that
// are written with it. Pure.
import type { RelayConfig } from '../../config/types.ts'
import { type ForwardedIn, forwardedFields } from '../forwarded.ts'
import { type Trace, traceparentOf } from '../trace.ts'
import type { Framing } from './body.ts'
import type { HeadReader } from './head.ts'
import {
  FORWARDED,
  FRAMING,
  HOP,
  hasRole,
  lookUpLower,
  NEVER_NAMED,
  numberOf,
  OTHER,
  REBUILT,
  TRACE,
  TRACE_STATE,
} from './names.ts'
import { HTAB, SP } from './octets.ts'

/** How slotgate names itself in `Via`. */
export const PSEUDONYM = 'slotgate'

const CONNECTION = numberOf('connection')
const DATE = numberOf('date')
const VIA = numberOf('via')

const NOTHING: ReadonlySet<string> = new Set()
const X = 0x78
const FORWARDED_PREFIX = 'x-forwarded-'

const isBlank = (octet: number): boolean => octet === SP || octet === HTAB

/** Not `trim`, which takes more for blank than RFC 9110 §5.6.3: to others, `\xa0close` is not `close`. */
function trimmed(text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isBlank(text.charCodeAt(from))) from++
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

/** @returns the members of a list field, lower case (RFC 9110 §5.6.1) */
export const membersOf = (values: readonly string[]): string[] =>
  values.flatMap((value) => value.split(',').map((member) => trimmed(member).toLowerCase()))

const isForwarded = (lower: string): boolean =>
  hasRole(lookUpLower(lower), FORWARDED) || lower.startsWith(FORWARDED_PREFIX)

const isPlainOption = (value: string): boolean =>
  value === 'keep-alive' || value === 'close' || value === 'Keep-Alive' || value === 'Close'

/** The names that `Connection` takes out of this message, on top of the fixed ones (RFC 9110 §7.6.1). */
function namedIn(head: HeadReader): ReadonlySet<string> {
  const first = head.first(CONNECTION)
  if (first < 0 || (head.times(CONNECTION) === 1 && isPlainOption(head.value(first)))) return NOTHING
  return new Set(
    membersOf(head.values('connection')).filter(
      (name) => !hasRole(lookUpLower(name), NEVER_NAMED) && !isForwarded(name),
    ),
  )
}

/** Names as a CGI-style app reads them: `X_Forwarded_For` and `X-Forwarded-For` are the same variable there. */
const dashedNames = (head: HeadReader): ReadonlySet<string> =>
  new Set(Array.from({ length: head.count }, (_, field) => head.name(field).toLowerCase()))

function isLookAlike(lower: string, present: ReadonlySet<string>): boolean {
  if (!lower.includes('_')) return false
  const dashed = lower.replaceAll('_', '-')
  return (
    present.has(dashed) || hasRole(lookUpLower(dashed), HOP | NEVER_NAMED | REBUILT) || isForwarded(dashed)
  )
}

/** A field whose name starts like `X-Forwarded-`; most names are told apart by their first letter. */
function hasForwardedPrefix(head: HeadReader, field: number): boolean {
  const at = head.nameStart(field)
  return (
    (head.text.charCodeAt(at) | 0x20) === X &&
    head.text.slice(at, at + FORWARDED_PREFIX.length).toLowerCase() === FORWARDED_PREFIX
  )
}

/**
 * The fields that go on, each as `Name: value` with its line end, in the order they came and spelled as they came.
 * Neighbours that are on the wire just so already are taken in one piece. What decides where the message ends never is.
 *
 * @param dropped the roles whose fields stay behind
 */
function relayed(head: HeadReader, dropped: number): string {
  const { text, count } = head
  const named = namedIn(head)
  const lookAlikes = head.underscored && (dropped & REBUILT) !== 0
  const present = lookAlikes ? dashedNames(head) : NOTHING
  const untrusted = (dropped & FORWARDED) !== 0
  let out = ''
  let begin = head.fieldsStart
  for (let field = 0; field < count; field++) {
    const known = head.known(field)
    const drop = known === OTHER ? untrusted && hasForwardedPrefix(head, field) : hasRole(known, dropped)
    const special = named.size > 0 || lookAlikes
    const lower = special ? head.name(field).toLowerCase() : ''
    if (drop || (special && (named.has(lower) || (lookAlikes && isLookAlike(lower, present))))) {
      out += text.slice(begin, head.nameStart(field))
      begin = head.nextStart(field)
    } else if (!head.isPlain(field)) {
      out += `${text.slice(begin, head.nameStart(field))}${head.name(field)}: ${head.value(field)}\r\n`
      begin = head.nextStart(field)
    }
  }
  return out + text.slice(begin, text.length - 2)
}

const CLOSE = 'Connection: close\r\n'

/** What stands before a piece of content of so many octets. */
export const beforeContent = (kind: Framing['kind'], size: number): string =>
  kind === 'chunked' && size > 0 ? `${size.toString(16)}\r\n` : ''

/** What stands behind it; `done`: it was the last. */
export function afterContent(kind: Framing['kind'], size: number, done: boolean): string {
  if (kind !== 'chunked') return ''
  return `${size > 0 ? '\r\n' : ''}${done ? '0\r\n\r\n' : ''}`
}

/** The one field, or none, that says where the body ends (RFC 9112 §6.3). */
function framingField(framing: Framing): string {
  if (framing.kind === 'length') return `Content-Length: ${framing.bytes}\r\n`
  return framing.kind === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : ''
}

/** What the app is told beyond the client's own fields. */
export interface RequestFacts {
  /** The minor version of HTTP/1 that the client speaks. */
  minor: number
  host: string
  requestId: string
  /** The address of the client, or of the proxy in front. */
  peer: string
  trusted: boolean
  forwarded: RelayConfig['forwarded']
  framing: Framing
  /** Absent: the request has no Max-Forwards that matters here. */
  maxForwards: number | undefined
  /** null: what the client says of a trace goes on as it came. */
  trace: Trace | null
}

/** A path, and nothing that could end the field or begin another member of it. */
const PREFIX = /^(?:\/[\w.~!$&'()*+;=:@%-]+)+$/

/**
 * Tells the app below which prefix its paths are reached; behind that of a trusted proxy, which takes off one of its own.
 *
 * @param fields by `requestFields`
 */
export function withPrefix(fields: string, prefix: string): string {
  const outer: string[] = []
  const others = fields.replace(/^x-forwarded-prefix: ?(.*)\r\n/gim, (_, value: string) => {
    outer.push(value)
    return ''
  })
  const [before = ''] = outer
  const known = outer.length === 1 && PREFIX.test(before) ? before : ''
  return `${others}X-Forwarded-Prefix: ${known}${prefix}\r\n`
}

const forwardedIn = (head: HeadReader): ForwardedIn => ({
  for: head.values('x-forwarded-for'),
  proto: head.values('x-forwarded-proto').at(-1),
  host: head.values('x-forwarded-host').at(-1),
  forwarded: head.values('forwarded'),
})

function forwardedLines(head: HeadReader, { peer, host, trusted, forwarded }: RequestFacts): string {
  if (!trusted && forwarded === 'x-forwarded') {
    return `X-Forwarded-For: ${peer}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: ${host}\r\n`
  }
  const incoming = trusted ? forwardedIn(head) : { for: [], proto: undefined, host: undefined, forwarded: [] }
  return forwardedFields(peer, host, incoming, forwarded)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
}

/** Which fields of the client's trace stay behind; what goes with a trace has no meaning in one that begins here. */
function rolesOf(trace: Trace | null): number {
  if (trace === null) return 0
  return trace.parentId === null ? TRACE | TRACE_STATE : TRACE
}

/**
 * The fields of a request as the app gets them, each with its line end.
 *
 * Order matters: read `Connection`, take out what belongs to the client's connection, take out what an untrusted
 * peer says of others, then add our own, which nothing the client sent can take away any more.
 *
 * @see RFC 9110 §7.6.1, HTTP.md §1.5 and §3.1
 */
export function requestFields(head: HeadReader, facts: RequestFacts): string {
  const { trace } = facts
  const dropped = HOP | FRAMING | REBUILT | (facts.trusted ? 0 : FORWARDED) | rolesOf(trace)
  const own = `1.${facts.minor} ${PSEUDONYM}`
  const via = head.first(VIA) < 0 ? own : [...head.values('via'), own].join(', ')
  const hops = facts.maxForwards === undefined ? '' : `Max-Forwards: ${facts.maxForwards}\r\n`
  const span = trace === null ? '' : `traceparent: ${traceparentOf(trace)}\r\n`
  return `${relayed(head, dropped)}${forwardedLines(head, facts)}${span}Via: ${via}\r\nX-Request-Id: ${facts.requestId}\r\n${hops}${framingField(facts.framing)}`
}

/**
 * A request's head as it is sent to the app.
 *
 * @param fields by `requestFields`
 * @param reuse whether the connection may be used again
 */
export const requestHead = (method: string, target: string, fields: string, reuse: boolean): string =>
  `${method} ${target} HTTP/1.1\r\n${fields}${reuse ? '' : CLOSE}\r\n`

/** How often this front door is in `Via` already (RFC 9110 §7.6.3). */
export const timesPassed = (head: HeadReader): number =>
  head.first(VIA) < 0
    ? 0
    : membersOf(head.values('via')).filter((member) => member.split(/\s+/)[1] === PSEUDONYM).length

/**
 * A response's head as it is sent to the client.
 *
 * @param framing of the body to the client, which may differ from the app's
 * @param closes whether the connection ends with this response
 * @see RFC 9110 §6.6.1: `Date` is added where the app left it out
 */
export function responseHead(head: HeadReader, framing: Framing, closes: boolean): string {
  const date = head.first(DATE) < 0 ? dateField() : ''
  return `HTTP/1.1 ${head.status} ${head.reason}\r\n${relayed(head, HOP | FRAMING)}${date}${framingField(framing)}${closes ? CLOSE : ''}\r\n`
}

/** An interim response (1xx) as it is sent on. */
export const interimHead = (head: HeadReader): string =>
  `HTTP/1.1 ${head.status} ${head.reason}\r\n${relayed(head, HOP | FRAMING)}\r\n`

/** The fields of a 101, each with its line end; the switch itself is missing. */
export const switchFields = (head: HeadReader): string => relayed(head, HOP | FRAMING)

let dateSecond = 0
let dateLine = ''

/** `Date` of the current second; the text is made once for each. */
export function dateField(): string {
  const second = Math.floor(Date.now() / 1_000)
  if (second !== dateSecond) {
    dateSecond = second
    dateLine = `Date: ${new Date(second * 1_000).toUTCString()}\r\n`
  }
  return dateLine
}
