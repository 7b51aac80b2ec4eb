// The door itself: what a request must pass before any route sees it. First what costs nothing, then the signature.
import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { AdminConfig } from '../config/types.ts'
import { type Code, type Facts, SlotgateError } from '../errors.ts'
import type { AuditLine } from './audit.ts'
import { type Fields, fieldsOf, has, single } from './fields.ts'
import type { Keyring } from './keyring.ts'
import { NonceStore } from './nonces.ts'
import { RateLimit } from './rate.ts'
import { innerReason, Refusal } from './refusal.ts'
import { claimedKeyId, type Policy, verifyRequest } from './signature.ts'

export interface GuardOptions {
  config: AdminConfig
  keyring: Keyring
  acceptAfterS: number
  audit: (line: AuditLine) => void
  isClosing: () => boolean
  now: () => number
}

/** Adds the hooks. Whatever they refuse never reaches a handler. */
export function guard(app: FastifyInstance, options: GuardOptions): void {
  const { config, audit, now, acceptAfterS } = options
  const limit = new RateLimit()
  const nonces = new NonceStore()
  const answersTo = hostRule(config)
  const scheme = config.tls ? 'https' : 'http'
  app.decorateRequest('actor', '')

  app.addHook('onRequest', async (request) => {
    const fields = fieldsOf(request.raw.rawHeaders)
    try {
      if (!limit.take(request.ip, now())) throw new Refusal('rate_limited', {})
      if (options.isClosing()) throw new Refusal('shutting_down', {})
      if (!answersTo(single(fields, 'host') ?? '')) throw new Refusal('host_not_allowed', {})
      if (isFromElsewhere(fields, scheme)) throw new Refusal('origin_refused', {})
      checkShape(request, fields)
    } catch (error) {
      audit(refusedLine(request, fields, error))
      throw error
    }
  })

  app.addHook('preValidation', async (request) => {
    const { needs } = request.routeOptions.config
    if (isOpen(request)) return
    const fields = fieldsOf(request.raw.rawHeaders)
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    const { method = '', url: target = '' } = request.raw
    // Verification runs on this thread without a pause, so there is never more than one at a time.
    const policy: Policy = { keys: options.keyring, nonces, acceptAfterS, now }
    try {
      const { key } = await verifyRequest({ method, target, scheme, fields, body }, policy)
      const missing = needs?.find((action) => !key.allow.includes(action))
      if (missing) throw new Refusal('not_allowed', { key_id: key.id, action: missing })
      request.actor = key.id
    } catch (error) {
      audit(refusedLine(request, fields, error))
      throw error
    }
    audit({ decision: 'accepted', ...lineOf(request, fields) })
    request.body = parseBody(body, single(fields, 'content-type'))
  })
}

/** A path without a route is not open: who may not call anything need not learn what there is to call. */
const isOpen = ({ is404, routeOptions }: FastifyRequest): boolean => !is404 && !routeOptions.config.needs

/**
 * Which names in `Host` are this listener's: loopback names, the configured address, and with TLS the names of the
 * certificate. A page that points its own domain at a loopback address (DNS rebinding) comes with that domain's name.
 */
export function hostRule({ listen, tls }: Omit<AdminConfig, 'keys'>): (host: string) => boolean {
  const names = new Set(['localhost', '127.0.0.1', '::1', listen.host.toLowerCase()])
  const certificate = tls && new X509Certificate(tls.cert)
  return (host) => {
    const name = host
      .toLowerCase()
      .replace(/:[0-9]*$/, '')
      .replace(/^\[(.*)\]$/, '$1')
    if (names.has(name)) return true
    if (!certificate || name === '') return false
    return (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined
  }
}

/** No page of another origin, and no page at all that cannot read the answer, has any business here. */
export function isFromPage(fields: Fields): boolean {
  return isBlind(fields) || has(fields, 'origin')
}

/** The same where there is a page that has: the one that is served here. Others may only lead to it. */
function isFromElsewhere(fields: Fields, scheme: string): boolean {
  const own = `${scheme}://${single(fields, 'host')}`
  if (fields.some(({ name, value }) => name === 'origin' && value !== own)) return true
  const [site, mode, dest] = ['site', 'mode', 'dest'].map((about) => single(fields, `sec-fetch-${about}`))
  if (site === 'same-origin' || site === 'none') return false
  const isVisit = mode === 'navigate' && (dest === undefined || dest === 'document')
  return isBlind(fields) || (site !== undefined && !isVisit)
}

const isBlind = (fields: Fields): boolean =>
  fields.some(({ name, value }) => name === 'sec-fetch-mode' && value.trim() === 'no-cors')

function checkShape({ raw, method }: FastifyRequest, fields: Fields): void {
  const refuse = (detail: string) => {
    throw new Refusal('request_malformed', { detail })
  }
  if (!raw.url?.startsWith('/')) refuse('the request target must be a path')
  if (has(fields, 'upgrade')) refuse('connections are not upgraded here')
  const hasBody = has(fields, 'transfer-encoding') || (single(fields, 'content-length') ?? '0') !== '0'
  if (hasBody && (method === 'GET' || method === 'HEAD')) refuse(`${method} takes no body`)
}

function lineOf(request: FastifyRequest, fields: Fields): Omit<AuditLine, 'decision'> {
  const { operationId } = (request.routeOptions.schema ?? {}) as { operationId?: string }
  return {
    action: operationId ?? null,
    key_id: request.actor || (claimedKeyId(fields) ?? null),
    peer: `${request.ip}:${request.socket.remotePort}`,
    request_id: request.id,
    method: request.method,
    target: (request.raw.url ?? '').slice(0, 300),
    digest: fields.find(({ name }) => name === 'content-digest')?.value ?? null,
  }
}

function refusedLine(request: FastifyRequest, fields: Fields, error: unknown): AuditLine {
  const code: Code = error instanceof SlotgateError ? error.code : 'internal_error'
  return {
    decision: code === 'replayed' ? 'replayed' : 'refused',
    ...lineOf(request, fields),
    code,
    reason: innerReason(error),
  }
}

/** Parses what was verified. Nothing at all counts as an empty object, so that the schema names what is missing. */
function parseBody(body: Buffer, contentType: string | undefined): unknown {
  const invalid = (detail: string, facts: Facts = {}) =>
    new SlotgateError('body_invalid', { detail, ...facts })
  if (body.length === 0) return {}
  if (contentType?.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
    throw invalid('its Content-Type must be application/json')
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    throw invalid('it is not JSON')
  }
}
