// The access log: one line for each exchange, failed ones included, with the same field names every time.
import type { Logger } from '../log.ts'
import type { Exchange } from './exchange.ts'
import { pathOf } from './route.ts'

const round = (ms: number): number => Math.round(ms * 10) / 10

/** Longer ones are an attack or a mistake; the log need not keep either. */
const PATH_LIMIT = 1_024

/** Writes the line. The query is left out: tokens and people's data travel in it. */
export function logExchange(
  log: Logger,
  { request, requestId, known, bytes, ageMs, client }: Exchange,
): void {
  const { service, claim, release, status, upstreamMs, error } = known
  const code = error?.code
  const fields = {
    request_id: requestId,
    service,
    release,
    slot: claim?.slot,
    generation: claim?.generation,
    method: request.method,
    path: pathOf(request.url ?? '').slice(0, PATH_LIMIT),
    status: code === 'client_closed' ? 499 : (status ?? error?.entry.status),
    bytes,
    duration_ms: round(ageMs),
    upstream_ms: upstreamMs === undefined ? undefined : round(upstreamMs),
    client: known.client ?? client.remoteAddress,
    code,
    ...(error?.cause !== undefined && { err: error.cause }),
  }
  if (error && error.entry.blame !== 'client') log.warn(fields, 'exchange')
  else log.info(fields, 'exchange')
}
