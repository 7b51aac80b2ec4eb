// Every response vector, whole, cut at every byte, behind a valid answer, and for an HTTP/1.0 client: what the client gets of an
// app that answers with these bytes, and that nothing of them reaches anybody else (HTTP.md §1.4, §1.5).
import '../../support/without-domains.ts'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { type Answer, readAnswers, valuesIn } from '../../support/http-bytes.ts'
import { echo, type Recorded, type Recorder, startRecorder } from '../../support/recorder.ts'
import { eventually, followSockets, type OtherEnds, untilRead } from '../../support/turns.ts'
import { type Bench, type Scope, startRelay } from '../support.ts'

interface ResponseVector {
  name: string
  method: string
  /** Latin-1. */
  raw: string
  upstreamCloses: boolean
  statuses: number[]
  why: string
}

const VECTORS: ResponseVector[] = JSON.parse(
  readFileSync(new URL('../../vectors/responses.json', import.meta.url), 'utf8'),
) as ResponseVector[]

/** What a vector's reason says of the answer that goes on, if it does. */
interface Forwarded {
  body?: string
  /** What the client sees of interim answers in front of it. */
  interim?: string[]
  fields?: Record<string, string[]>
  /** The body ends visibly too early. */
  cut?: true
  /** The app's connection is not to be used again although the app keeps it open. */
  over?: true
  /** The app closes its connection behind it. */
  closes?: true
}

const FORWARDED: Record<string, Forwarded> = {
  'te-in-1.0': { body: '', over: true },
  'extra-data-after-cl': { over: true },
  'pipelined-poison': { over: true },
  'head-cl-no-body': { body: '', fields: { 'content-length': ['9'] } },
  'short-cl': { body: 'short', cut: true },
  'early-hints-only': { interim: ['103'] },
  'unrequested-100': { interim: ['100', ''] },
  'latin1-value': { fields: { x: ['\xe9\xff'] } },
  'set-cookie-x3': { fields: { 'set-cookie': ['a=1', 'b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT', 'c=3'] } },
  'connection-named-strip': { fields: { 'x-hop': [], 'content-length': ['2'] } },
  'upgrade-in-200': { fields: { upgrade: [] } },
  'ok-cl': { fields: { 'content-length': ['2'], 'transfer-encoding': [] } },
}

const answer = (lines: string, body = 'ok', status = '200 OK') => `HTTP/1.1 ${status}\r\n${lines}\r\n${body}`
const chunks = (body: string, lines = '') => answer(`Transfer-Encoding: chunked\r\n${lines}`, body)
const OK_CHUNKS = '2\r\nok\r\n0\r\n\r\n'

type Relative = [raw: string, statuses: number[], wanted?: Forwarded, method?: string]

const broken = (raw: string): Relative => [raw, [502]]
/** Good up to some place in the body: a relay may have sent the head by then. */
const cut = (raw: string, body = 'ok'): Relative => [raw, [200, 502], { body, cut: true, over: true }]

