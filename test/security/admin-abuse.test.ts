// Every way ADMIN.md lists to get past the admin door with a bent request: each is refused, and nothing is called.
import { createSecretKey } from 'node:crypto'
import t from 'tap'
import {
  alter,
  type Door,
  forge,
  freshNonce,
  knock,
  machine,
  openDoor,
  publicBytes,
  sha256,
  type WireRequest,
  wire,
  without,
} from '../admin/door.ts'

type Abuse = (door: Door) => WireRequest | string

const now = () => Math.floor(Date.now() / 1000)
const PROMOTE = '/v1/services/invoices/promote'
const STAGE = '/v1/services/invoices/stage'
const STAGE_BODY = '{"release":"r42"}'
const STATUS = '/v1/services/invoices'

const promote = (door: Door, forgery = {}) => forge(door, { method: 'POST', target: PROMOTE, ...forgery })
const stage = (door: Door, forgery = {}) =>
  forge(door, { method: 'POST', target: STAGE, body: STAGE_BODY, ...forgery })
const retarget = (request: WireRequest, target: string): WireRequest => ({ ...request, target })
const add = (request: WireRequest, name: string, value: string): WireRequest => ({
  ...request,
  fields: [...request.fields, [name, value]],
})

const COVERED = ['@method', '@authority', '@path', '@query', 'content-digest', 'content-type']
const L = 2n ** 252n + 27742317777372353535851937790883648493n

const littleEndian = (bytes: Buffer) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)

/** RFC 8032 §5.1.7: S must be below L; S + L satisfies the same equation. */
function addL(signature: string): string {
  const bytes = Buffer.from(signature.slice('slotgate=:'.length, -1), 'base64')
  const s = (littleEndian(bytes.subarray(32)) + L).toString(16).padStart(64, '0')
  const bent = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s, 'hex').reverse()])
  return `slotgate=:${bent.toString('base64')}:`
}

/** Sets the bits that the last base64 character leaves unused. */
function strayBits(signature: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  return signature.replace(/(.)==:$/, (_, last: string) => `${alphabet[alphabet.indexOf(last) + 1]}==:`)
}

