// Which header fields go on: one function for what the app gets, one for what the client gets. Pure.

import type { RelayConfig } from '../config/types.ts'
import { ROLE_HEADER } from '../contract.ts'
import { type ForwardedIn, forwardedFields } from './forwarded.ts'

/** As node:http gives them: name, value, name, value … in the order of the wire, as Latin-1. */
export type RawFields = readonly string[]

/** How the end of the body is found. There is exactly one way (RFC 9112 §6.3). */
export type Framing = { kind: 'none' } | { kind: 'length'; bytes: number } | { kind: 'chunked' }

/** As http-proxy takes them: one entry for each name, an array where there are several lines. */
export type RequestFields = Record<string, string | string[]>

/** How slotgate names itself in `Via`. */
const PSEUDONYM = 'slotgate'

/** Fields of one connection, whether `Connection` names them or not (RFC 9110 §7.6.1). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** End-to-end fields that a `Connection` option cannot take away: it would hide from the app what others set. */
const NEVER_NAMED = new Set([
  'authorization',
  'content-length',
  'cookie',
  'forwarded',
  'host',
  'via',
  'x-real-ip',
  'x-request-id',
])

/** Rebuilt below for every request, or meant for nobody behind a front door (`Proxy`: see httpoxy). */
const REBUILT = new Set([
  'content-length',
  'expect',
  'forwarded',
  'host',
  'max-forwards',
  'proxy',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-request-id',
  ROLE_HEADER,
])

const isForwarded = (name: string) =>
  name === 'forwarded' || name === 'x-real-ip' || name.startsWith('x-forwarded-')

/** A CGI-style app reads `X_Forwarded_For` and `X-Forwarded-For` as the same variable. */
function isLookAlike(name: string, present: ReadonlySet<string>): boolean {
  if (!name.includes('_')) return false
  const dashed = name.replaceAll('_', '-')
  return [HOP_BY_HOP, NEVER_NAMED, REBUILT, present].some((names) => names.has(dashed)) || isForwarded(dashed)
}

export function* pairs(raw: RawFields): Generator<[name: string, value: string, lower: string]> {
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at] ?? ''
    yield [name, raw[at + 1] ?? '', name.toLowerCase()]
  }
}

/** @returns the values of one field, in order */
export const valuesOf = (raw: RawFields, wanted: string): string[] => {
  const values: string[] = []
  for (const [, value, lower] of pairs(raw)) if (lower === wanted) values.push(value)
  return values
}

/** @returns the members of a comma-separated field, lower case */
export const listOf = (raw: RawFields, wanted: string): string[] =>
  valuesOf(raw, wanted).flatMap((value) => value.split(',').map((member) => member.trim().toLowerCase()))

/** The names that `Connection` takes out of this message, on top of the fixed ones. */
const namedIn = (raw: RawFields): ReadonlySet<string> =>
  new Set(listOf(raw, 'connection').filter((name) => !NEVER_NAMED.has(name) && !isForwarded(name)))

/** What the app is told beyond the client's own fields. */
export interface RequestFacts {
  host: string
  requestId: string
  /** The address of the client's socket. */
  peer: string
  trusted: boolean
  forwarded: RelayConfig['forwarded']
  framing: Framing
  upgrade: boolean
  httpVersion: string
  maxForwards?: number
}

const NOTHING_FORWARDED: ForwardedIn = { for: [], proto: undefined, host: undefined, forwarded: [] }

const forwardedIn = (raw: RawFields): ForwardedIn => ({
  for: valuesOf(raw, 'x-forwarded-for'),
  proto: valuesOf(raw, 'x-forwarded-proto').at(-1),
  host: valuesOf(raw, 'x-forwarded-host').at(-1),
  forwarded: valuesOf(raw, 'forwarded'),
})

function framingFields(framing: Framing): [string, string][] {
  if (framing.kind === 'chunked') return [['transfer-encoding', 'chunked']]
  return framing.kind === 'length' ? [['content-length', String(framing.bytes)]] : []
}

/** Everything slotgate sets itself. It is added last, so that no field of the client can take it away. */
const ownFields = (raw: RawFields, facts: RequestFacts): [string, string][] => [
  ['host', facts.host],
  ...forwardedFields(
    facts.peer,
    facts.host,
    facts.trusted ? forwardedIn(raw) : NOTHING_FORWARDED,
    facts.forwarded,
  ),
  ['via', [...valuesOf(raw, 'via'), `${facts.httpVersion} ${PSEUDONYM}`].join(', ')],
  ['x-request-id', facts.requestId],
  ...framingFields(facts.framing),
  ...(facts.maxForwards === undefined
    ? []
    : [['max-forwards', String(facts.maxForwards)] as [string, string]]),
  ...(facts.upgrade
    ? ([
        ['connection', 'Upgrade'],
        ['upgrade', 'websocket'],
      ] as [string, string][])
    : []),
]

/**
 * The fields of a request or an upgrade as the app gets them.
 *
 * Order matters: read `Connection`, take out what belongs to the client's connection, take out what an untrusted
 * peer says of others, then add our own.
 *
 * @see RFC 9110 §7.6.1, HTTP.md §1.5 and §3.1
 */
export function requestFields(raw: RawFields, facts: RequestFacts): RequestFields {
  const named = namedIn(raw)
  const present = new Set(Array.from(pairs(raw), ([, , lower]) => lower))
  const kept = new Map<string, { name: string; values: string[] }>()
  for (const [name, value, lower] of pairs(raw)) {
    if (HOP_BY_HOP.has(lower) || REBUILT.has(lower) || named.has(lower)) continue
    if (isForwarded(lower) && !facts.trusted) continue
    if (isLookAlike(lower, present)) continue
    const entry = kept.get(lower)
    if (entry) entry.values.push(value)
    else kept.set(lower, { name, values: [value] })
  }
  const fields: RequestFields = {}
  for (const { name, values } of kept.values()) {
    const [first = ''] = values
    // Not assigned: a client may call a field `__proto__`.
    const value = values.length === 1 ? first : values
    Object.defineProperty(fields, name, { value, enumerable: true, writable: true, configurable: true })
  }
  return Object.assign(fields, Object.fromEntries(ownFields(raw, facts)))
}

/**
 * The fields of an answer as the client gets them, in the app's order and spelling; node:http adds `Connection`,
 * `Date` where it is missing, and the chunked coding where there is no length.
 *
 * @param status decides whether a length may be there at all (RFC 9110 §8.6)
 */
export function responseFields(raw: RawFields, status: number): string[] {
  const named = namedIn(raw)
  const kept: string[] = []
  for (const [name, value, lower] of pairs(raw)) {
    if (HOP_BY_HOP.has(lower) || named.has(lower)) continue
    if (lower === 'content-length' && (status < 200 || status === 204)) continue
    kept.push(name, value)
  }
  return kept
}

/** The fields of a 101 as http-proxy writes them, lower case: those of any answer, and the switch itself. */
export function switchFields(raw: RawFields): RequestFields {
  const fields: RequestFields = { connection: 'Upgrade', upgrade: 'websocket' }
  for (const [, value, lower] of pairs(responseFields(raw, 101))) {
    const before = fields[lower]
    fields[lower] = before === undefined ? value : [before, value].flat()
  }
  return fields
}
