// A real admin server in front of a Control that only records, and raw sockets to knock with: what the tests of the
// door share. Requests are signed by hand here, so that a wrong one can be made as easily as a right one.
import { createHash, createHmac, createPrivateKey, createSecretKey, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { AuditLine } from '../../src/admin/audit.ts'
import type { Metrics } from '../../src/admin/metrics/metrics.ts'
import { type Admin, type AdminOptions, createAdmin } from '../../src/admin/server.ts'
import { ACTIONS, type AdminKey } from '../../src/config/types.ts'
import type { JournalRecord } from '../../src/journal/record.ts'
import { silentLogger } from '../../src/log.ts'
import type { SigningKey } from '../../src/signing.ts'
import type {
  AdviceResult,
  CheckResult,
  Control,
  PauseResult,
  PreviewResult,
  ServiceStatus,
  StageResult,
  SwitchResult,
} from '../../src/switch/types.ts'
import type { Scope } from '../support/scope.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/rfc9421.json', import.meta.url), 'utf8')) as {
  keys: { 'test-key-ed25519': { pkcs8DerBase64: string; jwk: { x: string } } }
}

const ed25519 = vectors.keys['test-key-ed25519']
export const privateKey = createPrivateKey({
  key: Buffer.from(ed25519.pkcs8DerBase64, 'base64'),
  format: 'der',
  type: 'pkcs8',
})
export const publicBytes = Buffer.from(ed25519.jwk.x, 'base64url')
export const secretBytes = createHash('sha256').update('a shared secret for tests').digest()

/** May do everything. */
export const ops: SigningKey = { id: 'ops', algorithm: 'ed25519', privateKey }
export const machine: SigningKey = {
  id: 'machine',
  algorithm: 'hmac-sha256',
  privateKey: createSecretKey(secretBytes),
}

export const adminKeys: readonly AdminKey[] = [
  { id: 'ops', algorithm: 'ed25519', material: publicBytes, allow: ACTIONS },
  { id: 'machine', algorithm: 'hmac-sha256', material: secretBytes, allow: ACTIONS },
  { id: 'viewer', algorithm: 'ed25519', material: publicBytes, allow: ['read'] },
  { id: 'stager', algorithm: 'ed25519', material: publicBytes, allow: ['read', 'stage'] },
]

const claims = { requests: 0, tunnels: 0 }
const verdict = {
  operation: 'promote',
  allowed: true,
  code: 'schema_ok',
  reasons: [],
  warnings: [],
  target: {
    release: 'r42',
    status: {
      current_schema_version: 42,
      code_min_schema_version: 41,
      code_max_schema_version: 43,
      compatible: true,
    },
  },
  live: null,
  evidence: 'probed',
  attempts: 1,
} as const satisfies CheckResult['verdict']

export const status: ServiceStatus = {
  service: 'invoices',
  generation: 17,
  live: {
    slot: 'blue',
    release: 'r41',
    state: 'running',
    healthy: true,
    detail: null,
    pid: 4711,
    boot_id: 'b1',
    public_urls: ['http://127.0.0.1:3001'],
    internal_url: 'http://127.0.0.1:3901',
    since: '2026-11-22T12:00:00.000Z',
    restarts: 0,
    taken_over: false,
    schema: {
      current: 42,
      min: 41,
      max: 43,
      compatible: true,
      in_range: true,
      pending_migrations: [],
      dirty: false,
      migration_running: false,
    },
    schema_problem: null,
    recorded_range: { min: 41, max: 43 },
    claims,
    previews: { requests: 0, tunnels: 0 },
  },
  idle: {
    slot: 'green',
    release: null,
    state: 'empty',
    healthy: false,
    detail: null,
    pid: null,
    boot_id: null,
    public_urls: [],
    internal_url: null,
    since: null,
    restarts: 0,
    taken_over: false,
    schema: null,
    schema_problem: { code: 'schema_status_unreachable', sentence: 'Nothing answers.' },
    recorded_range: null,
    claims,
    previews: claims,
  },
  door: {
    open: null,
    to: null,
    code: 'no_previous_release',
    sentence: 'There is nothing to go back to.',
    evidence: 'recorded',
  },
  operation: {
    operation: 'stage',
    release: 'r42',
    actor: 'ops',
    since: '2026-11-22T12:00:00.000Z',
    step: 'booting',
  },
  paused: { since: '2026-11-22T12:00:00.000Z', actor: 'ops', until: '2026-11-22T12:01:00.000Z', held: 3 },
  bake: null,
  draining: [
    {
      release: 'r40',
      slot: 'green',
      generation: 16,
      claims,
      requests_until: '2026-11-22T12:00:30.000Z',
      tunnels_until: '2026-11-22T12:05:00.000Z',
    },
  ],
  schema: { check: 'on', current: 42, warnings: [] },
  hosts: ['invoices.localhost'],
  path_prefix: '/',
}

