// HTTP/1.1 as bytes, for tests: a strict reader of requests and of answers, and lenient ones that read the same bytes as careless
// servers do. Pure, in the test's process; shares no code with the relay or with node:http. Bytes are Latin-1 strings throughout.

export type Field = [name: string, value: string]

export interface ReadRequest {
  method: string
  target: string
  /** Names in lower case, in the order of the wire. */
  fields: Field[]
  body: string
  framing: 'none' | 'length' | 'chunked'
  /** Exactly the bytes of this request. */
  raw: string
}

export type Reading =
  | { kind: 'whole'; request: ReadRequest }
  | { kind: 'part' }
  | { kind: 'wrong'; why: string }

const PART: Reading = { kind: 'part' }
const wrong = (why: string): Reading => ({ kind: 'wrong', why })

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const REQUEST_LINE = new RegExp(`^(${TOKEN}) (/[\\x21-\\x7e]*|\\*) HTTP/1\\.1$`)
// Field values: visible octets, spaces and tabs inside, obs-text (RFC 9110 §5.5).
const FIELD_LINE = new RegExp(
  `^(${TOKEN}):[ \\t]*((?:[\\x21-\\x7e\\x80-\\xff](?:[\\t\\x20-\\x7e\\x80-\\xff]*[\\x21-\\x7e\\x80-\\xff])?)?)[ \\t]*$`,
)
const STATUS_LINE = /^HTTP\/1\.1 (\d{3}) ([\t\x20-\x7e\x80-\xff]*)$/

export const valuesIn = (fields: readonly Field[], name: string): string[] =>
  fields.filter(([one]) => one === name).map(([, value]) => value)

/** @returns the fields, or the line that is none */
function readFields(lines: string[]): Field[] | string {
  const fields: Field[] = []
  for (const line of lines) {
    const [, name, value] = FIELD_LINE.exec(line) ?? []
    if (name === undefined || value === undefined) return line
    fields.push([name.toLowerCase(), value])
  }
  return fields
}

type Body = { kind: 'whole'; body: string; end: number } | { kind: 'part' } | { kind: 'wrong'; why: string }

/** A body in chunks as a front door should send it: lower or upper hex, no extension, no trailer. */
function readChunks(text: string, from: number): Body {
  let body = ''
  for (let at = from; ; ) {
    const eol = text.indexOf('\r\n', at)
    if (eol < 0)
      return /^[0-9A-Fa-f]{0,8}\r?$/.test(text.slice(at))
        ? { kind: 'part' }
        : { kind: 'wrong', why: 'chunk size' }
    const size = text.slice(at, eol)
    if (!/^[0-9A-Fa-f]{1,8}$/.test(size)) return { kind: 'wrong', why: `chunk size ${JSON.stringify(size)}` }
    const end = eol + 2 + Number.parseInt(size, 16)
    if (text.length < end + 2) return { kind: 'part' }
    if (text.slice(end, end + 2) !== '\r\n')
      return { kind: 'wrong', why: 'no line end after a chunk, or a trailer' }
    body += text.slice(eol + 2, end)
    at = end + 2
    if (end === eol + 2) return { kind: 'whole', body, end: at }
  }
}

/** Reads the request at the start of these bytes, and nothing that RFC 9112 would let anybody doubt. */
export function readRequest(text: string): Reading {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd < 0) return /^(?:[^\r\n]|\r\n|\r$)*$/.test(text) ? PART : wrong('a bare CR or LF')
  const [line = '', ...lines] = text.slice(0, headEnd).split('\r\n')
  const [, method, target] = REQUEST_LINE.exec(line) ?? []
  if (method === undefined || target === undefined) return wrong(`request line ${JSON.stringify(line)}`)
  const fields = readFields(lines)
  if (typeof fields === 'string') return wrong(`field line ${JSON.stringify(fields)}`)
  if (valuesIn(fields, 'host').length !== 1) return wrong('not exactly one Host')
  const body = readBody(text, headEnd + 4, fields)
  if (body.kind !== 'whole') return body
  const framing = framingOf(fields)
  return {
    kind: 'whole',
    request: { method, target, fields, body: body.body, framing, raw: text.slice(0, body.end) },
  }
}

const framingOf = (fields: Field[]): ReadRequest['framing'] =>
  valuesIn(fields, 'transfer-encoding').length > 0
    ? 'chunked'
    : valuesIn(fields, 'content-length').length > 0
      ? 'length'
      : 'none'

function readBody(text: string, from: number, fields: Field[]): Body {
  const codings = valuesIn(fields, 'transfer-encoding')
  const lengths = valuesIn(fields, 'content-length')
  if (codings.length + lengths.length > 1) return { kind: 'wrong', why: 'more than one framing' }
  if (codings.length === 1) {
    return codings[0] === 'chunked' ? readChunks(text, from) : { kind: 'wrong', why: `coding ${codings[0]}` }
  }
  const [length = '0'] = lengths
  if (!/^\d{1,15}$/.test(length)) return { kind: 'wrong', why: `length ${length}` }
  const end = from + Number(length)
  return text.length < end ? { kind: 'part' } : { kind: 'whole', body: text.slice(from, end), end }
}

