// Spans for an OpenTelemetry collector (OTLP 1.x over HTTP, as JSON), made of what the threads say of sampled exchanges. What
// cannot be sent waits, within a bound, and is then lost and counted: a collector must never hold up a request. Main thread.
import type { Config } from '../config/types.ts'
import { ERRORS, messageOf } from '../errors.ts'
import type { LineSink, Logger } from '../log.ts'
import type { SpanRecord } from './access.ts'

const BATCH = 512
const MOST_WAITING = 4_096
const EVERY_MS = 2_000
const AGAIN_MS = 5_000
const SEND_WITHIN_MS = 10_000
const LAST_WITHIN_MS = 2_000

/** OTLP: these may succeed later. */
const RETRYABLE = [429, 502, 503, 504]

/** What threads that lost lines say in their place. */
interface Lost {
  lost: number
}

/** Lives as long as slotgate. */
export class SpanExporter implements LineSink {
  readonly #url: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #log: Logger
  #waiting: object[] = []
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> = Promise.resolve()
  /** Calls off what is being sent. */
  readonly #enough = new AbortController()
  #isDown = false
  #closed = false
  exported = 0
  dropped = 0

  constructor({ endpoint, headers }: NonNullable<Config['tracing']>, log: Logger) {
    this.#url = `${endpoint}/v1/traces`
    this.#headers = { ...headers, 'content-type': 'application/json' }
    this.#log = log
  }

  /** Takes whole lines, each a `SpanRecord`. */
  write(lines: string): void {
    for (const line of lines.split('\n')) if (line !== '') this.#take(JSON.parse(line))
    if (this.#waiting.length > 0) this.#timer ??= setTimeout(() => this.#next(), EVERY_MS).unref()
  }

  #take(record: SpanRecord | Lost): void {
    if ('lost' in record) this.dropped += record.lost
    else if (this.#waiting.length >= MOST_WAITING) this.dropped += 1
    else this.#waiting.push(spanOf(record))
  }

  #next(): void {
    const limit = () => AbortSignal.any([this.#enough.signal, AbortSignal.timeout(SEND_WITHIN_MS)])
    this.#sending = this.#sendAll(limit).then((all) => {
      this.#timer = undefined
      if (this.#closed || this.#waiting.length === 0) return
      this.#timer = setTimeout(() => this.#next(), all ? EVERY_MS : AGAIN_MS).unref()
    })
  }

  /**
   * @param limit of each request
   * @returns whether all that waited has left
   */
  async #sendAll(limit: () => AbortSignal): Promise<boolean> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, BATCH)
      const problem = await this.#send(batch, limit())
      this.#say(problem)
      if (problem?.mayRetry) {
        this.#waiting.unshift(...batch)
        return false
      }
      if (problem) this.dropped += batch.length
      else this.exported += batch.length
    }
    return true
  }

  async #send(spans: readonly object[], signal: AbortSignal): Promise<Problem | null> {
    try {
      // Loaded here: who has no collector needs none of it.
      const { request } = await import('undici')
      const { statusCode, body } = await request(this.#url, {
        method: 'POST',
        headers: this.#headers,
        body: JSON.stringify(requestOf(spans)),
        signal,
      })
      await body.dump()
      if (statusCode < 300) return null
      return { detail: `it answered ${statusCode}`, mayRetry: RETRYABLE.includes(statusCode) }
    } catch (error) {
      return { detail: messageOf(error), mayRetry: true }
    }
  }

  /** Once when it begins, and once when it is over. */
  #say(problem: Problem | null): void {
    if (this.#isDown === (problem !== null)) return
    this.#isDown = problem !== null
    if (problem) this.#log.warn({ url: this.#url }, `the collector takes no spans: ${problem.detail}`)
    else this.#log.info({ url: this.#url, dropped: this.dropped }, 'the collector takes spans again')
  }

  /** Sends what waits, as much as the collector takes soon: the apps are still to be stopped after this. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    const soon = AbortSignal.timeout(LAST_WITHIN_MS)
    soon.addEventListener('abort', () => this.#enough.abort())
    await this.#sending
    await this.#sendAll(() => soon)
  }
}

interface Problem {
  detail: string
  mayRetry: boolean
}

const SERVER = 2
const ERROR = 2

/** RFC 9110 and PATCH, as the conventions name them; any other method is `_OTHER`. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH', 'QUERY']

const nanoseconds = (ms: number): string => String(BigInt(Math.round(ms * 1_000)) * 1_000n)

/**
 * Names by the semantic conventions for HTTP server spans; what they have no name for begins with `slotgate`.
 */
function spanOf(record: SpanRecord): object {
  const { trace_id: traceId, span_id: spanId, parent_id: parentId, ended_ms: endedMs } = record
  const { method, status = 0, code, duration_ms: tookMs } = record
  const known = method !== undefined && METHODS.includes(method)
  const failed = status >= 500 || code !== undefined
  // Also an answer that began well and broke off, unless by its client; a 4xx is no error of a server's span.
  const isBroken = status < 400 && code !== undefined && ERRORS[code].blame !== 'client'
  return {
    traceId,
    spanId,
    ...(parentId !== null && { parentSpanId: parentId }),
    name: known ? method : 'HTTP',
    kind: SERVER,
    startTimeUnixNano: nanoseconds(endedMs - tookMs),
    endTimeUnixNano: nanoseconds(endedMs),
    attributes: attributesOf({
      'http.request.method': known ? method : '_OTHER',
      'http.request.method_original': known ? undefined : method,
      'http.response.status_code': status || undefined,
      'error.type': failed ? (code ?? String(status)) : undefined,
      'url.scheme': 'http',
      'url.path': record.path,
      'client.address': record.client,
      'slotgate.service': record.service,
      'slotgate.release': record.release,
      'slotgate.slot': record.slot,
      'slotgate.generation': record.generation,
      'slotgate.request_id': record.request_id,
      'slotgate.upstream_ms': record.upstream_ms,
    }),
    ...((status >= 500 || isBroken) && { status: { code: ERROR } }),
  }
}

const attributesOf = (facts: Record<string, string | number | undefined>): object[] =>
  Object.entries(facts).flatMap(([key, value]) => (value === undefined ? [] : [{ key, value: typed(value) }]))

/** Whole numbers are strings in OTLP's JSON. */
function typed(value: string | number): object {
  if (typeof value === 'string') return { stringValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

const requestOf = (spans: readonly object[]): object => ({
  resourceSpans: [
    {
      resource: { attributes: attributesOf({ 'service.name': 'slotgate', 'process.pid': process.pid }) },
      scopeSpans: [{ scope: { name: 'slotgate' }, spans }],
    },
  ],
})
