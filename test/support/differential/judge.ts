// Holds what the relay makes of a case against what node:http makes of it, octet for octet, on the way in and on the
// way out; and the relay against itself, with the octets cut up. In the test's process.
import { deepStrictEqual, equal, match, ok } from 'node:assert/strict'
import { type Field, readRequest } from '../http-bytes.ts'
import type { Meant, RequestsCase, ResponseCase } from './cases.ts'
import { keptOfRequest, keptOfResponse, linesOf, valuesOf } from './expected-fields.ts'
import { NodeServer, readByClient, type SeenRequest } from './node-reader.ts'
import {
  LIMITS,
  type ReadHead,
  type RequestsRead,
  readRequests,
  readResponse,
  SAID,
  type TakenRequest,
  type TakenResponse,
} from './relay-reader.ts'

/** What came of the cases so far. */
export interface Tallies {
  cases: number
  /** Requests and answers that the relay took, each compared with node:http on its way in and on its way out. */
  requests: number
  responses: number
  upgrades: number
  /** Cases of which the relay refused something, by how. */
  refused: Map<string, number>
  /** Taken by the relay and refused by node:http, for the one reason that is meant. */
  trailers: number
}

/** The second request on a connection: read whole only if the first ended just where it should. */
const CANARY = 'GET /canary HTTP/1.1\r\nHost: canary.test\r\n\r\n'

/**
 * The one difference that is meant. The relay drops every trailer, whatever it says (RFC 9112 §7.1.2); node:http
 * refuses those that are called like framing, and takes `Connection` there for the word of the message.
 */
const TRAILER_ERRORS = new Set(['HPE_INVALID_CONTENT_LENGTH', 'HPE_INVALID_TRANSFER_ENCODING'])
const FRAMING_TRAILER = /\r\n(?:content-length|transfer-encoding):/i
const CONNECTION_TRAILER = /\r\n(?:connection|proxy-connection|upgrade):/i

export class Judge {
  /** Gets what clients send, what apps are sent, and requests for upgrades. */
  readonly #front = new NodeServer()
  readonly #app = new NodeServer()
  readonly #upgrades = new NodeServer().takeUpgrades()
  readonly tallies: Tallies = {
    ...{ cases: 0, requests: 0, responses: 0, upgrades: 0, trailers: 0 },
    refused: new Map(),
  }

  close(): void {
    for (const server of [this.#front, this.#app, this.#upgrades]) server.close()
  }

  /**
   * @returns how the relay refused the first that it refused; empty if it did not
   * @throws AssertionError, or whatever the relay threw that it must not throw
   */
  async judgeRequests({ bytes, cuts, trusted, meant }: RequestsCase): Promise<string> {
    const read = readRequests(bytes, [], trusted)
    this.#count(read.refusal)
    const pieces = readRequests(bytes, cuts, trusted)
    deepStrictEqual(withoutChunks(pieces), withoutChunks(read), 'cut into pieces it is read differently')
    for (const { unfinished } of [read, pieces]) {
      if (unfinished === '') continue
      equal(readRequest(unfinished).kind, 'part', 'an app could take an unfinished request for a whole one')
    }
    if (meant) compareMeant(read, meant)
    try {
      for (const request of read.requests) await this.#compareRequest(bytes, request)
      for (const [at, { fieldsOut, out }] of read.requests.entries()) {
        const request = read.requests[at]
        if (request) await this.#compareOutgoing(request, fieldsOut, out, trusted)
      }
      for (const { out, ...request } of pieces.requests)
        await this.#compareOutgoing(request, request.fieldsOut, out, trusted)
    } finally {
      // One case says nothing about the next.
      this.#front.drop()
    }
    return read.refusal
  }

  #count(refusal: string): void {
    this.tallies.cases++
    if (refusal !== '') this.tallies.refused.set(refusal, (this.tallies.refused.get(refusal) ?? 0) + 1)
  }

  /** The octets of one request, on the connection that those before it came over. */
  async #compareRequest(bytes: string, request: TakenRequest): Promise<void> {
    const server = request.upgrade ? this.#upgrades : this.#front
    const octets = bytes.slice(request.start, request.end)
    const seen = await server.feed(octets, 1)
    if (request.upgrade) {
      server.drop()
      this.tallies.upgrades++
    } else this.tallies.requests++
    const [only] = seen.requests
    const chunks = request.framing.kind === 'chunked' ? bytes.slice(request.bodyStart, request.end) : ''
    // To node:http, `Proxy-Connection` too says whether a connection goes on; no RFC knows it (RFC 9112 §C.2.2).
    if (CONNECTION_TRAILER.test(chunks) || valuesOf(request.fields, 'proxy-connection').length > 0)
      server.drop()
    // Where an upgrade was asked for and is none, node:http says nothing of what it refuses, and reads no further.
    const isSilent =
      seen.error === '' && only?.whole === false && valuesOf(request.fields, 'upgrade').length > 0
    if ((TRAILER_ERRORS.has(seen.error) || isSilent) && FRAMING_TRAILER.test(chunks)) {
      this.tallies.trailers++
      server.drop()
      compareSeen(only && { ...only, whole: true }, expectedIn(request))
      return
    }
    equal(seen.error, '', 'node:http refuses what the relay takes')
    equal(seen.requests.length, 1, 'node:http sees another number of requests')
    compareSeen(only, expectedIn(request))
  }

