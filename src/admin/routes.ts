// The calls of the admin API (DESIGN §8): each is a schema, what a key needs to be allowed, and one call of Control.
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { checkKeyMaterial, parsePublicKey } from '../config/keys.ts'
import type { Action } from '../config/types.ts'
import { wholeNumber } from '../contract.ts'
import { SlotgateError } from '../errors.ts'
import type { CallContext, Control, Followed } from '../switch/types.ts'
import { type Keyring, LENT_FOR_MS } from './keyring.ts'
import type { Metrics } from './metrics/metrics.ts'
import * as schemas from './schemas.ts'
import type { Streams } from './streams.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the key must be allowed to do: all of these. Absent: the route is open to anybody. */
    needs?: readonly Action[]
  }
  interface FastifyRequest {
    /** The key id of a verified call; empty before and where none is needed. */
    actor: string
  }
}

interface ServiceParams {
  Params: { service: string }
}

const PROBLEM = {
  description: 'A problem document (RFC 9457); docs/errors.md lists the codes.',
  content: { 'application/problem+json': { schema: schemas.problem } },
}

const answers = (description: string, schema: object, type = 'application/json') => ({
  200: { description, content: { [type]: { schema } } },
  '4xx': PROBLEM,
  '5xx': PROBLEM,
})

/** Signed routes; the id names the call in the audit log and in the OpenAPI document. */
const signed = (id: string, needs: readonly Action[], summary: string, schema: object) => ({
  config: { needs },
  schema: {
    operationId: id,
    summary,
    description: needs.length === 0 ? 'Needs any key.' : `Needs a key that may ${needs.join(' and ')}.`,
    security: [{ signature: [] }],
    ...schema,
  },
})

/** Routes that change what runs take a condition, and name their service. */
const acting = (id: string, needs: readonly Action[], summary: string, body: object, result: object) =>
  signed(id, needs, summary, {
    params: schemas.serviceParams,
    headers: schemas.ifMatchHeader,
    body,
    response: answers('Done.', result),
  })

/**
 * @returns who calls and, from If-Match, on what condition
 * @throws if_match_invalid for anything but one strong entity tag that is a generation (RFC 9110 §13.1.1)
 */
function contextOf(request: FastifyRequest): CallContext {
  const { actor } = request
  const ifMatch = request.headers['if-match']
  if (ifMatch === undefined) return { actor }
  const digits = /^"(0|[1-9][0-9]{0,14})"$/.exec(ifMatch)?.[1]
  if (digits === undefined) throw new SlotgateError('if_match_invalid', { got: ifMatch })
  return { actor, ifGeneration: Number(digits) }
}

/** @returns the same of a switch, which may be an exclusive one */
const switchContextOf = (request: FastifyRequest<{ Body: { exclusive?: boolean } }>): CallContext => ({
  ...contextOf(request),
  ...(request.body.exclusive && { exclusive: true }),
})

/** What the calls are about. */
export interface Parts {
  control: Control
  streams: Streams
  metrics: Metrics
  keyring: Keyring
}

export function addRoutes(app: FastifyInstance, { control, streams, metrics, keyring }: Parts): void {
  addOpenRoutes(app)
  addReadingRoutes(app, control)
  addEventsRoute(app, control, streams)
  addMetricsRoute(app, metrics)
  addActingRoutes(app, control)
  addTrafficRoutes(app, control)
  addKeyRoutes(app, keyring, streams)
}

/** What anybody may read: that slotgate is up, and how to talk to it, which is what the documentation says as well. */
function addOpenRoutes(app: FastifyInstance): void {
  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'healthz',
        summary: 'Is slotgate up?',
        response: answers('It is.', schemas.health),
      },
    },
    async () => ({ status: 'ok' }),
  )
  app.get(
    '/openapi.json',
    {
      schema: {
        operationId: 'openapi',
        summary: 'This document.',
        response: answers('OpenAPI 3.1.', { type: 'object' }),
      },
    },
    async () => app.swagger(),
  )
}

