// Every request vector, whole and behind a valid request, against an app that records what reaches it (HTTP.md §2.2).
import '../../support/without-domains.ts'
import t from 'tap'
import { valuesIn } from '../../support/http-bytes.ts'
import type { RecordedRequest } from '../../support/recorder.ts'
import {
  behindValid,
  judge,
  type Play,
  playOne,
  REQUESTS,
  type RequestVector,
  startWorld,
  wholePlay,
} from './support.ts'

/** What a vector's reason says of the request that goes on, if one does. */
interface Forwarded {
  /** Method and target of each. */
  lines?: string[]
  /** Values that a field must have; none means that it is absent. */
  fields?: Record<string, string[]>
  body?: string
  framing?: RecordedRequest['framing']
  /** Bytes that must not be in it. */
  never?: string
}

const FORWARDED_FIELDS = {
  'x-forwarded-for': ['127.0.0.1'],
  'x-forwarded-proto': ['http'],
  'x-forwarded-host': ['a.test'],
}
const NO_UPGRADE = { upgrade: [], 'http2-settings': [] }

const FORWARDED: Record<string, Forwarded> = {
  'version-1.2': { never: 'HTTP/1.2' },
  'protocol-rtsp-get': { never: 'RTSP' },
  'absolute-form-host-mismatch': {
    lines: ['GET /x'],
    fields: { host: ['b.test'], 'x-forwarded-host': ['b.test'] },
  },
  'absolute-form-same-host': { lines: ['GET /x?y=1'], fields: { host: ['a.test'] } },
  'absolute-form-empty-path': { lines: ['GET /'], fields: { host: ['a.test'] } },
  'absolute-form-https-on-plaintext': { fields: { 'x-forwarded-proto': ['http'] } },
  'options-asterisk': { lines: ['OPTIONS *'] },
  'double-slash-authority-confusion': { lines: ['GET //evil.test/admin'], fields: { host: ['a.test'] } },
  'dot-segments': { lines: ['GET /public/../admin'] },
  'encoded-dot-segments': { lines: ['GET /public/%2e%2e/admin'] },
  'semicolon-query': { lines: ['GET /p?a=1;b=2&c=%zz'] },
  'obs-text-in-target': { lines: ['GET /\xff\xe9'] },
  'percent-crlf-in-target': { lines: ['GET /path%0d%0aX-Injected:%20true'], fields: { 'x-injected': [] } },
  'host-ows-trim': { fields: { host: ['a.test'] } },
  'obs-text-value-verbatim': { fields: { user: ['\x85admin\xa0\xff'] } },
  'name-underscore-te': {
    fields: { transfer_encoding: [], 'content-length': ['5'] },
    body: '0\r\n\r\n',
    framing: 'length',
  },
  'name-underscore-cl': { fields: { content_length: [], 'content-length': ['5'] }, body: 'hello' },
  'proto-header-name': { fields: { __proto__: ['x'], constructor: ['y'], tostring: ['z'] } },
  'cl-duplicate-same': { body: 'hello' },
  'cl-many-leading-zeros': { fields: { 'content-length': ['5'] }, body: 'hello' },
  'get-with-body': { lines: ['GET /'], body: '1234567890' },
  'delete-with-body': { lines: ['DELETE /x'], fields: { 'content-length': ['5'] }, body: 'hello' },
  'content-encoding-chunked': {
    fields: { 'content-encoding': ['chunked'] },
    body: '0\r\n\r\n',
    framing: 'length',
  },
  'te-trailing-tab': { body: 'hello', framing: 'chunked' },
  'te-case-and-ows': { body: 'hello', framing: 'chunked' },
  'te-on-get': { body: 'hello' },
  'te-named-in-connection': { body: 'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n' },
  'host-named-in-connection': { fields: { host: ['a.test'] } },
  'xff-named-in-connection': { fields: { ...FORWARDED_FIELDS, via: ['1.1 slotgate'] } },
  'connection-two-lines': { fields: { 'x-foo': [] } },
  'ext-valid-dropped': { body: 'hello', never: 'foo=bar' },
  'trailers-benign': { body: 'hello', fields: { trailer: [], te: [], 'x-checksum': [] }, never: 'abc' },
  'trailer-x-colon-post': { body: '', never: 'smuggled' },
  'extra-crlf-before-terminator': { body: '0\r\n\r\nGET / HTTP/1.1\r\n\r\n' },
  'chunked-then-pipelined': { lines: ['POST /', 'GET /second'] },
  'byte-after-last-chunk': { lines: ['POST /'], body: '' },
  'chunk-data-looks-like-request': {
    lines: ['POST /'],
    body: 'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n',
  },
  'pipelined-two': { lines: ['GET /1', 'GET /2'] },
  'pipelined-50': { lines: Array.from({ length: 50 }, (_, nth) => `GET /${nth}`) },
  'pipelined-after-close': { lines: ['GET /1'] },
  'http10-close-delimited-post': { lines: ['POST /'], body: '', never: 'smuggled' },
  'valid-then-invalid': { lines: ['GET /1'] },
  'post-trailing-crlf': { lines: ['POST /', 'GET /2'] },
  'expect-obfuscated': { fields: { expect: [] } },
  'expect-list': { fields: { expect: [] } },
  'expect-in-1.0': { fields: { expect: [] }, body: 'hello' },
  'expect-get-no-body': { fields: { expect: [] }, lines: ['GET /'] },
  'upgrade-pipelined-before-101': { fields: NO_UPGRADE },
  'upgrade-h2c': { fields: NO_UPGRADE },
  'upgrade-list-with-h2c': { never: 'h2c' },
  'upgrade-in-1.0': { fields: NO_UPGRADE },
  'options-max-forwards-5': { fields: { 'max-forwards': ['4'] } },
  'xff-spoof-untrusted': {
    fields: { ...FORWARDED_FIELDS, forwarded: [], 'x-real-ip': [] },
    never: 'evil.test',
  },
  'xff-underscore-spoof': {
    fields: { ...FORWARDED_FIELDS, x_forwarded_for: [], x_forwarded_proto: [] },
    never: '6.6.6.6',
  },
}

