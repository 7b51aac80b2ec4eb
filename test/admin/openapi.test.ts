// The OpenAPI document: it lists every call, and the answers it promises are those that the types hold.
import { readFile } from 'node:fs/promises'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { openApi } from '../../scripts/openapi.ts'
import * as schemas from '../../src/admin/schemas.ts'
import { SlotgateError, toProblem } from '../../src/errors.ts'
import type { FeedEvent } from '../../src/switch/types.ts'
import { advised, checked, openDoor, paused, record, staged, status, switched } from './door.ts'

interface Operation {
  operationId: string
  summary: string
  security?: object[]
  parameters?: { name: string; in: string; required?: boolean }[]
  requestBody?: { content: Record<string, { schema: object }> }
  responses: Record<string, { description: string; content: Record<string, { schema: object }> }>
}

interface Document {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: object }
}

const CALLS = [
  'GET /healthz',
  'GET /metrics',
  'GET /openapi.json',
  'GET /v1/events',
  'GET /v1/history',
  'GET /v1/key',
  'GET /v1/services',
  'GET /v1/services/{service}',
  'GET /v1/services/{service}/advice',
  'POST /v1/keys/ephemeral',
  'POST /v1/services/{service}/check',
  'POST /v1/services/{service}/deploy',
  'POST /v1/services/{service}/pause',
  'POST /v1/services/{service}/preview',
  'POST /v1/services/{service}/preview/end',
  'POST /v1/services/{service}/promote',
  'POST /v1/services/{service}/resume',
  'POST /v1/services/{service}/rollback',
  'POST /v1/services/{service}/stage',
]

/** Of what is not JSON. */
const TYPES: Record<string, string> = { 'GET /v1/events': 'text/event-stream', 'GET /metrics': 'text/plain' }

const OPEN = ['GET /healthz', 'GET /openapi.json']

t.test('the document lists every call, with what it takes and answers', async (t) => {
  const door = await openDoor(t)
  const answer = await fetch(`${door.url}/openapi.json`)
  t.equal(answer.status, 200)
  const document = (await answer.json()) as Document
  t.match(document, { openapi: /^3\.1\./, info: { title: String, version: String } })
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      call: `${method.toUpperCase()} ${path}`,
      path,
      operation,
    })),
  )
  t.same(operations.map(({ call }) => call).sort(), CALLS)
  t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, CALLS.length)
  for (const { call, path, operation } of operations) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
    const given = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path')
    t.same(
      given.map(({ name, required }) => ({ name, required })),
      named.map((name) => ({ name, required: true })),
    )
    t.ok(operation.summary, `${call} has a summary`)
    const type = TYPES[call] ?? 'application/json'
    t.ok(operation.responses['200']?.content[type]?.schema, `${call} says what it answers`)
    t.ok(operation.responses['4XX']?.content['application/problem+json'], `${call} says how it refuses`)
    t.equal(operation.security !== undefined, !OPEN.includes(call), `${call} says whether it is signed`)
    t.equal(
      operation.requestBody !== undefined,
      call.startsWith('POST'),
      `${call} says whether it has a body`,
    )
  }
})

t.test('docs/openapi.json is this document', async (t) => {
  const file = await readFile(new URL('../../docs/openapi.json', import.meta.url), 'utf8')
  t.strictSame(JSON.parse(file), await openApi(t), 'else: sh scripts/run scripts/openapi.ts; npm run format')
})

t.test('docs/admin.md has every call', async (t) => {
  const docs = await readFile(new URL('../../docs/admin.md', import.meta.url), 'utf8')
  for (const call of CALLS) t.match(docs, `| \`${call.replace('{service}', ':service')}\` |`)
})

/** Each schema refuses unknown members, so a member that the types gain and the document lacks is found here. */
const SAMPLES: [name: string, schema: Record<string, unknown>, sample: object][] = [
  ['serviceStatus', schemas.serviceStatus, status],
  ['services', schemas.services, { services: { invoices: status } }],
  ['stageResult', schemas.stageResult, staged],
  ['adviceResult', schemas.adviceResult, advised],
  ['checkResult', schemas.checkResult, checked],
  ['switchResult', schemas.switchResult, switched],
  ['pauseResult', schemas.pauseResult, paused],
  ['history', schemas.history, { records: [record] }],
  [
    'keyResult',
    schemas.keyResult,
    { key: { id: 'ops', algorithm: 'ed25519', allow: ['read'], until: null } },
  ],
  ['health', schemas.health, { status: 'ok' }],
  ['problem', schemas.problem, { ...toProblem(new SlotgateError('shutting_down')), request_id: 'one' }],
]

/** @returns what asks a schema; it answers `fits`, or what does not */
function openSchema(t: Test, body: Record<string, unknown>): (payload: object) => Promise<string> {
  const app = fastify({ ajv: { customOptions: { coerceTypes: false, removeAdditional: false } } })
  t.teardown(() => app.close())
  app.post('/', { schema: { body } }, async () => 'fits')
  return async (payload) => (await app.inject({ method: 'POST', url: '/', payload })).body
}

for (const [name, body, sample] of SAMPLES) {
  t.test(`an answer fits the schema ${name}, and one with a member more or less does not`, async (t) => {
    const fits = openSchema(t, body)
    t.equal(await fits(sample), 'fits')
    t.match(await fits(Object.fromEntries(Object.entries(sample).slice(1))), 'must have required property')
    if (!body.additionalProperties) t.match(await fits({ ...sample, another: 1 }), 'must NOT have additional')
  })
}

const time = '2026-11-22T12:00:00.000Z'
const { operation } = status
if (!operation) throw new Error('the sample is under way')

/** One of each kind, so that a kind which the types gain is missed here. */
const EVENTS: { [Kind in FeedEvent['kind']]: Extract<FeedEvent, { kind: Kind }> } = {
  record: { kind: 'record', record },
  step: { kind: 'step', time, service: 'invoices', operation, state: 'failed', code: 'schema_behind_code' },
  output: {
    kind: 'output',
    time,
    service: 'invoices',
    slot: 'green',
    release: 'r42',
    from: 'setup',
    line: '42 packages',
  },
  traffic: {
    kind: 'traffic',
    time,
    service: 'invoices',
    slots: [
      {
        slot: 'green',
        release: null,
        claims: { requests: 0, tunnels: 0 },
        requests_per_s: 0.5,
        errors_per_s: 0,
        p50_ms: 1.5,
        p99_ms: null,
      },
    ],
  },
  live: { kind: 'live', seq: 0 },
  gap: { kind: 'gap', after: 3, next: 9 },
}

const fits = openSchema(t, schemas.feedEvent)

for (const event of Object.values(EVENTS)) {
  t.test(
    `an event fits its schema, and one with a member more or less does not: ${event.kind}`,
    async (t) => {
      t.equal(await fits(event), 'fits')
      t.not(await fits({ ...event, another: 1 }), 'fits')
      for (const name of Object.keys(event)) {
        const without = Object.entries(event).filter(([member]) => member !== name)
        t.not(await fits(Object.fromEntries(without)), 'fits', name)
      }
    },
  )
}

t.test('docs/admin.md has every kind of event', async (t) => {
  const docs = await readFile(new URL('../../docs/admin.md', import.meta.url), 'utf8')
  for (const [kind, event] of Object.entries(EVENTS))
    t.match(docs, `| \`${kind}\` | \`{${Object.keys(event).join(', ')}}\` |`)
})
