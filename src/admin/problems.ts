// Turns whatever went wrong into the answer the caller gets: a problem document (RFC 9457), or how to sign.

import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { RELEASE_NAME } from '../config/names.ts'
import { messageOf, SlotgateError, toProblem } from '../errors.ts'
import type { Logger } from '../log.ts'
import { ACCEPT_SIGNATURE, HOW_TO_SIGN, htmlPage, textPage } from './page.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** Makes errors of handlers, schemas and Fastify itself all leave in the same form. */
export function answerProblems(app: FastifyInstance, log: Logger, bodyLimitBytes: number): void {
  app.setSchemaErrorFormatter((errors, part) => schemaError(errors[0], part))
  app.setNotFoundHandler((request) => {
    throw new SlotgateError('unknown_route', { method: request.method, path: pathOf(request) })
  })
  app.setErrorHandler((error: FastifyError | SlotgateError, request, reply) => {
    const known = toSlotgateError(error, request, bodyLimitBytes)
    if (known.code === 'internal_error') {
      log.error({ err: error, request_id: request.id, actor: request.actor }, 'an admin call failed')
    }
    return sendProblem(known, request, reply)
  })
}

const pathOf = (request: FastifyRequest): string => (request.raw.url ?? '').replace(/\?.*/s, '')

export function sendProblem(
  error: SlotgateError,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const problem = { ...toProblem(error), request_id: request.id }
  reply.code(problem.status).header('cache-control', 'no-store').header('x-request-id', request.id)
  if (problem.status === 401) {
    reply
      .header('www-authenticate', 'Signature realm="slotgate"')
      .header('accept-signature', ACCEPT_SIGNATURE)
  }
  if (problem.retryable) reply.header('retry-after', '1')
  if (error.code === 'unsigned')
    return sendHowToSign({ ...problem, how_to_sign: HOW_TO_SIGN }, request, reply)
  return reply.type(PROBLEM_TYPE).send(jsonBytes(problem))
}

/** Bytes, because to text Fastify adds a charset, which this type does not have (RFC 9457 §6.1). */
const jsonBytes = (value: object, indent?: number): Buffer =>
  Buffer.from(`${JSON.stringify(value, null, indent)}\n`)

/** Somebody with curl or a browser reads this, so it is a page where a page was asked for, and laid out where not. */
function sendHowToSign(problem: object, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const accept = request.headers.accept ?? ''
  if (accept.includes('text/html')) return reply.type('text/html; charset=utf-8').send(htmlPage())
  if (accept.includes('text/plain')) return reply.type('text/plain; charset=utf-8').send(textPage())
  return reply.type(PROBLEM_TYPE).send(jsonBytes(problem, 2))
}

function toSlotgateError(
  error: FastifyError | SlotgateError,
  request: FastifyRequest,
  limitBytes: number,
): SlotgateError {
  if (error instanceof SlotgateError) return error
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new SlotgateError('body_too_large', { limit_bytes: limitBytes })
  }
  const status = error.statusCode ?? 500
  if (status >= 400 && status < 500) {
    return new SlotgateError('request_malformed', { detail: messageOf(error) })
  }
  return new SlotgateError('internal_error', { detail: messageOf(error), request_id: request.id })
}

interface Complaint {
  keyword: string
  instancePath: string
  params: Record<string, unknown>
  message?: string
  /** The value that does not fit. */
  data?: unknown
}

const RELEASE_FIELDS = ['/release', '/to']

/** Says of the first thing that does not fit the schema which field it is and what it should be. */
function schemaError(complaint: Complaint | undefined, part: string): SlotgateError {
  const { keyword = '', instancePath = '', params = {}, message = '', data } = complaint ?? {}
  if (
    keyword === 'pattern' &&
    params.pattern === RELEASE_NAME.source &&
    RELEASE_FIELDS.includes(instancePath)
  ) {
    return new SlotgateError('invalid_release_id', {
      field: instancePath.slice(1),
      got: JSON.stringify(data).slice(0, 160),
    })
  }
  const code = part === 'querystring' ? 'query_invalid' : 'body_invalid'
  if (keyword === 'required') {
    const field = String(params.missingProperty)
    return new SlotgateError(code, { detail: `${field} is missing`, field })
  }
  if (keyword === 'additionalProperties') {
    const field = String(params.additionalProperty)
    return new SlotgateError(code, { detail: `${field} is not known here`, field })
  }
  const field = instancePath.slice(1).replaceAll('/', '.')
  const allowed = Array.isArray(params.allowedValues) ? `: ${params.allowedValues.join(', ')}` : ''
  return new SlotgateError(code, { detail: `${field || 'it'} ${message}${allowed}`, ...(field && { field }) })
}