export interface Answer {
  status: number
  fields: Field[]
  body: string
  /** False where the bytes or the connection ended before the body did. */
  whole: boolean
  framing: 'none' | 'length' | 'chunked' | 'close'
}

export interface Answers {
  answers: Answer[]
  /** What cannot be read as the next answer; empty if all is well. */
  rest: string
}

/**
 * Reads everything a client got on one connection.
 *
 * @param ended whether the connection is at its end, which is where some bodies end
 * @param methods of the requests in their order; those missing count as GET
 */
export function readAnswers(text: string, ended: boolean, methods: readonly string[] = []): Answers {
  const answers: Answer[] = []
  let asked = 0
  for (let at = 0; at < text.length; ) {
    const headEnd = text.indexOf('\r\n\r\n', at)
    if (headEnd < 0) return { answers, rest: text.slice(at) }
    const [line = '', ...lines] = text.slice(at, headEnd).split('\r\n')
    const status = Number(STATUS_LINE.exec(line)?.[1])
    const fields = readFields(lines)
    if (Number.isNaN(status) || typeof fields === 'string') return { answers, rest: text.slice(at) }
    const answer = readAnswerBody(text, headEnd + 4, {
      status,
      fields,
      ended,
      method: methods[asked] ?? 'GET',
    })
    if (typeof answer === 'string') return { answers, rest: answer }
    answers.push(answer.answer)
    if (status >= 200) asked++
    at = answer.end
  }
  return { answers, rest: '' }
}

interface AnswerHead {
  status: number
  fields: Field[]
  method: string
  ended: boolean
}

function readAnswerBody(
  text: string,
  from: number,
  head: AnswerHead,
): { answer: Answer; end: number } | string {
  const { status, fields, method, ended } = head
  const answer = (body: string, whole: boolean, framing: Answer['framing'], end: number) => ({
    answer: { status, fields, body, whole, framing },
    end,
  })
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD')
    return answer('', true, 'none', from)
  const body = readBody(text, from, fields)
  if (body.kind === 'wrong') return `${body.why}: ${text.slice(from)}`
  const framing = framingOf(fields)
  // Neither length nor chunks: the body ends with the connection (RFC 9112 §6.3).
  if (framing === 'none') return answer(text.slice(from), ended, 'close', text.length)
  if (body.kind === 'whole') return answer(body.body, true, framing, body.end)
  return answer(text.slice(from), false, framing, text.length)
}

/** How one kind of careless server reads a request. */
interface Leniency {
  name: string
  lineEnd: RegExp
  /** Which framing wins where several are there, or whether a method is thought to have no body at all. */
  framing: 'te' | 'first-length' | 'last-length' | 'no-body'
}

const CRLF = /\r\n/g
const LF = /\r?\n/g
const ANY = /\r\n|\n|\r/g

export const LENIENT: readonly Leniency[] = [
  { name: 'LF alone ends a line, TE wins', lineEnd: LF, framing: 'te' },
  { name: 'LF alone ends a line, CL wins', lineEnd: LF, framing: 'last-length' },
  { name: 'CR alone ends a line', lineEnd: ANY, framing: 'te' },
  { name: 'TE wins', lineEnd: CRLF, framing: 'te' },
  { name: 'the first CL wins', lineEnd: CRLF, framing: 'first-length' },
  { name: 'the last CL wins', lineEnd: CRLF, framing: 'last-length' },
  { name: '0.CL', lineEnd: CRLF, framing: 'no-body' },
  { name: '0.CL, CR or LF alone ends a line', lineEnd: ANY, framing: 'no-body' },
]

/** Methods whose body careless servers do not look for. A POST with a length that is ignored cannot be kept apart by anybody. */
export const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT'])

export interface LenientRequest {
  method: string
  target: string
  body: string
}

export interface LenientReading {
  requests: LenientRequest[]
  /** What is left over and is no whole request. */
  rest: string
}

/** Reads all requests that such a server would see in these bytes. */
export function readLeniently(text: string, how: Leniency): LenientReading {
  const requests: LenientRequest[] = []
  let rest = text
  for (;;) {
    const one = readOneLeniently(rest, how)
    if (!one) return { requests, rest }
    requests.push(one.request)
    rest = rest.slice(one.end)
    if (rest === '') return { requests, rest }
  }
}