  async #compareOutgoing(
    request: Omit<TakenRequest, 'out'>,
    fieldsOut: string,
    out: string,
    trusted: boolean,
  ): Promise<void> {
    if (request.upgrade) return
    const fields = expectedOut(request, trusted)
    equal(fieldsOut, linesOf(fields), 'other fields go on than should')
    const strict = readRequest(out)
    equal(
      strict.kind === 'whole' && strict.request.raw,
      out,
      'what goes on is not one request to a strict reader',
    )
    const seen = await this.#app.feed(out + CANARY, 2)
    const { method, targetOut: target, body } = request
    const [first, canary] = seen.requests
    equal(seen.error, '', 'node:http refuses what goes on')
    equal(seen.requests.length, 2, 'what goes on is not one request to node:http')
    compareSeen(first, { method, target, version: '1.1', fields, body, whole: true, upgrade: false })
    equal(canary?.target, '/canary', 'the request behind it is read differently')
  }

  /** As `judgeRequests`, of all that an app says on one connection. */
  async judgeResponse({ bytes, cuts, method, minor, closes, meant }: ResponseCase): Promise<string> {
    const asked = { method, minor, closes }
    const read = readResponse(bytes, [], asked)
    this.#count(read.refusal)
    const pieces = readResponse(bytes, cuts, asked)
    // The time that a `Date` of ours says may pass on in between.
    const [whole, cut] = [read, pieces].map((one) => ({
      ...one,
      response: one.response && { ...one.response, out: '' },
    }))
    deepStrictEqual(cut, whole, 'cut into pieces it is read differently')
    const { response } = read
    if (meant)
      ok(isExpected(response === null ? read.refusal : '', meant), `meant, but refused: ${read.refusal}`)
    if (meant && response !== null) {
      deepStrictEqual(response.fields, meant.fields, 'it was meant to have other fields')
      equal(response.body, meant.body, 'it was meant to have another body')
    }
    if (response === null) return read.refusal
    this.tallies.responses++
    await compareResponse(bytes, response, method)
    for (const one of [response, pieces.response]) if (one) await compareAnswer(one, method)
    return ''
  }
}

/** Whether a message that nothing is wrong with is refused for its size alone, and only then. */
function isExpected(refusal: string, { fields, headBytes }: Meant): boolean {
  const isLong = headBytes > LIMITS.headLimitBytes
  const isMany = fields.length > LIMITS.fieldLimit
  if (refusal === 'head') return isLong
  return refusal === 'TooManyFields' ? isMany : refusal === '' && !isLong && !isMany
}

/** What must not depend on the pieces; chunks are what they may come in. */
function withoutChunks({ unfinished: _, ...read }: RequestsRead): unknown {
  return { ...read, requests: read.requests.map(({ out: _, ...request }) => request) }
}

function compareMeant(read: RequestsRead, meant: readonly Meant[]): void {
  for (const [at, { method, fields, body }] of read.requests.entries()) {
    const { headBytes, ...wanted } = meant[at] ?? { headBytes: 0 }
    deepStrictEqual({ method, fields, body }, wanted, `request ${at} was meant differently`)
    ok(isExpected('', { method, fields, body, headBytes }), 'it is beyond the limits, and was taken')
  }
  const next = meant[read.requests.length]
  if (read.rest === 'refused')
    ok(next && isExpected(read.refusal, next), `meant, but refused: ${read.refusal}`)
  else if (read.rest === 'open') equal(read.requests.length, meant.length, 'not all were taken')
}

const expectedIn = ({ method, target, minor, fields, body, upgrade }: TakenRequest): SeenRequest => ({
  ...{ method, target, version: `1.${minor}`, fields, body, whole: true, upgrade },
})

