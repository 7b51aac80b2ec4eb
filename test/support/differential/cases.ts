// Random messages for the differential: made by the grammar of RFC 9112, weird but legal, then broken at random. What
// fast-check draws are small numbers, so that a case can be made smaller. Octets are Latin-1 strings. Pure.
import fc from 'fast-check'
import type { Field } from '../http-bytes.ts'
import { LIMITS } from './relay-reader.ts'

/** A message as it was meant, before anything was broken. */
export interface Meant {
  method: string
  fields: Field[]
  body: string
  headBytes: number
}

export interface RequestsCase {
  bytes: string
  /** Where the octets are cut into pieces. */
  cuts: number[]
  trusted: boolean
  /** What the relay has to make of it; absent: it was broken. */
  meant?: Meant[]
}

export interface ResponseCase {
  bytes: string
  cuts: number[]
  /** Of the request that it answers. */
  method: string
  /** The minor version that the client speaks. */
  minor: number
  closes: boolean
  meant?: Meant
}

const METHODS = [
  'GET',
  'POST',
  'PUT',
  'HEAD',
  'DELETE',
  'OPTIONS',
  'PATCH',
  'QUERY',
  'M-SEARCH',
  'PROPFIND',
  'UNSUBSCRIBE',
]
const HOSTS = ['a.test', 'A.test:8080', '[::1]:80', '127.0.0.1', 'x_y.test.', '[2001:DB8::1]']
const TARGETS = [
  '/',
  '/x?y=1',
  '//a//b',
  '/a/../b%2e%2f//;x?q=%0d%0a',
  '/|{}<>"\\^`',
  '/?',
  '/%',
  '/:80',
  '/@',
  "/!$&'()*+,;=",
  `/${'a'.repeat(299)}`,
  '/HTTP/1.1',
  '/[::1]',
  '/*',
  '/http://a.test/',
  '/?http://b.test',
]
const NAMES = [
  'X',
  'x-a',
  'X-A',
  "!#$%&'*+.^`|~",
  'X-Tenant',
  'X_Tenant',
  'api_key',
  'Accept',
  'accept',
  'Cookie',
  'Authorization',
  'Date',
  'Via',
  'X-Forwarded-For',
  'X-Forwarded-Port',
  'x-forwarded-host',
  'X-Forwarded-',
  'Forwarded',
  'X-Real-IP',
  'X_Forwarded_For',
  'Content_Length',
  'Transfer_Encoding',
  'Keep-Alive',
  'TE',
  'Trailer',
  'Proxy-Connection',
  'Proxy',
  'Slotgate-Role',
  'X-Request-Id',
  'X_Request_Id',
  'HTTP2-Settings',
  'Content-Type',
  'Set-Cookie',
  'set-cookie',
  'Traceparent',
  'Sec-WebSocket-Key',
  'Sec-WebSocket-Accept',
  'Upgrade',
  'Accept-Encoding',
  '__proto__',
  'constructor',
  '0',
  'Content-Lengths',
  'Content-Lengtj',
  'Transfer-Encodinf',
  'Hos',
  'Hostt',
  'Max-Forwards',
]
const VALUES = [
  'a',
  '',
  'a b',
  'a\tb',
  '\xe9\xff\x80',
  'a, b;c="d, e"',
  '1.0 fred, 1.1 p.example',
  'trailers',
  'text/event-stream',
  'x'.repeat(80),
  'a:b',
  ':',
  'a=b; c=d',
  '192.0.2.7, 10.0.0.1',
  'for=1.1.1.1',
  'h2c',
  '0',
  '5',
  'chunked',
  'close',
  'GET / HTTP/1.1',
  '"',
  '\\',
  '%0d%0a',
  '\xa0',
]
const CONNECTIONS = [
  'close',
  'keep-alive',
  'Keep-Alive',
  'X',
  'x-a, X-Tenant',
  'Host, Content-Length, X-Forwarded-For, Via',
  'TE,close',
  ',',
  'keep-alive,, x',
  'date',
  'Accept\t, upgrade',
  'close\xa0',
  '\xa0',
  'closed',
  'x close',
  'Upgrade',
  'transfer-encoding',
]
/** What stands between the colon and the value, and behind the value: mostly as everybody writes it. */
const BEFORE = [' ', ' ', ' ', ' ', '', '  ', '\t', ' \t ']
const BEHIND = ['', '', '', '', ' ', '\t', '  \t']
const BODIES = [
  '',
  'hello',
  'x',
  '\r\n',
  '0\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  '\0\xff\x80',
  'y'.repeat(300),
]
const EXTENSIONS = ['', '', '', ';a', ';a=b', ';a="b c"', ';a="\\"\xff;";b', ';!=$;~', ';a=""']
const TRAILERS = [
  '',
  '',
  'X-Checksum: abc\r\n',
  'a:\r\n',
  'X:GET / HTTP/1.1\r\n',
  'X: \xff\t\r\nY:\t1 \r\n',
  'Connection: close\r\n',
  'Upgrade: x\r\n',
  'Expect: x\r\n',
  'Host: b.test\r\n',
  'Content-Length: 9\r\n',
  'X: y\r\ntransfer-encoding: x\r\n',
]