export const staged: StageResult = {
  service: 'invoices',
  operation: 'stage',
  slot: 'green',
  release: 'r42',
  boot_id: 'b2',
  pid: 4712,
  public_urls: ['http://127.0.0.1:3002'],
  internal_url: 'http://127.0.0.1:3902',
  generation: 17,
  took_ms: 12.5,
}

export const checked: CheckResult = {
  service: 'invoices',
  operation: 'promote',
  release: 'r42',
  allowed: true,
  generation: 17,
  verdict,
}

export const advised: AdviceResult = {
  service: 'invoices',
  generation: 17,
  from: 43,
  to: 44,
  verdict: 'breaks_live',
  sentence: 'r43 works with schema 42 to 43 and serves: at 44 it would not work any more.',
  hint: 'Promote r44 first: it works with 43 and with 44.',
  live: 'r43',
  breaks: ['r43'],
  opens: [],
  highest_two_way: 43,
  per_release: [
    { release: 'r43', role: 'live', range: { min: 42, max: 43 }, fits_now: true, fits_then: false },
    { release: 'r44', role: 'staged', range: { min: 43, max: 44 }, fits_now: true, fits_then: true },
    { release: 'r42', role: 'previous', range: null, fits_now: null, fits_then: null },
  ],
  warnings: [],
  operation: null,
}

export const switched: SwitchResult = {
  service: 'invoices',
  operation: 'promote',
  generation: 18,
  live: { slot: 'green', release: 'r42' },
  previous: { slot: 'blue', release: 'r41' },
  verdict,
  attempts: 1,
  schema_before: 42,
  schema_after: 42,
  took_ms: 31,
}

export const paused: PauseResult = {
  service: 'invoices',
  operation: 'pause',
  generation: 17,
  paused: { since: '2026-11-22T12:00:00.000Z', actor: 'ops', until: null, held: 0 },
  claims: { requests: 2, tunnels: 1 },
}

export const previewed: PreviewResult = {
  service: 'invoices',
  operation: 'preview',
  generation: 17,
  release: 'r42',
  link: 'http://127.0.0.1:8080/app/.slotgate/preview?pass=1795000000.mac',
  until: '2026-11-22T13:00:00.000Z',
}

export const record: JournalRecord = {
  seq: 1,
  time: '2026-11-22T12:00:00.000Z',
  event: 'slotgate_started',
  actor: 'slotgate',
  prev: 'e3b0',
}

export interface Recorded {
  call: keyof Control
  args: unknown[]
}

/** Writes down what it is asked and answers the samples above; `overrides` replace single calls. */
export function recordingControl(overrides: Partial<Control> = {}): { control: Control; calls: Recorded[] } {
  const calls: Recorded[] = []
  const base: Control = {
    statuses: async () => ({ invoices: status }),
    status: async () => status,
    advice: async () => advised,
    stage: async () => staged,
    check: async () => checked,
    promote: async () => switched,
    rollback: async () => ({ ...switched, operation: 'rollback' }),
    deploy: async () => ({ ...switched, operation: 'deploy' }),
    pause: async () => paused,
    resume: async () => ({ ...paused, operation: 'resume', paused: null }),
    preview: async () => previewed,
    endPreviews: async () => ({ service: 'invoices', operation: 'end_previews', generation: 17 }),
    history: async () => [
      {
        seq: 1,
        time: '2026-11-22T12:00:00.000Z',
        event: 'slotgate_started',
        actor: 'slotgate',
        prev: 'e3b0',
      },
    ],
    events: async () => (async function* () {})(),
    ...overrides,
  }
  const control = new Proxy(base, {
    get(target, call: keyof Control) {
      return (...args: unknown[]) => {
        calls.push({ call, args })
        return Reflect.apply(target[call], target, args)
      }
    },
  })
  return { control, calls }
}

export interface Door {
  admin: Admin
  port: number
  /** `127.0.0.1:port`, as it goes into Host and @authority. */
  authority: string
  url: string
  calls: Recorded[]
  audit: AuditLine[]
}

type DoorOptions = Partial<Omit<AdminOptions, 'config' | 'control'>> & {
  keys?: readonly AdminKey[]
  overrides?: Partial<Control>
  tls?: { cert: string; key: string }
  /** 0: a free one. */
  port?: number
}

export const NO_METRICS: Metrics = { contentType: 'text/plain', text: async () => '' }

/** Opens an admin server on a free port and closes it when the test ends. */
export async function openDoor(t: Scope, options: DoorOptions = {}): Promise<Door> {
  const { keys = adminKeys, overrides, tls, port: wanted = 0, ...rest } = options
  const { control, calls } = recordingControl(overrides)
  const audit: AuditLine[] = []
  const admin = createAdmin({
    config: { listen: { host: '127.0.0.1', port: wanted }, keys, ...(tls && { tls }) },
    control,
    metrics: NO_METRICS,
    log: silentLogger(),
    audit: (line) => audit.push(line),
    acceptSignedAfterMs: 0,
    ...rest,
  })
  const { port } = await admin.listen()
  t.teardown(() => admin.close())
  const authority = `127.0.0.1:${port}`
  return { admin, port, authority, url: `${tls ? 'https' : 'http'}://${authority}`, calls, audit }
}

