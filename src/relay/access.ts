// The access log: one line for each exchange, failed ones included, with the same field names every time. Runs in the
// thread of the exchange.
import type { RelayConfig } from '../config/types.ts'
import type { LineSink, Logger } from '../log.ts'
import type { Known } from './known.ts'
import { pathOf } from './route.ts'

interface AccessLog {
  readonly config: Pick<RelayConfig, 'accessLog' | 'accessLogOmit'>
  readonly log: Logger
  readonly lines: LineSink
}

const round = (ms: number): number => Math.round(ms * 10) / 10

/** Longer ones are an attack or a mistake; the log need not keep either. */
const PATH_LIMIT = 1_024

/** The query is left out: tokens and people's data travel in it. */
const shownPath = (target: string): string => pathOf(target).slice(0, PATH_LIMIT)

/** Writes the line, if the config wants it. Failures that are not the client's are written in any case. */
export function logExchange({ config, log, lines }: AccessLog, known: Known): void {
  const { error } = known
  const { accessLog, accessLogOmit: omit } = config
  if (error && error.entry.blame !== 'client') log.warn(fieldsOf(known, omit), 'exchange')
  else if (accessLog < 1 && Math.random() >= accessLog) return
  else if (!log.isLevelEnabled('info')) return
  else if (isPlain(known) && omit.length === 0) lines.write(goodLine(known))
  else log.info(fieldsOf(known, omit), 'exchange')
}

/** Whether `goodLine` has all that there is to say. */
const isPlain = ({ error, claim, heldMs, isPreview, trace }: Known): boolean =>
  !error && claim !== null && heldMs === 0 && !isPreview && trace === null

/** The status as it is logged and counted: the client's own going away has one that it never saw. 0: there is none. */
export function statusOf({ status, error }: Known): number {
  return error?.code === 'client_closed' ? 499 : status || (error?.entry.status ?? 0)
}

function fieldsOf(known: Known, omit: RelayConfig['accessLogOmit']) {
  const { service, claim, isPreview, release, method, target, upstreamMs, error } = known
  const code = error?.code
  return {
    request_id: known.requestId,
    trace_id: known.trace?.traceId,
    service,
    release,
    slot: claim?.slot,
    generation: isPreview ? undefined : claim?.generation,
    preview: isPreview || undefined,
    method: method || undefined,
    path: target === '' || omit.includes('path') ? undefined : shownPath(target),
    status: statusOf(known) || undefined,
    bytes: known.bytes,
    duration_ms: round(known.ageMs),
    upstream_ms: upstreamMs < 0 ? undefined : round(upstreamMs),
    held_ms: known.heldMs > 0 ? round(known.heldMs) : undefined,
    client: omit.includes('client') ? undefined : known.client,
    code,
    ...(error?.cause !== undefined && { err: error.cause }),
  }
}

/** What a span is made of: the line of its exchange, and its place in the trace. */
export interface SpanRecord extends ReturnType<typeof fieldsOf> {
  span_id: string
  parent_id: string | null
  /** Milliseconds since the epoch. */
  ended_ms: number
}

/** Hands on what a span is made of, if the exchange is one of a trace that somebody wants to see. */
export function traceExchange(spans: LineSink | null, config: RelayConfig, known: Known): void {
  const { trace } = known
  if (spans === null || !trace?.sampled) return
  const { err: _, ...fields } = { err: null, ...fieldsOf(known, config.accessLogOmit) }
  const record: SpanRecord = {
    ...fields,
    span_id: trace.spanId,
    parent_id: trace.parentId,
    ended_ms: Date.now(),
  }
  spans.write(`${JSON.stringify(record)}\n`)
}

let timeMs = 0
let time = ''

/** The time as pino writes it; made once for each millisecond. */
function isoTime(): string {
  const nowMs = Date.now()
  if (nowMs !== timeMs) {
    timeMs = nowMs
    time = new Date(nowMs).toISOString()
  }
  return time
}

/** What JSON has to escape in a path. What else may stand in a target goes as it is. */
const ESCAPED = /["\\]/g

/**
 * The line of an exchange that went well, the same that pino would write. It is made by hand because it is made for
 * every request, and a general serializer costs as much as reading the request.
 */
function goodLine(known: Known): string {
  const { claim } = known
  const path = shownPath(known.target).replace(ESCAPED, '\\$&')
  return `{"level":"info","time":"${isoTime()}","request_id":"${known.requestId}","service":"${known.service}","release":"${known.release}","slot":"${claim?.slot}","generation":${claim?.generation},"method":"${known.method}","path":"${path}","status":${known.status},"bytes":${known.bytes},"duration_ms":${round(known.ageMs)},"upstream_ms":${round(known.upstreamMs)},"client":"${known.client}","msg":"exchange"}\n`
}