const ABUSES: Record<string, Abuse> = {
  'no signature at all': (door) => without(without(promote(door), 'Signature'), 'Signature-Input'),
  'no Signature': (door) => without(promote(door), 'Signature'),
  'no Signature-Input': (door) => without(promote(door), 'Signature-Input'),
  'a wrong tag': (door) => promote(door, { params: { tag: 'web-bot-auth' } }),
  'two signatures': (door) => {
    const request = promote(door)
    const second = (value: string) => `${value}, other${value.slice('slotgate'.length)}`
    return alter(alter(request, 'Signature', second), 'Signature-Input', second)
  },
  'two Signature lines': (door) => {
    const request = promote(door)
    return add(request, 'Signature', request.fields.at(-1)?.[1] ?? '')
  },
  'labels that do not match': (door) => alter(promote(door), 'Signature', (value) => `x${value}`),
  'the signature of another call under its own label': (door) => {
    const other = promote(door, { params: { keyid: 'viewer' } })
    return alter(promote(door), 'Signature', () => other.fields.at(-1)?.[1] ?? '')
  },
  'a component twice': (door) => promote(door, { components: [...COVERED.slice(0, 5), '@path'] }),
  'a component with a parameter': (door) =>
    promote(door, { components: [...COVERED.slice(0, 4), '"content-digest";key="sha-256"'] }),
  'a component with a parameter beside all others': (door) =>
    promote(door, { components: [...COVERED.slice(0, 5), '"content-digest";key="sha-256"'] }),
  'an unknown component': (door) => promote(door, { components: [...COVERED.slice(0, 5), '@origin'] }),
  ...Object.fromEntries(
    COVERED.map((missing): [string, Abuse] => [
      `${missing} not covered`,
      (door) => stage(door, { components: COVERED.filter((name) => name !== missing) }),
    ]),
  ),
  'if-match sent but not covered': (door) => promote(door, { fields: [['If-Match', '"17"']] }),
  ...Object.fromEntries(
    ['created', 'expires', 'nonce', 'keyid', 'tag'].map((missing): [string, Abuse] => [
      `no ${missing}`,
      (door) => promote(door, { params: { [missing]: null } }),
    ]),
  ),
  'a parameter twice': (door) => {
    const params = `;created=${now()};expires=${now() + 60};nonce="${freshNonce()}";keyid="ops";tag="slotgate-admin-v1"`
    return promote(door, { rawParams: `${params};keyid="machine"` })
  },
  'alg that is not the algorithm of the key': (door) => promote(door, { params: { alg: 'hmac-sha256' } }),
  'alg that is not known': (door) => promote(door, { params: { alg: 'rsa-v1_5-sha256' } }),
  'an HMAC made with the public key': (door) => promote(door, { key: createSecretKey(publicBytes) }),
  'an HMAC made with the public key, and saying so': (door) =>
    promote(door, { key: createSecretKey(publicBytes), params: { alg: 'hmac-sha256' } }),
  'an unknown key': (door) => promote(door, { keyid: 'nobody' }),
  'the key of somebody else': (door) => promote(door, { keyid: 'machine' }),
  'created in the future': (door) => promote(door, { params: { created: now() + 30, expires: now() + 60 } }),
  expired: (door) => promote(door, { params: { created: now() - 60, expires: now() - 6 } }),
  'valid for too long': (door) => promote(door, { params: { expires: now() + 301 } }),
  'expires before created': (door) => promote(door, { params: { expires: now() - 1 } }),
  'created as text': (door) =>
    promote(door, {
      rawParams: `;created="1";expires=2;nonce="${freshNonce()}";keyid="ops";tag="slotgate-admin-v1"`,
    }),
  'a short nonce': (door) => promote(door, { params: { nonce: 'only-21-characters-12' } }),
  'an endless nonce': (door) => promote(door, { params: { nonce: 'n'.repeat(129) } }),
  'another body': (door) => ({ ...stage(door), body: '{"release":"r43"}' }),
  'a body where none was signed': (door) => ({ ...promote(door), body: '{}' }),
  'another body with its digest': (door) => ({
    ...alter(stage(door), 'Content-Digest', () => sha256('{"release":"r43"}')),
    body: '{"release":"r43"}',
  }),
  'no digest': (door) => without(stage(door), 'Content-Digest'),
  'a digest by md5 only': (door) => stage(door, { digest: 'md5=:X03MO1qnZdYdgyfeuILPmQ==:' }),
  'a digest by md5 beside a right one': (door) =>
    stage(door, { digest: `${sha256(STAGE_BODY)}, md5=:X03MO1qnZdYdgyfeuILPmQ==:` }),
  'a digest by an unknown hash only': (door) => stage(door, { digest: 'sha-3=:AAAA:' }),
  'one of two digests wrong': (door) =>
    stage(door, { digest: `${sha256(STAGE_BODY)}, sha-512=:${Buffer.alloc(64).toString('base64')}:` }),
  'a digest that is no dictionary': (door) =>
    stage(door, { digest: sha256(STAGE_BODY).replaceAll(':', '"') }),
  'the same digest twice': (door) => stage(door, { digest: `${sha256(STAGE_BODY)}, ${sha256(STAGE_BODY)}` }),
  'two digest lines': (door) => {
    const request = stage(door)
    return add(request, 'Content-Digest', sha256(STAGE_BODY))
  },
  'two digest lines, signed joined': (door) =>
    stage(door, { fields: [['Content-Digest', sha256(STAGE_BODY)]] }),
  'the method in lower case': (door) => ({ ...promote(door), method: 'post' }),
  'another method': (door) => ({ ...forge(door, { target: STATUS }), method: 'DELETE' }),
  'a path with dots': (door) => retarget(promote(door), '/v1/services/x/../invoices/promote'),
  'a path with two slashes': (door) => retarget(promote(door), `/${PROMOTE}`),
  'a path with an encoded letter': (door) => retarget(promote(door), PROMOTE.replace('promote', '%70romote')),
  'a path with an encoded dot': (door) =>
    retarget(promote(door), PROMOTE.replace('invoices', '%2e/invoices')),
  'a path in capitals': (door) => retarget(promote(door), PROMOTE.toUpperCase()),
  'an absolute target': (door) => retarget(promote(door), `${door.url}${PROMOTE}`),
  'another path': (door) => retarget(promote(door), '/v1/services/other/promote'),
  'a query in another order': (door) =>
    retarget(
      forge(door, { target: '/v1/history?limit=1&service=invoices' }),
      '/v1/history?service=invoices&limit=1',
    ),
  'another query': (door) => retarget(forge(door, { target: '/v1/history?limit=1' }), '/v1/history?limit=2'),
  'a query added': (door) => retarget(forge(door, { target: '/v1/history' }), '/v1/history?limit=2'),
  'a question mark added': (door) => retarget(promote(door), `${PROMOTE}?`),
  'a question mark, signed': (door) => promote(door, { target: `${PROMOTE}?` }),
  'Host in capitals': (door) =>
    alter(promote(door, { authority: `localhost:${door.port}` }), 'Host', (host) => host.toUpperCase()),
  'Host with another port': (door) => alter(promote(door), 'Host', () => `127.0.0.1:${door.port + 1}`),
  'Host with another name of this machine': (door) =>
    alter(promote(door), 'Host', () => `localhost:${door.port}`),
  'Host with the default port': (door) => promote(door, { authority: '127.0.0.1:80' }),
  'two Host lines': (door) => add(promote(door), 'Host', door.authority),
  'two Host lines, one of them hostile': (door) => add(promote(door), 'Host', 'evil.example'),
  'no Host': (door) => without(promote(door), 'Host'),
  'two Content-Type lines': (door) => add(stage(door), 'Content-Type', 'application/json'),
  'two Content-Type lines, signed joined': (door) =>
    stage(door, { fields: [['Content-Type', 'application/json']] }),
  'two If-Match lines, signed joined': (door) =>
    promote(door, {
      fields: [
        ['If-Match', '"17"'],
        ['If-Match', '"18"'],
      ],
      components: [...COVERED.slice(0, 5), 'if-match'],
    }),
  'two lines of any covered field, signed joined': (door) =>
    promote(door, {
      fields: [
        ['X-Thing', 'a'],
        ['X-Thing', 'b'],
      ],
      components: [...COVERED.slice(0, 5), 'x-thing'],
    }),
  'a folded header': (door) => wire(stage(door)).replace('Content-Type: ', 'Content-Type:\r\n '),
  'a folded digest': (door) => wire(stage(door)).replace('Content-Digest: ', 'Content-Digest:\r\n\t'),
  'an endless Signature-Input': (door) => promote(door, { params: { x: 'y'.repeat(1024) } }),
  'base64 with stray bits': (door) => alter(promote(door), 'Signature', strayBits),
  'base64 without padding': (door) => alter(promote(door), 'Signature', (value) => value.replace('==:', ':')),
  base64url: (door) => alter(promote(door), 'Signature', (value) => value.replace(/[+/]|.(?===:$)/, '-')),
  'a signature with a parameter': (door) => alter(promote(door), 'Signature', (value) => `${value};a=1`),
  'an Ed25519 signature with S + L': (door) => alter(promote(door), 'Signature', addL),
  'an empty signature': (door) => alter(promote(door), 'Signature', () => 'slotgate=::'),
  'a truncated signature': (door) =>
    alter(promote(door), 'Signature', (value) => `slotgate=:${value.slice(10, 50)}:`),
  'an HMAC of another secret': (door) =>
    promote(door, { keyid: 'machine', key: createSecretKey(Buffer.alloc(32, 1)) }),
  'a body on a GET': (door) =>
    wire(forge(door)).replace('Connection', 'Content-Length: 2\r\nConnection').concat('{}'),
  'a chunked body on a GET': (door) =>
    wire(forge(door)).replace('Connection', 'Transfer-Encoding: chunked\r\nConnection').concat('0\r\n\r\n'),
  'two framings': (door) =>
    wire(stage(door)).replace('Connection', 'Transfer-Encoding: chunked\r\nConnection'),
}