const among = (list: readonly string[], at: number): string => list[at % list.length] ?? ''

/** Numbers that a table is looked up with: `fc.nat` tends to the small ones, so the plain comes first in each. */
const index = (list: readonly unknown[]) => fc.nat(list.length - 1)

const field = fc
  .tuple(index(NAMES), index(VALUES), index(BEFORE), index(BEHIND))
  .map(([name, value, before, behind]) => ({
    name: among(NAMES, name),
    value: among(VALUES, value),
    ...{ before: among(BEFORE, before), behind: among(BEHIND, behind) },
  }))
const anyField = fc
  .tuple(
    fc.string({ unit: fc.constantFrom(...'aZ09-_!|~.xX'), minLength: 1, maxLength: 12 }),
    fc.string({ unit: fc.constantFrom(...'a ,;:="\t\x80\xff\x7e!Z-_()'), maxLength: 12 }),
  )
  .map(([name, value]) => ({ name, value, before: ' ', behind: '' }))

type Drawn = { name: string; value: string; before: string; behind: string }
const plain = (name: string, value: string): Drawn => ({ name, value, before: ' ', behind: '' })
const trimmed = (value: string): string => value.replace(/^[ \t]+|[ \t]+$/g, '')
const asPair = ({ name, value }: Drawn): Field => [name, trimmed(value)]
const asLine = ({ name, value, before, behind }: Drawn): string => `${name}:${before}${value}${behind}\r\n`

interface Framed {
  fields: Drawn[]
  body: string
  wire: string
}

/** @param cuts how long each chunk is; what is left comes as the last one */
function inChunks(body: string, cuts: readonly number[], extension: number, trailer: number): string {
  let wire = ''
  let at = 0
  for (const [which, cut] of [...cuts, body.length].entries()) {
    const content = body.slice(at, at + Math.max(1, cut))
    if (content === '') break
    at += content.length
    const size = content.length.toString(16)
    const shown = which % 3 === 1 ? `00${size}` : which % 3 === 2 ? size.toUpperCase() : size
    wire += `${shown}${among(EXTENSIONS, extension + which)}\r\n${content}\r\n`
  }
  return `${wire}${trailer % 2 === 1 ? '000' : '0'}${among(EXTENSIONS, extension)}\r\n${among(TRAILERS, trailer)}\r\n`
}

const framedBody = fc
  .tuple(
    fc.nat(3),
    index(BODIES),
    fc.array(fc.nat(40), { maxLength: 4 }),
    fc.tuple(index(EXTENSIONS), index(TRAILERS)),
    fc.tuple(index(BEFORE), index(BEHIND)),
  )
  .map(([kind, at, cuts, [extension, trailer], [before, behind]]): Framed => {
    const body = among(BODIES, at)
    if (kind < 2) return { fields: [], body: '', wire: '' }
    const blanks = { before: among(BEFORE, before), behind: among(BEHIND, behind) }
    if (kind === 2) {
      const length = { ...plain('Content-Length', String(body.length)), ...blanks }
      return { fields: [length], body, wire: body }
    }
    const coding = {
      ...plain('Transfer-Encoding', extension % 2 === 0 ? 'chunked' : 'Chunked'),
      // With a tab it is refused, since node:http does.
      ...{ before: blanks.before, behind: blanks.behind.replaceAll('\t', '') },
    }
    return { fields: [coding], body, wire: inChunks(body, cuts, extension, trailer) }
  })

