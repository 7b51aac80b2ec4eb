// Traces: a request's place in one goes on to the app, and its span to a collector that may be away.
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { createLogger, silentLogger } from '../../src/log.ts'
import { SpanExporter } from '../../src/relay/spans.ts'
import { traceOf, traceparentOf } from '../../src/relay/trace.ts'
import { attributesOf, type Collector, spansOf, startCollector } from '../support/collector.ts'
import { dial, GET, H, hasAnswer, headOf, OK, startObserved } from './support.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const NEVER = 0
const ALWAYS = 1

const configOf = ({ url }: Collector, headers: Record<string, string> = {}) => ({ endpoint: url, headers })

t.test('a trace goes on, with its sampling, below a span of its own', async (t) => {
  for (const [flags, sampled] of [
    ['01', true],
    ['00', false],
    ['03', true],
  ] as const) {
    const trace = traceOf([`00-${TRACE}-${PARENT}-${flags}`], NEVER)
    t.match(trace, { traceId: TRACE, parentId: PARENT, sampled, spanId: /^[0-9a-f]{16}$/ })
    t.equal(traceparentOf(trace), `00-${TRACE}-${trace.spanId}-0${Number(sampled)}`)
  }
  t.match(traceOf([`cc-${TRACE}-${PARENT}-01-what-comes`], NEVER), { traceId: TRACE, sampled: true })
})

for (const received of [
  [],
  [''],
  ['nonsense'],
  [`00-${TRACE.toUpperCase()}-${PARENT}-01`],
  [`00-${'0'.repeat(32)}-${PARENT}-01`],
  [`00-${TRACE}-${'0'.repeat(16)}-01`],
  [`ff-${TRACE}-${PARENT}-01`],
  [`00-${TRACE}-${PARENT}-01-more`],
  [`00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-01`],
]) {
  t.test(`a trace begins here after ${JSON.stringify(received)}`, async (t) => {
    const trace = traceOf(received, ALWAYS)
    t.match(trace, { traceId: /^[0-9a-f]{32}$/, parentId: null, sampled: true })
    t.not(trace.traceId, TRACE)
    t.equal(traceOf(received, NEVER).sampled, false)
  })
}

for (const threads of [0, 1]) {
  t.test(`with ${threads} threads, a request’s span is sent, and the app is told of it`, async (t) => {
    const collector = await startCollector(t)
    const spans = new SpanExporter(configOf(collector), silentLogger())
    const { bench, seen } = await startObserved(t, { threads, spans, relay: { traceShare: NEVER } })
    const sent = `GET /a?token=1 HTTP/1.1\r\n${H}traceparent: 00-${TRACE}-${PARENT}-01\r\ntracestate: a=b\r\n\r\n`
    await dial(t, bench.port, sent).until(hasAnswer)
    await dial(t, bench.port, `GET /unsampled HTTP/1.1\r\n${H}tracestate: a=b\r\n\r\n`).until(hasAnswer)
    const line = await bench.logged(({ trace_id }) => trace_id === TRACE)
    // What waits is sent at the end, and not before its time.
    await bench.relay.close(0)
    await spans.close()
    const [span, ...others] = spansOf(collector)
    if (!span) return t.fail('there is a span')
    t.same(others, [])
    t.match(span, { traceId: TRACE, parentSpanId: PARENT, name: 'GET', kind: 2 })
    t.ok(BigInt(span.endTimeUnixNano) > BigInt(span.startTimeUnixNano))
    t.ok(Math.abs(Date.now() - Number(BigInt(span.endTimeUnixNano) / 1_000_000n)) < 60_000)
    t.match(attributesOf(span), {
      'http.request.method': 'GET',
      'http.response.status_code': '200',
      'url.path': '/a',
      'client.address': '127.0.0.1',
      'slotgate.release': 'r-blue',
      'slotgate.request_id': line.request_id,
    })
    const [first = '', second = ''] = seen.map((text) => JSON.stringify(headOf(text).fields))
    t.match(first, `["traceparent","00-${TRACE}-${span.spanId}-01"],`)
    t.match(first, '["tracestate","a=b"]')
    t.match(second, /\["traceparent","00-[0-9a-f]{32}-[0-9a-f]{16}-00"\]/)
    t.notMatch(second, 'tracestate', 'it belongs to no trace')
  })
}

t.test('where nobody wants traces, what the client says of them goes on as it came', async (t) => {
  const { bench, seen } = await startObserved(t)
  await dial(t, bench.port, `GET / HTTP/1.1\r\n${H}Traceparent: what ever\r\nTracestate: a=b\r\n\r\n`).until(
    hasAnswer,
  )
  t.match(seen[0], '\r\nTraceparent: what ever\r\nTracestate: a=b\r\n')
})

