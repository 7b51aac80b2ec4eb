// A collector of traces, which keeps what it was sent and answers as the test wants.
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { Scope } from './scope.ts'

export interface Collector {
  url: string
  /** What was sent to it, request by request. */
  readonly bodies: Sent[]
  /** The fields of the request that came last. */
  fields: IncomingHttpHeaders
  /** How it answers. */
  status: number
  /** Resolves when it is sent something. */
  asked: Promise<void>
  /** It takes everything, and never answers. */
  hangs: boolean
}

interface Sent {
  resourceSpans: { scopeSpans: { spans: Span[] }[] }[]
}

export interface Span {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  status?: { code: number }
  attributes: { key: string; value: Record<string, string | number> }[]
}

/** A collector that takes traces over OTLP/HTTP, as JSON. */
export async function startCollector(t: Scope): Promise<Collector> {
  const asked = Promise.withResolvers<void>()
  const collector = {
    url: '',
    bodies: [] as Sent[],
    fields: {} as IncomingHttpHeaders,
    status: 200,
    asked: asked.promise,
    hangs: false,
  }
  const server = createServer(async (request, response) => {
    const text = (await request.toArray()).join('')
    asked.resolve()
    collector.fields = request.headers
    if (collector.hangs) return
    if (request.url === '/v1/traces' && collector.status === 200) collector.bodies.push(JSON.parse(text))
    response.writeHead(collector.status).end('{}')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  collector.url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  return collector
}

export const spansOf = ({ bodies }: Collector): Span[] =>
  bodies.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
  )

export const attributesOf = ({ attributes }: Span): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