function addReadingRoutes(app: FastifyInstance, control: Control): void {
  app.get(
    '/v1/services',
    signed('services', ['read'], 'The status of every service.', {
      response: answers('By name.', schemas.services),
    }),
    async () => ({ services: await control.statuses() }),
  )

  app.get<ServiceParams>(
    '/v1/services/:service',
    signed('status', ['read'], 'Pointer, slots, releases, health, schema, claims and door of a service.', {
      params: schemas.serviceParams,
      response: answers('The status; its ETag is the generation.', schemas.serviceStatus),
    }),
    async ({ params }, reply) => {
      const status = await control.status(params.service)
      reply.header('etag', `"${status.generation}"`)
      return status
    },
  )

  app.get<ServiceParams & { Querystring: { to: number } }>(
    '/v1/services/:service/advice',
    {
      ...signed('advice', ['read'], 'What a migration to a version would close.', {
        params: schemas.serviceParams,
        querystring: schemas.adviceQuery,
        response: answers('From what releases declared; nothing is booted.', schemas.adviceResult),
      }),
      preValidation: async (request) => readNumbers(request.query, ['to']),
    },
    async ({ params, query }) => control.advice(params.service, query.to),
  )

  app.get<{ Querystring: { service?: string; limit: number; before?: number } }>(
    '/v1/history',
    {
      ...signed('history', ['read'], 'The journal, newest first.', {
        querystring: schemas.historyQuery,
        response: answers(
          'Records; pass the last `seq` as `before` for those that came earlier.',
          schemas.history,
        ),
      }),
      preValidation: async (request) => readNumbers(request.query, ['limit', 'before']),
    },
    async ({ query }) => ({ records: await control.history(query) }),
  )
}

/** The events as a stream, until its reader or slotgate has enough. */
function addEventsRoute(app: FastifyInstance, control: Control, streams: Streams): void {
  app.get<{ Querystring: { service?: string; kinds: Followed[]; since?: number } }>(
    '/v1/events',
    {
      ...signed('events', ['read'], 'What happens, while it happens.', {
        querystring: schemas.eventsQuery,
        headers: schemas.lastEventIdHeader,
        response: answers(
          'Server-sent events; this is the `data` of each.',
          schemas.feedEvent,
          'text/event-stream',
        ),
      }),
      preValidation: async ({ query, headers }) => readEventsQuery(query, headers['last-event-id']),
    },
    async ({ query, actor }, reply) =>
      streams.send(actor, reply, (ending) => control.events({ ...query, ending })),
  )
}

function addMetricsRoute(app: FastifyInstance, metrics: Metrics): void {
  app.get(
    '/metrics',
    signed('metrics', ['read'], 'The metrics, as Prometheus reads them.', {
      response: answers('Text, docs/metrics.md has the names.', { type: 'string' }, 'text/plain'),
    }),
    async (_request, reply) => {
      // Bytes go out as they are.
      const text = Buffer.from(await metrics.text())
      return reply.header('content-type', metrics.contentType).send(text)
    },
  )
}

/** Who comes back says where it was, whatever the address says. */
function readEventsQuery(query: Record<string, unknown>, lastEventId: unknown): void {
  if (lastEventId !== undefined) query.since = lastEventId
  if (typeof query.kinds === 'string') query.kinds = query.kinds.split(',')
  readNumbers(query, ['since'])
}

/** A query holds text; what is no number stays text, and the schema names it. */
function readNumbers(query: Record<string, unknown>, names: readonly string[]): void {
  for (const name of names) {
    const number = wholeNumber(query[name])
    if (number !== null) query[name] = number
  }
}