function readOneLeniently(text: string, how: Leniency): { request: LenientRequest; end: number } | undefined {
  const skipped = /^[\s\0]*/.exec(text)?.[0].length ?? 0
  const { lines, end } = linesUntilEmpty(text, skipped, how.lineEnd)
  if (end === undefined) return undefined
  const [line = '', ...folded] = lines
  // A version is not asked for: HTTP/0.9 has none.
  const [, method, target] = /^([^\s\0]+)[\s\0]+([^\s]+)/.exec(line) ?? []
  if (method === undefined || target === undefined) return undefined
  const fields = fieldsLeniently(folded)
  const body = bodyLeniently(text, end, { method, fields, how })
  return body && { request: { method, target, body: body.body }, end: body.end }
}

/** @returns the lines from there to the empty one, and where what follows it begins; no end if there is no empty line */
function linesUntilEmpty(text: string, from: number, lineEnd: RegExp): { lines: string[]; end?: number } {
  const lines: string[] = []
  for (let at = from; ; ) {
    lineEnd.lastIndex = at
    const eol = lineEnd.exec(text)
    if (!eol) return { lines }
    const end = eol.index + eol[0].length
    if (eol.index === at) return { lines, end }
    lines.push(text.slice(at, eol.index))
    at = end
  }
}

// What some servers take for white space around a value, quotes included.
const JUNK = /^[\s\0-\x20\x7f\x85\xa0"']+|[\s\0-\x20\x7f\x85\xa0"']+$/g

/** Folded lines joined, names without anything odd in them, `_` read as `-` like CGI does. */
function fieldsLeniently(lines: string[]): Field[] {
  const fields: Field[] = []
  for (const line of lines) {
    const last = fields.at(-1)
    if (/^[\s]/.test(line) && last) {
      last[1] += ` ${line.trim()}`
      continue
    }
    const [name = '', ...value] = line.split(':')
    fields.push([
      name
        .toLowerCase()
        .replaceAll('_', '-')
        .replace(/[^a-z0-9-]/g, ''),
      value.join(':').replace(JUNK, ''),
    ])
  }
  return fields
}

interface LenientHead {
  method: string
  fields: Field[]
  how: Leniency
}

function bodyLeniently(text: string, from: number, { method, fields, how }: LenientHead) {
  if (how.framing === 'no-body' && BODILESS.has(method)) return { body: '', end: from }
  const lengths = valuesIn(fields, 'content-length').flatMap((value) => value.split(','))
  const length = how.framing === 'first-length' ? lengths[0] : lengths.at(-1)
  const isChunked = valuesIn(fields, 'transfer-encoding').some((value) => /chunk/i.test(value))
  const lengthWins = how.framing === 'first-length' || how.framing === 'last-length'
  if (isChunked && !(lengthWins && length !== undefined)) return chunksLeniently(text, from, how.lineEnd)
  const end = from + (Number.parseInt(length ?? '0', 10) || 0)
  return text.length < end ? undefined : { body: text.slice(from, end), end }
}

function chunksLeniently(text: string, from: number, lineEnd: RegExp) {
  let body = ''
  for (let at = from; ; ) {
    lineEnd.lastIndex = at
    const eol = lineEnd.exec(text)
    if (!eol) return undefined
    const start = eol.index + eol[0].length
    const size = Number.parseInt(text.slice(at, eol.index).replace(JUNK, ''), 16) || 0
    if (size === 0) {
      const { end } = linesUntilEmpty(text, start, lineEnd)
      return end === undefined ? undefined : { body, end }
    }
    if (text.length < start + size) return undefined
    body += text.slice(start, start + size)
    lineEnd.lastIndex = start + size
    const after = lineEnd.exec(text)
    at = after?.index === start + size ? start + size + after[0].length : start + size
  }
}

/**
 * What a careless server would make of bytes that a strict one reads as exactly this request.
 *
 * Each leniency has to see the same request with the same body and nothing behind it. A server that looks for no body in a GET
 * sees the body's bytes as what comes next, which nobody can help who relays a GET with a body at all; they must not be a request then.
 *
 * @returns a sentence for each leniency that reads something else
 */
export function ambiguities(request: ReadRequest): string[] {
  const found: string[] = []
  for (const how of LENIENT) {
    const { requests, rest } = readLeniently(request.raw, how)
    const body = how.framing === 'no-body' && BODILESS.has(request.method) ? '' : request.body
    const [first, ...more] = requests
    const same = first?.method === request.method && first.target === request.target && first.body === body
    const over = body === request.body ? rest !== '' : /\bHTTP\/\d/.test(rest)
    if (!same || more.length > 0 || over) {
      found.push(`${how.name}: ${JSON.stringify({ requests, rest })} in ${JSON.stringify(request.raw)}`)
    }
  }
  return found
}

/**
 * The same for a request that was broken off: no careless server may take it for a whole one.
 *
 * @returns a sentence for each leniency that sees a whole request in it
 */
export function completions(part: string): string[] {
  return LENIENT.filter(({ framing }) => framing !== 'no-body')
    .filter((how) => readLeniently(part, how).requests.length > 0)
    .map((how) => `${how.name}: a whole request in ${JSON.stringify(part)}`)
}