t.test('an answer of slotgate has a span, too, that says what it was', async (t) => {
  const collector = await startCollector(t)
  const spans = new SpanExporter(configOf(collector), silentLogger())
  const broken = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok'
  const answers = [OK, broken]
  const { bench, app } = await startObserved(
    t,
    { spans, relay: { traceShare: ALWAYS } },
    () => answers.shift() ?? '',
  )
  await dial(t, bench.port, `BREW / HTTP/1.1\r\n${H}\r\n`).until(hasAnswer)
  await bench.logged(({ code }) => code === 'not_implemented')
  await dial(t, bench.port, `GET / HTTP/1.1\r\n\r\n`).until(hasAnswer)
  await bench.logged(({ code }) => code === 'bad_request')
  for (const wire of [dial(t, bench.port, GET), dial(t, bench.port, GET)]) {
    await wire.until((text) => text.endsWith('ok'))
  }
  for (const socket of app.sockets) socket.destroy()
  await bench.logged(({ code }) => code === 'upstream_failed')
  await spans.close()
  const [span, refused, well, brokeOff] = spansOf(collector)
  if (!span || !brokeOff) return t.fail('there are spans')
  t.match(brokeOff, { status: { code: 2 } })
  t.match(attributesOf(brokeOff), { 'http.response.status_code': '200', 'error.type': 'upstream_failed' })
  for (const fine of [refused, well]) t.equal(fine?.status, undefined, 'a 4xx is the error of its client')
  t.match(span, { name: 'HTTP', status: { code: 2 } })
  t.match(attributesOf(span), {
    'http.request.method': '_OTHER',
    'http.request.method_original': 'BREW',
    'http.response.status_code': '501',
    'error.type': 'not_implemented',
  })
})

t.test('while the collector is away spans wait, and what is too many is counted as lost', async (t) => {
  const collector = await startCollector(t)
  collector.status = 503
  const lines: string[] = []
  const spans = new SpanExporter(
    configOf(collector),
    createLogger('info', { write: (some) => void lines.push(some) }),
  )
  const record = { trace_id: TRACE, span_id: PARENT, parent_id: null, ended_ms: 1_000, duration_ms: 1 }
  for (let nth = 0; nth < 5_000; nth++) spans.write(`${JSON.stringify(record)}\n`)
  spans.write(`${JSON.stringify({ lost: 7 })}\n`)
  t.equal(spans.dropped, 5_000 - 4_096 + 7)
  await spans.close()
  t.equal(spans.exported, 0)
  t.match(lines.join(''), 'it answered 503')
  collector.status = 200
  await spans.close()
  t.equal(spans.exported, 4_096)
  t.equal(spansOf(collector).length, 4_096)
  t.equal(lines.length, 2, 'that it is away is said once, and that it is back')
})

t.test('the collector gets the fields of the config, and the log does not', async (t) => {
  const collector = await startCollector(t)
  collector.status = 401
  const lines: string[] = []
  const log = createLogger('info', { write: (some) => void lines.push(some) })
  const spans = new SpanExporter(configOf(collector, { Authorization: 'Bearer s3cret' }), log)
  spans.write(
    `${JSON.stringify({ trace_id: TRACE, span_id: PARENT, parent_id: null, ended_ms: 1, duration_ms: 1 })}\n`,
  )
  await spans.close()
  t.match(collector.fields, { authorization: 'Bearer s3cret', 'content-type': 'application/json' })
  t.match(lines.join(''), 'it answered 401')
  t.notMatch(lines.join(''), 's3cret')
})

t.test('what the collector does not understand is not sent again', async (t) => {
  const collector = await startCollector(t)
  collector.status = 400
  const spans = new SpanExporter(configOf(collector), silentLogger())
  spans.write(
    `${JSON.stringify({ trace_id: TRACE, span_id: PARENT, parent_id: null, ended_ms: 1, duration_ms: 1 })}\n`,
  )
  await spans.close()
  t.equal(spans.dropped, 1)
})

t.test('a collector that hangs holds up the end for less than one of its requests', async (t) => {
  const collector = await startCollector(t)
  collector.hangs = true
  const spans = new SpanExporter(configOf(collector), silentLogger())
  const record = { trace_id: TRACE, span_id: PARENT, parent_id: null, ended_ms: 1, duration_ms: 1 }
  spans.write(`${JSON.stringify(record)}\n`.repeat(2_000))
  await collector.asked
  const closed = spans.close().then(() => 'closed')
  t.equal(await Promise.race([closed, pause(8_000, 'held up', { ref: false })]), 'closed')
})