/** Answers that the vectors have relatives of. */
const RELATIVES: Record<string, Relative> = {
  ...Object.fromEntries(
    ['+2', '2,2', '2, 2', '0x2', '2 2', '', 'two', '2.0', '9007199254740993', '18446744073709551618'].map(
      (length) => [`Content-Length ${length}`, broken(answer(`Content-Length: ${length}\r\n`))],
    ),
  ),
  ...Object.fromEntries(
    [
      'xchunked',
      'chunked;q=1',
      '"chunked"',
      'gzip, chunked',
      'chunked,',
      ',chunked',
      'identity',
      '',
      'chunked\x0b',
      'chunked x',
    ].map((coding) => [
      `Transfer-Encoding ${coding}`,
      broken(answer(`Transfer-Encoding: ${coding}\r\n`, OK_CHUNKS)),
    ]),
  ),
  'two lengths in two spellings': broken(answer('Content-Length: 2\r\ncontent-length: 3\r\n')),
  'two codings in two lines': broken(
    answer('Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n', OK_CHUNKS),
  ),
  'a folded line': broken(answer('X: a\r\n b\r\nContent-Length: 2\r\n')),
  'a folded length': broken(answer('Content-Length: 2\r\n\t0\r\n')),
  'a fold first': broken(answer(' X: a\r\nContent-Length: 2\r\n')),
  'a line without a colon': broken(answer('X\r\nContent-Length: 2\r\n')),
  'an empty name': broken(answer(': x\r\nContent-Length: 2\r\n')),
  'a space in a name': broken(answer('X Y: x\r\nContent-Length: 2\r\n')),
  'NUL in a name': broken(answer('X\0: x\r\nContent-Length: 2\r\n')),
  'a length with a space before its colon': broken(answer('Content-Length : 2\r\n')),
  'LF in a value': broken(answer('X: a\nSet-Cookie: x=1\r\nContent-Length: 2\r\n')),
  'CR before the line end': broken(answer('X: a\r\r\nContent-Length: 2\r\n')),
  'a status of two digits': broken(answer('Content-Length: 2\r\n', 'ok', '20 OK')),
  'a status of four digits': broken(answer('Content-Length: 2\r\n', 'ok', '2000 OK')),
  'a status below 100': broken(answer('Content-Length: 2\r\n', 'ok', '099 OK')),
  'a status that is none': broken(answer('Content-Length: 2\r\n', 'ok', 'abc OK')),
  'NUL in the reason': broken(answer('Content-Length: 2\r\n', 'ok', '200 O\0K')),
  'CR in the reason': broken(answer('Content-Length: 2\r\n', 'ok', '200 O\rK')),
  'another protocol': broken('ICY 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  'a version in lower case': broken('http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  'too many fields': broken(answer(`${'x:\r\n'.repeat(1_500)}Content-Length: 2\r\n`)),
  'a 101 with a length': broken(
    answer('Upgrade: foo\r\nConnection: upgrade\r\nContent-Length: 2\r\n', 'ok', '101 Switching'),
  ),
  'Latin-1 in the reason': [answer('Content-Length: 2\r\n', 'ok', '200 F\xe9in'), [200]],
  chunks: [chunks(OK_CHUNKS), [200]],
  'chunks in capitals': [answer('TRANSFER-ENCODING:  Chunked \r\n', OK_CHUNKS), [200]],
  'chunks with extensions': [chunks('2;a=b\r\nok\r\n0;c\r\n\r\n'), [200, 502]],
  'chunks with trailers': [
    chunks('2\r\nok\r\n0\r\nX-Late: 1\r\nContent-Length: 9\r\n\r\n', 'Trailer: X-Late\r\n'),
    [200],
    { fields: { 'x-late': [], trailer: [], 'content-length': [] } },
  ],
  'chunks without the last': [chunks('2\r\nok\r\n'), [200], { cut: true, closes: true }],
  'chunks without their end': [chunks('2\r\nok\r\n0\r\n'), [200], { cut: true, closes: true }],
  'a chunk that is cut': [chunks('5\r\nok'), [200], { cut: true, closes: true }],
  'a size that is none': cut(chunks('2\r\nok\r\nzz\r\n')),
  'a size with a sign': cut(chunks('2\r\nok\r\n+2\r\nok\r\n0\r\n\r\n')),
  'a size beyond all numbers': cut(chunks('2\r\nok\r\nFFFFFFFFFFFFFFFFF\r\n')),
  'chunks with LF alone': cut(chunks('2\nok\n0\n\n'), ''),
  'no line end after a chunk': cut(chunks('2\r\nokXX0\r\n\r\n')),
  'a trailer that is none': cut(chunks('2\r\nok\r\n0\r\nX : y\r\n\r\n')),
  'an answer behind chunks': [
    chunks(`${OK_CHUNKS}${answer('Content-Length: 6\r\n', 'poison')}`),
    [200],
    { over: true },
  ],
  'a line end behind an answer': [answer('Content-Length: 2\r\n', 'ok\r\n'), [200], { over: true }],
  'a 204 with a length and a body': [
    answer('Content-Length: 8\r\n', 'a poison', '204 No Content'),
    [204, 502],
    { body: '', fields: { 'content-length': [] }, over: true },
  ],
  'a 204 with chunks': [
    answer('Transfer-Encoding: chunked\r\n', '6\r\npoison\r\n0\r\n\r\n', '204 No Content'),
    [204, 502],
    { body: '', fields: { 'transfer-encoding': [] }, over: true },
  ],
  'a 304 with a body': [
    answer('Content-Length: 6\r\n', 'poison', '304 Not Modified'),
    [304, 502],
    { body: '', over: true },
  ],
  'a body for HEAD': [
    answer('Content-Length: 6\r\n', 'poison'),
    [200, 502],
    { body: '', over: true },
    'HEAD',
  ],
  'chunks for HEAD': [answer('Transfer-Encoding: chunked\r\n', ''), [200], { body: '' }, 'HEAD'],
  'a 304 with the length of the whole': [
    answer('Content-Length: 99\r\n', '', '304 Not Modified'),
    [304],
    { body: '' },
  ],
  'early hints, then an answer': [
    `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${answer('Content-Length: 2\r\n')}`,
    [200],
    { interim: ['103'] },
  ],
  'hints with a length': [
    `HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n${answer('Content-Length: 2\r\n')}`,
    [200, 502],
    { interim: ['103', ''] },
  ],
  'the end of its connection announced': [
    answer('Connection: close\r\nContent-Length: 2\r\n'),
    [200],
    { over: true, fields: { 'content-length': ['2'] } },
  ],
  'a length named in Connection': [
    answer('Connection: Content-Length, Date\r\nContent-Length: 2\r\n'),
    [200],
  ],
  'Date named in Connection': [
    answer('Connection: Date\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n'),
    [200],
  ],
  'a coding named in Connection': [chunks(OK_CHUNKS, 'Connection: Transfer-Encoding\r\n'), [200]],
  'HTTP/1.0 with a length': ['HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', [200], { over: true }],
  'HTTP/1.0 up to its end': ['HTTP/1.0 200 OK\r\n\r\nok', [200], { closes: true }],
  'HTTP/1.0 that stays': ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok', [200]],
  'odd names': [
    answer('__proto__: x\r\nconstructor: y\r\nContent-Length: 2\r\n'),
    [200],
    { fields: { ['__proto__']: ['x'], constructor: ['y'] } },
  ],
}

const RESPONSES: ResponseVector[] = [
  ...VECTORS,
  ...Object.entries(RELATIVES).map(([name, [raw, statuses, wanted, method = 'GET']]) => ({
    name,
    raw,
    statuses,
    method,
    upstreamCloses: wanted?.closes === true,
    why: 'a relative of the vectors',
  })),
]

const wantedOf = ({ name }: ResponseVector): Forwarded => FORWARDED[name] ?? RELATIVES[name]?.[2] ?? {}

/** Bytes of vectors that no client may ever see. */
const POISON =
  /BUT-NOT-THIS|poison|splitting|garbage|okok|timeout=99|Set-Cookie: x=1|HTTP\/2\.0|HTTP\/1\.0|<html>hi/

interface World {
  bench: Bench
  app: Recorder
  ends: OtherEnds
  /** Answers the next request for a vector in these pieces. */
  say: { bytes: string; cuts: readonly number[]; closes: boolean }
  /** The connections that were asked for the vector. */
  asked: Recorded[]
  /** Nothing was asked on the first of them before. */
  isNew: boolean
  /** A connection of a client that an ordinary request went over. */
  used?: Caller
  /** Resolves when the relay has seen everything that the app has to say, with what is wrong with how it saw that. */
  said: Promise<string[]>
}

/** Longer than a busy machine takes from one play to the next, which is to find the connection of the one before. */
const IDLE_MS = 60_000

async function startWorld(t: Scope): Promise<World> {
  const ends = followSockets(t)
  const bench = await startRelay(t, { relay: { upstreamIdleMs: IDLE_MS } })
  const asked: Recorded[] = []
  const world = {
    bench,
    ends,
    asked,
    isNew: false,
    say: { bytes: '', cuts: [], closes: false },
    said: Promise.resolve<string[]>([]),
  }
  const app = await startRecorder(t, (request, connection) => {
    if (!request.target.startsWith('/vector/')) return echo(request, connection)
    if (asked.push(connection) === 1) world.isNew = connection.served === 1
    world.said = speak(world, connection.socket)
  })
  await bench.promote(app.address)
  return Object.assign(world, { app })
}

/** Writes the vector, each piece when the relay has read the one before. @returns what is wrong with how it read them */
async function speak(
  { ends, say: { bytes, cuts, closes } }: Pick<World, 'ends' | 'say'>,
  socket: Socket,
): Promise<string[]> {
  const end = ends.opened(socket)
  if (!end) return ['nobody knows what the relay has read']
  const before = socket.bytesWritten
  let at = 0
  for (const cut of [...cuts, bytes.length]) {
    socket.write(Buffer.from(bytes.slice(at, cut), 'latin1'))
    at = cut
    const isApart = await untilRead(end, before + at, () => socket.destroyed)
    if (end.destroyed || socket.destroyed) return []
    if (!isApart) return [`the relay did not read the ${at} bytes up to a cut by themselves`]
  }
  if (closes) socket.end()
  return []
}

/** A connection of a client, and what it got since it was asked last. */
interface Caller {
  socket: Socket
  text: string
  ended: boolean
  reset: boolean
  /** Called when there is more to see. */
  look: () => void
}

function call({ bench }: World): Caller {
  const socket = connect({ host: '127.0.0.1', port: bench.port, allowHalfOpen: true, noDelay: true })
  const caller: Caller = { socket, text: '', ended: false, reset: false, look: () => {} }
  socket.on('data', (chunk: Buffer) => {
    caller.text += chunk.toString('latin1')
    caller.look()
  })
  socket.on('error', () => {
    caller.reset = true
  })
  const over = () => {
    caller.ended = true
    caller.look()
    socket.destroy()
  }
  socket.on('end', over)
  socket.on('close', over)
  return caller
}

interface Got {
  /** Interim ones first; the last is the final one. */
  answers: Answer[]
  rest: string
  text: string
  /** The connection ended with it. */
  ended: boolean
  reset: boolean
}

/** Longest wait for an answer. */
const ANSWER_WITHIN_MS = 5_000

/** Sends one request and resolves with what comes back, up to the end of the final answer or of the connection. */
async function ask(caller: Caller, line: string): Promise<Got> {
  const [method = ''] = line.split(' ')
  const read = () => readAnswers(caller.text, caller.ended, [method])
  const isOver = () => {
    if (caller.ended) return true
    const { answers, rest } = read()
    return rest === '' && answers.some(({ status, whole }) => status >= 200 && whole)
  }
  const over = Promise.withResolvers<void>()
  const limit = setTimeout(over.resolve, ANSWER_WITHIN_MS)
  caller.look = () => {
    if (isOver()) over.resolve()
  }
  caller.look()
  caller.socket.write(`${line}\r\nHost: a.test\r\n\r\n`)
  await over.promise
  clearTimeout(limit)
  const got = { ...read(), text: caller.text, ended: caller.ended, reset: caller.reset }
  // What still comes will stand in front of the next answer.
  caller.text = ''
  return got
}

interface Play {
  vector: ResponseVector
  cuts: readonly number[]
  /**
   * An ordinary request went first, so that the vector comes on connections that are in use already, the app's and the
   * client's; else both are new.
   */
  behind?: true
  /** A new client asks afterwards although the used connections are there; without them it always does. */
  fresh?: boolean
  version?: '1.0' | '1.1'
}

let calls = 0

/** Asks for something ordinary there. @returns what came, and what is wrong with it */
async function askOwn(caller: Caller, which: string): Promise<{ got: Got; problems: string[] }> {
  const target = `/${which}/${++calls}`
  const got = await ask(caller, `GET ${target} HTTP/1.1`)
  return { got, problems: judgeOwn(got, `GET ${target} `, which) }
}

/** The connection that the last play has left over, or one that an ordinary request went over just now. */
async function usedCaller(world: World): Promise<Caller> {
  if (world.used) return world.used
  const caller = call(world)
  const { problems } = await askOwn(caller, 'in-front')
  if (problems.length > 0) throw new Error(problems.join())
  return caller
}

/** Everything that is wrong with how this went. */
async function play(
  world: World,
  { vector, cuts, behind, fresh: isFresh = !behind, version = '1.1' }: Play,
): Promise<string[]> {
  const { app, asked, bench } = world
  const caller = behind ? await usedCaller(world) : call(world)
  if (!behind) bench.relay.forget([app.address])
  asked.length = 0
  world.say = { bytes: vector.raw, cuts, closes: vector.upstreamCloses }
  const got = await ask(caller, `${vector.method} /vector/${encodeURIComponent(vector.name)} HTTP/${version}`)
  const problems = [...(await world.said), ...judgeVector(vector, got, version)]
  // What comes next, on this connection if the relay kept it, and on a new one.
  const again = caller.ended || closes(got) ? call(world) : caller
  const next = await askOwn(again, 'next')
  const fresh = isFresh ? call(world) : undefined
  const last = fresh && (await askOwn(fresh, 'fresh'))
  problems.push(...next.problems, ...(last?.problems ?? []))
  problems.push(...(await judgeApp(world, vector, got)))
  if (world.isNew === (behind === true))
    problems.push(`the vector came on a ${behind ? 'new' : 'used'} connection`)
  for (const text of [got.text, next.got.text, caller.text, again.text]) {
    if (POISON.test(text)) problems.push(`bytes that nobody may see: ${JSON.stringify(text)}`)
  }
  if (!(await eventually(() => bench.claims() === 0))) problems.push('claims are left')
  const isOfUse = behind && problems.length === 0 && !again.ended && !closes(next.got)
  for (const one of [caller, again, fresh]) if (one !== again || !isOfUse) one?.socket.destroy()
  if (isOfUse) world.used = again
  else delete world.used
  app.forget()
  return problems.map(
    (problem) => `${problem}${cuts.length > 0 ? ` (cut at ${cuts.slice(0, 3)} of ${cuts.length})` : ''}`,
  )
}

const closes = ({ answers }: Got): boolean =>
  valuesIn(answers.at(-1)?.fields ?? [], 'connection').some((value) => value.toLowerCase() === 'close')

/** An ordinary request, before or after, gets its own answer. */
function judgeOwn({ answers, rest, text }: Got, begins: string, which: string): string[] {
  const [answer, ...more] = answers
  const isOwn =
    answer?.status === 200 &&
    answer.whole &&
    answer.body.startsWith(begins) &&
    more.length === 0 &&
    rest === ''
  return isOwn ? [] : [`the request ${which} got ${JSON.stringify(text)}`]
}

function judgeVector(vector: ResponseVector, got: Got, version: string): string[] {
  const problems: string[] = []
  const { answers, rest, text } = got
  const say = (what: string) => problems.push(`${what}: the client got ${JSON.stringify(text.slice(0, 600))}`)
  const finals = answers.filter(({ status }) => status >= 200)
  const [answer] = finals
  if (rest !== '') say('unreadable bytes')
  if (!answer || finals.length > 1) say(`${finals.length} answers`)
  if (!answer) return problems
  const wanted = wantedOf(vector)
  const interim = answers.filter(({ status }) => status < 200).map(({ status }) => status)
  const mayBeInterim = version === '1.0' ? [''] : (wanted.interim ?? [''])
  if (!mayBeInterim.includes(interim.join()))
    say(`interim answers ${interim}, not ${mayBeInterim.join(' or ')}`)
  if (!vector.statuses.includes(answer.status)) say(`status ${answer.status}`)
  if (valuesIn(answer.fields, 'date').length !== 1) say('not one Date')
  if (answer.status === 502) judgeOwnPage(answer, say)
  else judgeForwarded(answer, { wanted, got, version, vector }, say)
  return problems
}

function judgeOwnPage({ whole, fields, framing }: Answer, say: (what: string) => void): void {
  if (!whole) say('a page of the relay that is not whole')
  if (framing !== 'length' && framing !== 'none') say(`a page of the relay with the framing ${framing}`)
  if (valuesIn(fields, 'content-type')[0] !== 'application/problem+json')
    say('a 502 that is not of the relay')
}

interface Context {
  wanted: Forwarded
  got: Got
  version: string
  vector: ResponseVector
}

function judgeForwarded(
  answer: Answer,
  { wanted, got, version, vector }: Context,
  say: (what: string) => void,
): void {
  const { body, whole, fields, framing } = answer
  const wantedBody = wanted.body ?? 'ok'
  if (wanted.cut) {
    if (whole && framing !== 'close') say('a cut body that looks whole')
    if (framing === 'close' && !got.reset) say('a cut body that ends like a whole one')
    if (!got.ended) say('a cut body, and the connection stays open')
    if (framing !== 'chunked' && !wantedBody.startsWith(body)) say(`the body is ${JSON.stringify(body)}`)
  } else {
    if (!whole) say('the answer is not whole')
    if (body !== wantedBody) say(`the body is ${JSON.stringify(body)}, not ${JSON.stringify(wantedBody)}`)
  }
  for (const [name, values] of Object.entries(wanted.fields ?? {})) {
    if (valuesIn(fields, name).join('|') !== values.join('|'))
      say(`${name} is ${valuesIn(fields, name)}, not ${values}`)
  }
  // An HTTP/1.0 client knows no chunks, and its connection ends with the answer (RFC 9112 §6.1, §9.3).
  if (version === '1.0' && framing === 'chunked') say('chunks for HTTP/1.0')
  if (version === '1.1' && framing === 'close' && vector.method !== 'HEAD')
    say('a body that only the end of the connection ends')
}

/** What the app saw: the vector once, and its connection never again where that would be unsafe. */
async function judgeApp({ asked }: World, vector: ResponseVector, got: Got): Promise<string[]> {
  const problems: string[] = []
  // A kept connection that closes without a byte is the one case for a second attempt (DESIGN §7).
  const most = vector.raw === '' ? 2 : 1
  if (asked.length === 0 || asked.length > most) problems.push(`the app was asked ${asked.length} times`)
  const isOver = vector.upstreamCloses || wantedOf(vector).over === true || got.answers.at(-1)?.status === 502
  if (!isOver) return problems
  for (const { requests } of asked) {
    if (!requests.at(-1)?.target.startsWith('/vector/')) problems.push('the connection was used again')
  }
  if (!(await eventually(() => asked.every(({ isClosed }) => isClosed))))
    problems.push('the connection was not closed')
  return problems
}

/** Longer ones are cut where it matters. */
const SHORT_BYTES = 600
const NEAR = [1, 8, 12, 17, 20, 16_383, 16_384, 16_385, 16_390, 32_768, 65_535, 65_536]

/** Of the cuts on used connections, each so-many-eth is followed by a new client. */
const FRESH_EACH = 10

const cutsOf = ({ raw }: ResponseVector): number[] =>
  (raw.length <= SHORT_BYTES
    ? Array.from({ length: raw.length }, (_, nth) => nth + 1)
    : [...NEAR, raw.length - 4, raw.length - 2]
  ).filter((cut) => cut < raw.length)

const WAYS: Record<string, (vector: ResponseVector) => Play[]> = {
  whole: (vector) => [{ vector, cuts: [] }],
  'behind a valid one on the same connection': (vector) => [{ vector, cuts: [], behind: true }],
  'to an HTTP/1.0 client': (vector) => [{ vector, cuts: [], version: '1.0' }],
  'cut at every byte': (vector) =>
    cutsOf(vector).map((cut, nth) => ({ vector, cuts: [cut], behind: true, fresh: nth % FRESH_EACH === 0 })),
  'byte by byte, a long one in a few pieces': (vector) => [{ vector, cuts: cutsOf(vector) }],
}

/** A vector that fails in so many ways is not played on. */
const PROBLEMS_SHOWN = 3

for (const [way, playsOf] of Object.entries(WAYS)) {
  t.test(`response vectors, ${way}, get their outcome and reach nobody else`, async (t) => {
    const world = await startWorld(t)
    for (const vector of RESPONSES) {
      const problems: string[] = []
      for (const one of playsOf(vector)) {
        problems.push(...(await play(world, one)))
        if (problems.length >= PROBLEMS_SHOWN) break
      }
      t.same(problems, [], `${vector.name}: ${vector.why}`)
    }
  })
}

t.test(
  'an answer that ends with its connection reaches HTTP/1.1 clients in chunks, and only then',
  async (t) => {
    const world = await startWorld(t)
    const raw = 'HTTP/1.1 200 OK\r\n\r\nok'
    world.say = { bytes: raw, cuts: [], closes: true }
    const caller = call(world)
    const { answers } = await ask(caller, 'GET /vector/close HTTP/1.1')
    t.match(answers, [{ status: 200, body: 'ok', framing: 'chunked', whole: true }])
    caller.socket.destroy()
    t.ok(await eventually(() => caller.ended))
  },
)
