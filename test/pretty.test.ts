// The log in a terminal: what reads well there, and JSON everywhere else.
import { execFileSync } from 'node:child_process'
import t from 'tap'
import { createPretty } from '../src/pretty.ts'

const LOG = new URL('../src/log.ts', import.meta.url).href

/** What a program writes that logs this, with these variables. */
function written(code: string, env: Record<string, string>): string {
  const script = `import { createLogger } from ${JSON.stringify(LOG)}; const log = createLogger(); ${code}`
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  })
}

const EXCHANGE = {
  level: 'info',
  time: '2026-11-23T08:00:00.123Z',
  request_id: 'a-1',
  service: 'invoices',
  release: 'r42',
  slot: 'blue',
  method: 'GET',
  path: '/invoices',
  status: 200,
  bytes: 2,
  duration_ms: 3.1,
  client: '127.0.0.1',
  msg: 'exchange',
}
const line = (more: object = {}): string => `${JSON.stringify({ ...EXCHANGE, ...more })}\n`

t.test('a request is one line that says who got what from whom', async (t) => {
  const pretty = createPretty(false)
  const shown = pretty(line() + line({ status: 502, level: 'warn', code: 'upstream_refused' }))
  const [good = '', bad = '', ...rest] = shown.split('\n')
  t.match(
    good,
    /^\[\d\d:\d\d:00\.123\] INFO: GET \/invoices 200 in 3\.1 ms, invoices r42 blue, for 127\.0\.0\.1$/,
  )
  t.match(bad, /WARN: GET \/invoices 502 in 3\.1 ms, .*, upstream_refused$/)
  t.same(rest, [''])
  t.match(pretty(line({ held_ms: 2.5, preview: true })), /for 127\.0\.0\.1, held for 2\.5 ms, a preview\n$/)
})

t.test('any other line is its sentence, with what belongs to it behind', async (t) => {
  const pretty = createPretty(false)
  const shown = pretty(line({ msg: 'r42 is live', generation: 7, client: undefined }))
  t.match(shown, /INFO: r42 is live .*"generation":7/)
  t.equal(shown.split('\n').length, 2)
  t.equal(pretty('no JSON\n'), 'no JSON\n')
})

t.test('a path cannot paint the terminal, nor begin another line', async (t) => {
  const shown = createPretty(false)(line({ path: '/\u001b[31m\nERROR' }))
  t.notMatch(shown, '\u001b')
  t.equal(shown.split('\n').length, 2)
})

t.test('LOG_FORMAT chooses; without a terminal it is JSON', async (t) => {
  const code = "log.info({ service: 'invoices' }, 'hello')"
  t.match(JSON.parse(written(code, {})), { level: 'info', service: 'invoices', msg: 'hello' })
  t.match(written(code, { LOG_FORMAT: 'pretty' }), /^\[[\d:.]+\] INFO: hello \{"service":"invoices"\}\n$/)
  t.equal(written(code, { LOG_FORMAT: 'pretty', LOG_LEVEL: 'silent' }), '')
})