/** A request as it goes over the wire; tests bend it after it was signed. */
export interface WireRequest {
  method: string
  target: string
  fields: [name: string, value: string][]
  body: string
}

export interface Forgery {
  method?: string
  target?: string
  body?: string
  authority?: string
  /** In the order they are covered. */
  components?: string[]
  /** Replaces or, with null, leaves out parameters. */
  params?: Record<string, string | number | null>
  /** What comes after the list of components, in place of `params`. */
  rawParams?: string
  fields?: [string, string][]
  digest?: string
  key?: KeyObject
  keyid?: string
}

export const sha256 = (body: string): string =>
  `sha-256=:${createHash('sha256').update(body).digest('base64')}:`

let count = 0
export const freshNonce = (): string => `nonce-for-tests-${process.pid}-${String(++count).padStart(12, '0')}`

const COVERED = ['@method', '@authority', '@path', '@query', 'content-digest']

/** Signs by the letter of RFC 9421 §2.5, without any of the code under test. */
export function forge(door: { authority: string }, forgery: Forgery = {}): WireRequest {
  const { method = 'GET', target = '/v1/services', body = '', authority = door.authority } = forgery
  const fields: [string, string][] = [
    ['Host', authority],
    ['Content-Digest', forgery.digest ?? sha256(body)],
    ...(body ? ([['Content-Type', 'application/json']] as [string, string][]) : []),
    ...(forgery.fields ?? []),
  ]
  const covered = forgery.components ?? [...COVERED, ...(body ? ['content-type'] : [])]
  const now = Math.floor(Date.now() / 1000)
  const params = {
    created: now,
    expires: now + 60,
    nonce: freshNonce(),
    keyid: forgery.keyid ?? 'ops',
    tag: 'slotgate-admin-v1',
    ...forgery.params,
  }
  const list = covered.map((name) => (name.includes(';') ? name : `"${name}"`)).join(' ')
  const input = `(${list})${forgery.rawParams ?? serialize(params)}`
  const lines = covered.map((name) => {
    const id = name.includes(';') ? name : `"${name}"`
    return `${id}: ${componentOf(name, { method, target, authority, fields })}`
  })
  const base = [...lines, `"@signature-params": ${input}`].join('\n')
  fields.push(['Signature-Input', `slotgate=${input}`])
  fields.push(['Signature', `slotgate=:${signBase(forgery.key ?? privateKey, base).toString('base64')}:`])
  return { method, target, fields, body }
}

const serialize = (params: Record<string, string | number | null>): string =>
  Object.entries(params)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `;${name}=${typeof value === 'number' ? value : `"${value}"`}`)
    .join('')

export const signBase = (key: KeyObject, base: string): Buffer =>
  key.type === 'secret' ? createHmac('sha256', key).update(base).digest() : sign(null, Buffer.from(base), key)

export function componentOf(
  name: string,
  {
    method,
    target,
    authority,
    fields,
  }: { method: string; target: string; authority: string; fields: [string, string][] },
): string {
  const at = target.indexOf('?')
  if (name === '@method') return method
  if (name === '@authority') return authority
  if (name === '@path') return at < 0 ? target : target.slice(0, at)
  if (name === '@query') return at < 0 ? '?' : target.slice(at)
  return fields
    .filter(([field]) => field.toLowerCase() === name.replace(/^"|";.*$/g, ''))
    .map(([, value]) => (name.includes(';key="sha-256"') ? value.replace('sha-256=', '') : value))
    .join(', ')
}

/** Changes the value of the field with that name. */
export function alter(request: WireRequest, name: string, change: (value: string) => string): WireRequest {
  const fields = request.fields.map(([field, value]): [string, string] =>
    field.toLowerCase() === name.toLowerCase() ? [field, change(value)] : [field, value],
  )
  return { ...request, fields }
}

export const without = (request: WireRequest, name: string): WireRequest => ({
  ...request,
  fields: request.fields.filter(([field]) => field.toLowerCase() !== name.toLowerCase()),
})

export interface Answer {
  status: number
  headers: Record<string, string>
  body: string
  json: Record<string, unknown>
}

/** Sends exactly these bytes on a connection of its own and reads the answer to its end. */
export async function knock(port: number, request: WireRequest | string): Promise<Answer> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(typeof request === 'string' ? request : wire(request))
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return readAnswer(Buffer.concat(chunks).toString())
}

export function wire({ method, target, fields, body }: WireRequest): string {
  const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  const length = body || method !== 'GET' ? `Content-Length: ${Buffer.byteLength(body)}\r\n` : ''
  return `${method} ${target} HTTP/1.1\r\n${lines}${length}Connection: close\r\n\r\n${body}`
}

function readAnswer(text: string): Answer {
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const body = rest.join('\r\n\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  const isJson = body !== '' && headers['content-type']?.includes('json')
  return { status: Number(first.split(' ')[1]), headers, body, json: isJson ? JSON.parse(body) : {} }
}