function compareSeen(seen: SeenRequest | undefined, expected: SeenRequest): void {
  deepStrictEqual(seen, expected, 'node:http reads it differently')
}

/** The fields that an app ought to get. */
function expectedOut(request: Omit<TakenRequest, 'out'>, trusted: boolean): Field[] {
  const { fields, minor, host, framing, maxForwards } = request
  const forwarded = trusted ? chainOf(fields) : ''
  const proto = trusted ? (valuesOf(fields, 'x-forwarded-proto').at(-1) ?? '') : ''
  const forHost = trusted ? (valuesOf(fields, 'x-forwarded-host').at(-1) ?? '') : ''
  const isNamed = trusted && isSimpleHost(forHost)
  const names = trusted
    ? ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host']
    : ['X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host']
  const [forName = '', protoName = '', hostName = ''] = names
  return [
    ...keptOfRequest(fields, trusted),
    [forName, forwarded + SAID.peer],
    [protoName, /^(?:https?|wss?)$/i.test(proto) ? proto : 'http'],
    [hostName, isNamed ? forHost : host],
    ['Via', [...valuesOf(fields, 'via'), `1.${minor} slotgate`].join(', ')],
    ['X-Request-Id', SAID.requestId],
    ...(maxForwards === undefined ? [] : [['Max-Forwards', String(maxForwards)] satisfies Field]),
    ...framingFields(framing),
  ]
}

/** What the proxies before said of the client, with a comma behind it. */
function chainOf(fields: readonly Field[]): string {
  const said = valuesOf(fields, 'x-forwarded-for').flatMap((value) => value.split(','))
  return said
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .map((one) => `${one}, `)
    .join('')
}

/** Narrow: of the random values, only these are hosts. */
const isSimpleHost = (value: string): boolean =>
  /^[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?(?::\d{1,4})?$/.test(
    value,
  )

const framingFields = (framing: TakenRequest['framing']): Field[] => {
  if (framing.kind === 'length') return [['Content-Length', String(framing.bytes)]]
  return framing.kind === 'chunked' ? [['Transfer-Encoding', 'chunked']] : []
}

/** The answer itself, to a node:http client. */
async function compareResponse(bytes: string, response: TakenResponse, method: string): Promise<void> {
  const { status, reason, fields, body, framing, start, end } = response
  // To node:http, an interim answer can end the connection, and must have no framing that is wrong.
  const interims = response.doubtful ? [] : response.interims
  const octets = bytes.slice(response.doubtful ? start : 0, end)
  const seen = await readByClient(method, octets, framing.kind === 'close')
  const chunks = framing.kind === 'chunked' ? bytes.slice(bytes.indexOf('\r\n\r\n', start), end) : ''
  if (TRAILER_ERRORS.has(seen.error) && FRAMING_TRAILER.test(chunks)) return
  equal(seen.error, '', 'node:http refuses an answer that the relay takes')
  deepStrictEqual(
    seen.response,
    { status, reason, fields, body, whole: true },
    'node:http reads the answer differently',
  )
  deepStrictEqual(seen.interims, interims, 'node:http reads the interim answers differently')
}

/** What is written to the client of it. */
async function compareAnswer(response: TakenResponse, method: string): Promise<void> {
  const { status, reason, fields, body, framingOut, closes, interimsOut, out } = response
  const seen = await readByClient(method, out, framingOut.kind === 'close')
  equal(seen.error, '', 'node:http refuses what goes to the client')
  const kept = keptOfResponse(fields)
  const [date, ...own] =
    valuesOf(kept, 'date').length > 0 ? [] : (seen.response?.fields.slice(kept.length) ?? [])
  const isDated = valuesOf(kept, 'date').length > 0
  const expected: Field[] = [
    ...kept,
    ...(isDated || !date ? [] : [date]),
    ...framingFields(framingOut),
    ...(closes ? [['Connection', 'close'] satisfies Field] : []),
  ]
  if (!isDated) match(date?.join(': ') ?? '', /^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/)
  ok(own.length <= 2)
  deepStrictEqual(
    seen.response,
    { status, reason, fields: expected, body, whole: true },
    'node:http reads what goes to the client differently',
  )
  const interims: ReadHead[] = interimsOut.map((one) => ({ ...one, fields: keptOfResponse(one.fields) }))
  deepStrictEqual(seen.interims, interims, 'node:http reads the interim answers to the client differently')
}