/**
 * Fields that bring a head to one of its limits, or one beyond it. What they are filled up to is counted from the
 * limits of the reader, so that every so often a head is just as large as it may be.
 */
const filler = fc.tuple(fc.nat(19), fc.nat(2))

function filled(fields: readonly Drawn[], restBytes: number, [kind, beyond]: [number, number]): Drawn[] {
  if (kind === 19) {
    const missing = LIMITS.fieldLimit - fields.length - 1 + beyond
    return [...fields, ...Array.from({ length: Math.max(0, missing) }, () => plain('f', ''))]
  }
  const taken = restBytes + fields.map(asLine).join('').length + 'Fill: \r\n'.length
  const missing = LIMITS.headLimitBytes - taken - 1 + beyond
  return kind === 18 && missing > 0 ? [...fields, plain('Fill', 'f'.repeat(missing))] : [...fields]
}

const fieldsDrawn = fc.array(fc.oneof({ weight: 5, arbitrary: field }, { weight: 1, arbitrary: anyField }), {
  maxLength: 9,
})
const connection = fc
  .tuple(fc.nat(4), index(CONNECTIONS), index(BEFORE), index(BEHIND))
  .map(([kind, value, before, behind]): Drawn[] =>
    kind < 3
      ? []
      : [
          {
            name: kind === 3 ? 'Connection' : 'CONNECTION',
            value: among(CONNECTIONS, value),
            ...{ before: among(BEFORE, before), behind: among(BEHIND, behind) },
          },
        ],
  )

/** @returns the list with these put in at places that a number decides */
function mixed(fields: readonly Drawn[], more: readonly Drawn[], place: number): Drawn[] {
  const all = [...fields]
  for (const [which, one] of more.entries()) all.splice((place + which * 3) % (all.length + 1), 0, one)
  return all
}

/** Its values decide whether a request is refused, so that each is one which is not. */
function isHarmless({ name, value }: Drawn): boolean {
  return name.toLowerCase() !== 'max-forwards' || /^[05]$/.test(value)
}

const oneRequest = fc
  .tuple(
    fc.tuple(index(METHODS), index(TARGETS), index(HOSTS), fc.nat(19)),
    fieldsDrawn,
    connection,
    framedBody,
    fc.tuple(fc.nat(7), filler),
  )
  .map(([[methodAt, targetAt, hostAt, form], drawn, connections, framed, [place, fill]]) => {
    const method = among(METHODS, methodAt)
    const host = among(HOSTS, hostAt)
    const minor = form === 19 && framed.fields[0]?.name !== 'Transfer-Encoding' ? 0 : 1
    const path = among(TARGETS, targetAt)
    const target =
      form === 18
        ? `http://${host}`
        : form === 17
          ? `HTTP://${host.toUpperCase()}${path.slice(0, 250)}`
          : path
    const expects = form === 16 ? [plain('Expect', '100-continue')] : []
    const asked = form === 15 ? [plain('Upgrade', 'websocket'), plain('Connection', 'Upgrade')] : []
    const own = [plain('Host', host), ...connections, ...framed.fields, ...expects, ...asked]
    // No more than one Max-Forwards, which only OPTIONS has.
    const harmless = drawn.filter(isHarmless)
    const first = harmless.findIndex(({ name }) => name === 'Max-Forwards')
    const mixture = mixed(
      harmless.filter(({ name }, at) => name !== 'Max-Forwards' || at === first),
      own,
      place,
    )
    const line = `${method} ${target} HTTP/1.${minor}\r\n`
    const fields = filled(mixture, line.length + 2, fill)
    const head = `${line}${fields.map(asLine).join('')}\r\n`
    const wire = head + framed.wire
    return { wire, meant: { method, fields: fields.map(asPair), body: framed.body, headBytes: head.length } }
  })

