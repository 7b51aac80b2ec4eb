// The field names that the relay itself has to do with, and a table that finds them while a head is read. Pure.
import { ROLE_HEADER } from '../../contract.ts'

/** A field of one connection, whether `Connection` names it or not (RFC 9110 §7.6.1). */
export const HOP = 1
/** Written anew for every request, or meant for nobody behind a front door (`Proxy`: see httpoxy). */
export const REBUILT = 2
/** End-to-end, and no `Connection` option can take it away: that would hide from the app what others set. */
export const NEVER_NAMED = 4
/** What a proxy says of its client; believed from trusted peers only. */
export const FORWARDED = 8
/** Decides where a message ends: never copied, always written anew. */
export const FRAMING = 16
/** Which trace the request belongs to; written anew where slotgate has a span of its own in it. */
export const TRACE = 32
/** Goes with that trace, and with no other. */
export const TRACE_STATE = 64

const ROLES = {
  connection: HOP,
  'keep-alive': HOP,
  'proxy-authenticate': HOP,
  'proxy-authorization': HOP,
  'proxy-connection': HOP,
  te: HOP,
  trailer: HOP,
  upgrade: HOP,
  'http2-settings': HOP,
  'transfer-encoding': HOP | FRAMING,
  'content-length': FRAMING | NEVER_NAMED,
  host: NEVER_NAMED,
  via: REBUILT | NEVER_NAMED,
  authorization: NEVER_NAMED,
  cookie: NEVER_NAMED,
  'x-request-id': REBUILT | NEVER_NAMED,
  expect: REBUILT,
  'max-forwards': REBUILT,
  proxy: REBUILT,
  [ROLE_HEADER]: REBUILT,
  forwarded: REBUILT | FORWARDED | NEVER_NAMED,
  'x-forwarded-for': REBUILT | FORWARDED | NEVER_NAMED,
  'x-forwarded-host': REBUILT | FORWARDED | NEVER_NAMED,
  'x-forwarded-proto': REBUILT | FORWARDED | NEVER_NAMED,
  'x-real-ip': FORWARDED | NEVER_NAMED,
  traceparent: TRACE,
  tracestate: TRACE_STATE,
  accept: 0,
  date: NEVER_NAMED,
  'content-type': 0,
  'sec-websocket-accept': 0,
} satisfies Record<string, number>

export type KnownName = keyof typeof ROLES

/** The number of a name that is none of the known ones. */
export const OTHER = 0

const NAMES = Object.keys(ROLES)
const roles = Uint8Array.from([0, ...NAMES.map((name) => ROLES[name as KnownName])])
const octets = [new Uint8Array(), ...NAMES.map((name) => Uint8Array.from(Buffer.from(name)))]

/** @returns the number under which `HeadReader` reports a name */
export const numberOf = (name: KnownName): number => NAMES.indexOf(name) + 1

/** @returns the number of a name given in lower case, or OTHER */
export const lookUpLower = (lower: string): number => NAMES.indexOf(lower) + 1

/** How many numbers there are, OTHER included. */
export const NUMBERS: number = NAMES.length + 1

/** @returns whether a name has one of these roles */
export const hasRole = (known: number, wanted: number): boolean => ((roles[known] ?? 0) & wanted) !== 0

const SLOTS = 1024
const MULTIPLIERS = 10_000

/** Folds the length and three octets of a name, in either case, which tell all known names apart. */
function hashOf(name: Uint8Array, start: number, end: number, multiplier: number): number {
  const first = (name[start] ?? 0) | 0x20
  const middle = (name[(start + end) >> 1] ?? 0) | 0x20
  const last = (name[end - 1] ?? 0) | 0x20
  const high = Math.imul(end - start, multiplier) + first
  return (Math.imul(Math.imul(high, multiplier) + middle, multiplier) + last) & (SLOTS - 1)
}

const hashOfAll = (name: Uint8Array, multiplier: number): number => hashOf(name, 0, name.length, multiplier)

function isPerfect(multiplier: number): boolean {
  return new Set(octets.slice(1).map((name) => hashOfAll(name, multiplier))).size === NAMES.length
}

function findMultiplier(): number {
  for (let multiplier = 31; multiplier < MULTIPLIERS; multiplier += 2)
    if (isPerfect(multiplier)) return multiplier
  throw new Error('no multiplier keeps the known names apart')
}

/** Keeps all known names in slots of their own. */
const MULTIPLIER = findMultiplier()

/** @returns the slot in which a name is looked for */
export const slotOf = (name: Uint8Array, start: number, end: number): number =>
  hashOf(name, start, end, MULTIPLIER)

const slots = new Uint8Array(SLOTS)
for (const [at, name] of octets.entries()) if (at > 0) slots[hashOfAll(name, MULTIPLIER)] = at

/** @returns the number of the known name at `start`, or OTHER. Octets are compared: a hash can be forged */
export function lookUp(buffer: Uint8Array, start: number, end: number): number {
  const known = slots[slotOf(buffer, start, end)] ?? OTHER
  const name = octets[known]
  if (known === OTHER || name === undefined || name.length !== end - start) return OTHER
  // No octet of a token other than the letter itself, in either case, gives a known letter, digit or dash.
  for (let at = 0; at < name.length; at++) {
    if (((buffer[start + at] ?? 0) | 0x20) !== name[at]) return OTHER
  }
  return known
}