function addActingRoutes(app: FastifyInstance, control: Control): void {
  app.post<ServiceParams & { Body: { release: string } }>(
    '/v1/services/:service/stage',
    acting(
      'stage',
      ['stage'],
      'Boot a release into the idle slot.',
      schemas.releaseBody,
      schemas.stageResult,
    ),
    async (request) => control.stage(request.params.service, request.body.release, contextOf(request)),
  )

  app.post<ServiceParams & { Body: { operation: 'promote' | 'rollback'; to?: string } }>(
    '/v1/services/:service/check',
    acting('check', ['read'], 'The verdict, without acting.', schemas.checkBody, schemas.checkResult),
    async (request) => {
      const { operation, to } = request.body
      return control.check(request.params.service, operation, to, contextOf(request))
    },
  )

  app.post<ServiceParams & { Body: { exclusive?: boolean } }>(
    '/v1/services/:service/promote',
    acting(
      'promote',
      ['promote'],
      'Gate the idle release, then flip.',
      schemas.promoteBody,
      schemas.switchResult,
    ),
    async (request) => control.promote(request.params.service, switchContextOf(request)),
  )

  app.post<ServiceParams & { Body: { to?: string; exclusive?: boolean } }>(
    '/v1/services/:service/rollback',
    acting(
      'rollback',
      ['rollback'],
      'Gate an earlier release, then flip back to it.',
      schemas.rollbackBody,
      schemas.switchResult,
    ),
    async (request) => control.rollback(request.params.service, request.body.to, switchContextOf(request)),
  )

  app.post<ServiceParams & { Body: { release: string; exclusive?: boolean } }>(
    '/v1/services/:service/deploy',
    acting('deploy', ['stage', 'promote'], 'Stage, then promote.', schemas.deployBody, schemas.switchResult),
    async (request) => control.deploy(request.params.service, request.body.release, switchContextOf(request)),
  )
}

/** What directs traffic without a switch. */
function addTrafficRoutes(app: FastifyInstance, control: Control): void {
  app.post<ServiceParams & { Body: { for_ms?: number } }>(
    '/v1/services/:service/pause',
    acting('pause', ['traffic'], 'Let new requests wait.', schemas.pauseBody, schemas.pauseResult),
    async (request) => control.pause(request.params.service, request.body.for_ms ?? null, contextOf(request)),
  )

  app.post<ServiceParams>(
    '/v1/services/:service/resume',
    acting('resume', ['traffic'], 'Let requests go on.', schemas.noBody, schemas.pauseResult),
    async (request) => control.resume(request.params.service, contextOf(request)),
  )

  app.post<ServiceParams & { Body: { for_ms: number } }>(
    '/v1/services/:service/preview',
    acting(
      'preview',
      ['traffic'],
      'Make a link to what is in the idle slot.',
      schemas.previewBody,
      schemas.previewResult,
    ),
    async (request) => control.preview(request.params.service, request.body.for_ms, contextOf(request)),
  )

  app.post<ServiceParams>(
    '/v1/services/:service/preview/end',
    acting(
      'endPreviews',
      ['traffic'],
      'Make every link to a preview void.',
      schemas.noBody,
      schemas.previewsEndResult,
    ),
    async (request) => control.endPreviews(request.params.service, contextOf(request)),
  )
}

/** What a key may do, and short-lived keys that may only read. */
function addKeyRoutes(app: FastifyInstance, keyring: Keyring, streams: Streams): void {
  app.get(
    '/v1/key',
    signed('key', [], 'What the key that signs this call may do.', {
      response: answers('Its id, and what it may do.', schemas.keyResult),
    }),
    async ({ actor }) => ({ key: keyring.view(actor) }),
  )

  app.post<{ Body: { public_key: string } }>(
    '/v1/keys/ephemeral',
    signed('lend_key', ['read'], 'Lend a key out that may only read, for an hour.', {
      body: schemas.lendBody,
      response: answers('The key, with its id.', schemas.keyResult),
    }),
    async ({ actor, body }) => {
      const key = keyring.lend(actor, publicKeyIn(body.public_key))
      const endGone = () => streams.end((id) => keyring.get(id) !== undefined)
      endGone()
      setTimeout(endGone, LENT_FOR_MS).unref()
      return { key }
    },
  )
}

/** @throws SlotgateError `body_invalid` */
function publicKeyIn(text: string): Uint8Array {
  const field = 'public_key'
  const bytes = parsePublicKey(text)
  const complaint = bytes
    ? checkKeyMaterial('ed25519', bytes)
    : 'it is not an Ed25519 public key, as 32 bytes in base64'
  if (bytes && complaint === null) return bytes
  throw new SlotgateError('body_invalid', { detail: `${field}: ${complaint}`, field })
}