const TOKENS = [
  '\r',
  '\n',
  '\0',
  ' ',
  '\t',
  ':',
  ',',
  ';',
  '0',
  '9',
  'a',
  'F',
  '\x80',
  '\xff',
  '\xa0',
  '\x7f',
  '_',
  '-',
  '=',
  '"',
  '\\',
  '\r\n',
  '\r\n\r\n',
  '\n\n',
  '/',
  '*',
  'chunked',
  'Content-Length: 3\r\n',
  'Content-Length:',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding:',
  'Host: b.test\r\n',
  'Connection: close\r\n',
  'Connection: upgrade\r\n',
  'Upgrade: websocket\r\n',
  'HTTP/1.1',
  'HTTP/1.0',
  'GET / HTTP/1.1\r\nHost: a.test\r\n\r\n',
  ': ',
  ' :',
  '\r\n ',
  '0\r\n\r\n',
  '+',
  'x',
  '\x0b',
  '\x0c',
  '\x85',
  '1;',
  'Expect: 100-continue\r\n',
  'HTTP/1.1 200 OK\r\n',
  '204',
  '101',
  '1',
  '99999999999999',
  'http://',
]

/** Lines that do not go together with others, or with themselves. */
const LINES = [
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\n',
  'content-length:7\r\n',
  'Content-Length: 05\r\n',
  'Content-Length: +5\r\n',
  'Content-Length: 5, 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding: gzip, chunked\r\n',
  'Transfer-Encoding:\r\n',
  'Host: b.test\r\n',
  'Host:\r\n',
  'Connection: close\r\n',
  'Connection: host, content-length, x\r\n',
  'Connection: upgrade\r\nUpgrade: websocket\r\n',
  'Expect: 100-continue\r\n',
  'Max-Forwards: 1\r\n',
  'X: \xff\r\n',
  ' folded\r\n',
  'X : y\r\n',
  'X\r\n',
  '\r\n',
  'X_Forwarded_For: 1\r\n',
  '0\r\n',
  '1\r\nx\r\n',
]

/** One way of breaking: what is done, where, and with how much. */
const mutation = fc.tuple(fc.nat(7), fc.nat(65_535), fc.nat(65_535), index(TOKENS))
const mutations = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 5, arbitrary: fc.array(mutation, { minLength: 1, maxLength: 4 }) },
)

/** Places where the meaning of a message is decided. */
function placeOf(bytes: string, drawn: number): number {
  if (bytes === '') return 0
  const at = drawn % bytes.length
  if (drawn % 3 !== 0) return at
  const found = bytes.slice(at).search(/[\r\n:;, ]/)
  return found < 0 ? at : at + found + (drawn % 2)
}

/** One more line, before another. */
function withLine(bytes: string, drawn: number, line: string): string {
  const starts = [...bytes.matchAll(/\r\n(?!\r\n)/g)].map(({ index }) => index + 2)
  const at = starts[drawn % Math.max(1, starts.length)] ?? 0
  return bytes.slice(0, at) + line + bytes.slice(at)
}

type Mutation = [what: number, where: number, size: number, token: number]

function mutate(bytes: string, [what, where, size, token]: Mutation): string {
  const at = placeOf(bytes, where)
  const to = Math.min(bytes.length, at + 1 + (size % (size % 5 === 0 ? 40 : 3)))
  const [before, slice, behind] = [bytes.slice(0, at), bytes.slice(at, to), bytes.slice(to)]
  if (what === 7) return withLine(bytes, where, among(LINES, token))
  if (what === 0) return before + among(TOKENS, token) + slice + behind
  if (what === 1) return before + behind
  if (what === 2) return before + among(TOKENS, token) + behind
  if (what === 3) return before + slice + slice + behind
  if (what === 4) {
    const other = placeOf(behind, size)
    return before + behind.slice(0, other) + slice + behind.slice(other)
  }
  if (what === 5) {
    const octet = (slice.charCodeAt(0) ^ (1 << (size % 8))) & 0xff
    return before + String.fromCharCode(octet) + slice.slice(1) + behind
  }
  return before + (slice === slice.toUpperCase() ? slice.toLowerCase() : slice.toUpperCase()) + behind
}

