// Finding the known field names by a hash that anybody can forge, and what each of them is for.
import t from 'tap'
import { Malformed } from '../../../src/relay/http1/head.ts'
import {
  FORWARDED,
  FRAMING,
  HOP,
  hasRole,
  type KnownName,
  lookUp,
  lookUpLower,
  NEVER_NAMED,
  NUMBERS,
  numberOf,
  OTHER,
  REBUILT,
  slotOf,
} from '../../../src/relay/http1/names.ts'
import { randomOf } from '../../support/random.ts'
import { octets, requestOf, thrownBy } from './support.ts'

const KNOWN: KnownName[] = [
  'connection',
  'keep-alive',
  'te',
  'transfer-encoding',
  'content-length',
  'host',
  'via',
  'x-forwarded-for',
  'expect',
  'upgrade',
]

const slotFor = (name: string): number => slotOf(octets(name), 0, name.length)

function find(name: string): number {
  const text = octets(`..${name}..`)
  return lookUp(text, 2, 2 + name.length)
}

t.test('each known name is found, in any case', async (t) => {
  for (const name of KNOWN) {
    t.equal(find(name), numberOf(name), name)
    t.equal(find(name.toUpperCase()), numberOf(name), name)
    t.equal(lookUpLower(name), numberOf(name), name)
  }
  t.equal(new Set(KNOWN.map(numberOf)).size, KNOWN.length)
})

t.test('no other name is taken for a known one', async (t) => {
  for (const name of [
    'x',
    '',
    'hosts',
    'hos',
    'connectio',
    'connection-',
    'transfer_encoding',
    'x-forwarded-fo',
  ])
    t.equal(find(name), OTHER, JSON.stringify(name))
  t.equal(lookUpLower('Host'), OTHER)
  t.equal(lookUpLower(''), OTHER)
})

t.test('a name whose slot and length are those of a known one is not taken for it', async (t) => {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789-.!#$%&'*+^`|~"
  for (const name of KNOWN) {
    const forged = forge(name, letters)
    t.equal(forged.length, name.length)
    t.equal(slotFor(forged), slotFor(name), `${forged} falls together with ${name}`)
    t.not(forged, name)
    t.equal(find(forged), OTHER, forged)
    const head = requestOf(`${forged}: 5\r\n`)
    t.equal(head.known(1), OTHER, forged)
    t.equal(head.times(numberOf(name)), name === 'host' ? 1 : 0, name)
  }
})

/** @returns another name of the same length in the same slot, found by trying */
function forge(name: string, letters: string): string {
  const wanted = slotFor(name)
  const random = randomOf(1)
  for (let attempt = 0; attempt < 1_000_000; attempt++) {
    const forged = Array.from(name, () => letters[Math.floor(random() * letters.length)] ?? 'a').join('')
    if (forged !== name && slotFor(forged) === wanted) return forged
  }
  throw new Error(`nothing falls together with ${name}`)
}

t.test('what has the slot of a known name, but is no token, is no name', async (t) => {
  for (const name of ['keep\ralive', 't\x05', 'x\rreal-ip', 'http\x12-settings']) {
    const error = thrownBy(() => requestOf(`${name}: 1\r\n`))
    t.ok(error instanceof Malformed, JSON.stringify(name))
  }
  t.equal(slotFor('keep\ralive'), slotFor('keep-alive'))
})

t.test('among octets of tokens, only letters fall together', async (t) => {
  const tokens = Array.from({ length: 128 }, (_, octet) => String.fromCharCode(octet)).filter((sign) =>
    /[!#$%&'*+\-.^_`|~0-9A-Za-z]/.test(sign),
  )
  const byFold = Map.groupBy(tokens, (sign) => sign.charCodeAt(0) | 0x20)
  const known = new Set(KNOWN.join(''))
  for (const signs of byFold.values()) {
    const lower = signs.at(-1) ?? ''
    if (signs.length > 1 && known.has(lower)) t.equal(signs[0], lower.toUpperCase(), lower)
  }
})

t.test('each name has the roles that RFC 9110 and HTTP.md give it', async (t) => {
  const has = (name: KnownName, role: number) => hasRole(numberOf(name), role)
  for (const name of [
    'connection',
    'keep-alive',
    'proxy-connection',
    'te',
    'trailer',
    'upgrade',
    'transfer-encoding',
  ] as const)
    t.ok(has(name, HOP), name)
  for (const name of ['content-length', 'transfer-encoding'] as const) t.ok(has(name, FRAMING), name)
  for (const name of [
    'forwarded',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-proto',
    'x-real-ip',
  ] as const)
    t.ok(has(name, FORWARDED) && has(name, NEVER_NAMED), name)
  for (const name of ['via', 'x-request-id', 'expect', 'max-forwards', 'proxy', 'slotgate-role'] as const)
    t.ok(has(name, REBUILT), name)
  for (const name of ['host', 'authorization', 'cookie', 'content-length', 'via', 'date'] as const)
    t.ok(has(name, NEVER_NAMED) && !has(name, HOP), name)
  t.notOk(hasRole(OTHER, HOP | FRAMING | FORWARDED | REBUILT | NEVER_NAMED))
})

t.test('a number fits where numbers are kept', async (t) => {
  t.ok(NUMBERS < 256)
})