/** Fields that every request carries at the app, exactly once. */
const ALWAYS = ['host', 'via', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-request-id']
/** Fields of the client's connection, and what was answered on the way: they never get there. */
const NEVER = ['keep-alive', 'te', 'trailer', 'proxy-connection', 'expect']

/** Everything that is wrong with the requests that reached the app for this vector. */
function judgeForwarded({ name }: RequestVector, requests: readonly RecordedRequest[]): string[] {
  const problems: string[] = []
  for (const { fields, raw } of requests) {
    for (const one of ALWAYS)
      if (valuesIn(fields, one).length !== 1) problems.push(`not one ${one} in ${JSON.stringify(raw)}`)
    for (const one of NEVER)
      if (valuesIn(fields, one).length > 0) problems.push(`${one} in ${JSON.stringify(raw)}`)
  }
  const [first] = requests
  const wanted = FORWARDED[name]
  if (!wanted || !first) return problems
  const lines = requests.map(({ method, target }) => `${method} ${target}`)
  const differ = (what: string, got: unknown, want: unknown) => {
    if (want !== undefined && JSON.stringify(got) !== JSON.stringify(want)) {
      problems.push(`${what} is ${JSON.stringify(got)}, not ${JSON.stringify(want)}`)
    }
  }
  differ('what was asked', lines, wanted.lines)
  differ('the body', first.body, wanted.body)
  differ('the framing', first.framing, wanted.framing)
  for (const [one, values] of Object.entries(wanted.fields ?? {}))
    differ(one, valuesIn(first.fields, one), values)
  if (wanted.never !== undefined && first.raw.includes(wanted.never))
    problems.push(`${wanted.never} in ${JSON.stringify(first.raw)}`)
  return problems
}

const WAYS: Record<string, (vector: RequestVector) => Play> = {
  whole: wholePlay,
  'behind a valid request': behindValid,
}

const GROUPS = [...new Set(REQUESTS.map(({ group }) => group))].sort()

t.test('there are vectors, and each of those with more to say about is one of them', async (t) => {
  const names = new Set(REQUESTS.map(({ name }) => name))
  t.ok(names.size > 200)
  t.same(
    Object.keys(FORWARDED).filter((name) => !names.has(name)),
    [],
  )
})

for (const [way, playOf] of Object.entries(WAYS)) {
  for (const group of GROUPS) {
    t.test(`request vectors ${group}, ${way}, get their outcome and leave nothing behind`, async (t) => {
      const world = await startWorld(t)
      for (const vector of REQUESTS.filter((one) => one.group === group)) {
        const played = await playOne(world, playOf(vector))
        const requests = world.app.requests.filter(({ target }) => target !== '/valid')
        const problems = [...judgeForwarded(vector, requests), ...(await judge(world, vector, [played]))]
        t.same(problems, [], `${vector.name}: ${vector.why.slice(0, 80)}`)
      }
    })
  }
}