/** Lower and upper case of what is beyond ASCII may not be Latin-1 any more. */
const asLatin1 = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')

const cutsDrawn = fc.oneof(
  { weight: 6, arbitrary: fc.array(fc.nat(65_535), { maxLength: 4 }) },
  { weight: 1, arbitrary: fc.constant<number[] | 'each'>('each') },
)

/** @returns places in order; `each`: after every octet */
function cutsIn(bytes: string, drawn: number[] | 'each'): number[] {
  if (drawn === 'each') return Array.from({ length: bytes.length }, (_, at) => at)
  return drawn.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b)
}

const LEADING = ['', '', '', '\r\n', '\r\n\r\n']

export const requestsCase: fc.Arbitrary<RequestsCase> = fc
  .tuple(
    fc.array(oneRequest, { minLength: 1, maxLength: 3 }),
    index(LEADING),
    mutations,
    cutsDrawn,
    fc.boolean(),
  )
  .map(([requests, leading, changes, cuts, trusted]) => {
    const whole = requests.map(({ wire }) => among(LEADING, leading) + wire).join('')
    const bytes = asLatin1(changes.reduce<string>(mutate, whole))
    const base = { bytes, cuts: cutsIn(bytes, cuts), trusted }
    return changes.length > 0 ? base : { ...base, meant: requests.map(({ meant }) => meant) }
  })

const STATUSES = ['200', '201', '204', '206', '301', '304', '404', '500', '503', '599', '999', '418']
const REASONS = [' OK', ' Not Found', ' ', '', ' \xe9\xff', ' a\tb', ' OK ']
const INTERIMS = [
  '',
  '',
  '',
  '',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nX:  1\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 102\r\nConnection: x\r\nx: 1\r\n\r\n',
  'HTTP/1.1 199 \r\n\r\n',
]

export const responseCase: fc.Arbitrary<ResponseCase> = fc
  .tuple(
    fc.tuple(fc.nat(9), index(STATUSES), index(REASONS), index(INTERIMS), fc.nat(9)),
    fieldsDrawn,
    connection,
    framedBody,
    fc.tuple(mutations, cutsDrawn, fc.tuple(fc.nat(7), filler), fc.boolean(), fc.boolean()),
  )
  .map(([[method, status, reason, interim, minor], drawn, connections, framed, rest]) => {
    const [changes, cuts, [place, fill], old, closes] = rest
    const asked = method === 9 ? 'HEAD' : method === 8 ? 'OPTIONS' : 'GET'
    const bodiless = asked === 'HEAD' || /^[23]04$/.test(among(STATUSES, status))
    const speaks = minor === 9 && framed.fields[0]?.name !== 'Transfer-Encoding' ? 0 : 1
    const body = framed.fields.length > 0 ? framed : { body: 'until the end', wire: 'until the end' }
    const line = `HTTP/1.${speaks} ${among(STATUSES, status)}${among(REASONS, reason)}\r\n`
    const fields = filled(mixed(drawn, [...connections, ...framed.fields], place), line.length + 2, fill)
    const head = `${line}${fields.map(asLine).join('')}\r\n`
    const whole = `${among(INTERIMS, interim)}${head}${bodiless ? '' : body.wire}`
    const bytes = asLatin1(changes.reduce<string>(mutate, whole))
    const base = { bytes, cuts: cutsIn(bytes, cuts), method: asked, minor: old ? 0 : 1, closes }
    const content = bodiless ? '' : body.body
    const meant = { method: asked, fields: fields.map(asPair), body: content, headBytes: head.length }
    return changes.length > 0 ? base : { ...base, meant }
  })