t.test('the unbent requests are accepted, so what is refused below is refused for its bend', async (t) => {
  const door = await openDoor(t)
  const upright: WireRequest[] = [
    promote(door),
    stage(door),
    forge(door, { target: STATUS }),
    forge(door, { target: '/v1/history?limit=1&service=invoices' }),
    promote(door, { fields: [['If-Match', '"17"']], components: [...COVERED.slice(0, 5), 'if-match'] }),
    promote(door, { params: { alg: 'ed25519' } }),
    promote(door, { keyid: 'machine', key: machine.privateKey }),
    stage(door, { digest: `${sha256(STAGE_BODY)}, sha-3=:AAAA:` }),
    promote(door, { params: { nonce: 'just-22-characters-123' } }),
    promote(door, { params: { expires: now() + 300 } }),
    promote(door, { params: { created: now() - 60, expires: now() - 2 } }),
    promote(door, { authority: `localhost:${door.port}` }),
  ]
  for (const request of upright) t.equal((await knock(door.port, request)).status, 200, wire(request))
  t.equal(door.calls.length, upright.length)
})

t.test('each abuse is refused with 400 or 401 and calls nothing', async (t) => {
  const door = await openDoor(t)
  for (const [name, abuse] of Object.entries(ABUSES)) {
    const { status, body } = await knock(door.port, abuse(door))
    t.ok(status === 400 || status === 401, `${name}: ${status} ${body}`)
    t.same(door.calls.splice(0), [], `${name} calls nothing`)
  }
})

t.test('an unknown key, a bad signature and an expired one get the very same answer', async (t) => {
  const door = await openDoor(t)
  const requests = ['an unknown key', 'the key of somebody else', 'expired', 'created in the future'].map(
    (name) => ABUSES[name]?.(door) ?? '',
  )
  requests.push(ABUSES['alg that is not the algorithm of the key']?.(door) ?? '')
  const answers = []
  for (const request of requests) {
    const { status, json } = await knock(door.port, request)
    answers.push({ status, json: { ...json, request_id: null } })
  }
  for (const answer of answers) t.same(answer, answers[0])
  t.match(answers[0], { status: 401, json: { code: 'signature_refused' } })
  const reasons = door.audit.map(({ reason }) => reason ?? '')
  for (const [at, reason] of [/unknown/, /not fit/, /expired/, /future/, /alg/].entries()) {
    t.match(reasons[at], reason, 'the audit log has the reason')
  }
})
