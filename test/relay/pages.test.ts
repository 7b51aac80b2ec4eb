// What a page is told while it is developed: which requests are for one, and what becomes of the head of its answer.
import t from 'tap'
import { allowing, annotated, askingForWhole, asksForPage, takesAppendix } from '../../src/relay/pages.ts'

const lines = (...fields: string[]): string => fields.map((field) => `${field}\r\n`).join('')
const HASH = "'sha256-x'"

t.test('a page is what somebody looks at, not a part that a script fetches', async (t) => {
  const html = 'Accept: text/html,application/xhtml+xml'
  t.ok(asksForPage('GET', lines('Host: x', html)))
  t.ok(asksForPage('HEAD', lines(html, 'Sec-Fetch-Dest: document')))
  t.notOk(asksForPage('GET', lines(html, 'Sec-Fetch-Dest: empty')))
  t.notOk(asksForPage('GET', lines(html, 'Sec-Fetch-Dest: iframe')))
  t.notOk(asksForPage('GET', lines('Accept: */*')))
  t.notOk(asksForPage('GET', lines('Host: x')))
  t.notOk(asksForPage('POST', lines(html)))
})

t.test('the app is asked for a whole page that is not encoded', async (t) => {
  const asked = askingForWhole(
    lines('Host: x', 'accept-encoding: gzip, br', 'If-None-Match: "a"', 'Range: bytes=0-', 'Cookie: a=b'),
  )
  t.equal(asked, lines('Host: x', 'Cookie: a=b', 'Accept-Encoding: identity'))
})

t.test('only an HTML body of plain octets is put something behind', async (t) => {
  const head = (...fields: string[]) => `HTTP/1.1 200 OK\r\n${lines(...fields)}\r\n`
  const html = 'content-type: text/html; charset=utf-8'
  t.ok(takesAppendix(200, head(html)))
  t.ok(takesAppendix(404, head('Content-Type: TEXT/HTML', 'Content-Encoding: identity')))
  t.notOk(takesAppendix(200, head('content-type: application/json')))
  t.notOk(takesAppendix(200, head('content-type: text/html-not')))
  t.notOk(takesAppendix(200, head()))
  t.notOk(takesAppendix(200, head('content-type: text/html; charset="UTF-16LE"')))
  t.notOk(takesAppendix(200, head(html, 'content-encoding: br')))
  t.notOk(takesAppendix(200, head(html, 'cache-control: public, no-transform')))
  for (const status of [204, 206, 304]) t.notOk(takesAppendix(status, head(html)), String(status))
})

t.test('the head says what is so of the body that is sent', async (t) => {
  const head = (...fields: string[]) => `HTTP/1.1 200 OK\r\n${lines(...fields)}\r\n`
  const came = head('ETag: "a"', 'X: y', 'slotgate-dev: forged', 'Content-Security-Policy: script-src x')
  t.equal(
    annotated(came, 'live="dev-1"', null),
    head('ETag: "a"', 'X: y', 'Content-Security-Policy: script-src x', 'slotgate-dev: live="dev-1"'),
    'the body is as the app wrote it, and so is what it says of that',
  )
  t.equal(
    annotated(came, 'live="dev-1"', HASH),
    head(
      'X: y',
      `Content-Security-Policy: script-src x; script-src-elem x ${HASH}`,
      'slotgate-dev: live="dev-1"',
    ),
  )
})

/** A policy, and what it becomes. */
const POLICIES: [policy: string, becomes: string][] = [
  ["default-src 'self'", `default-src 'self'; script-src-elem 'self' ${HASH}`],
  ["default-src 'none'", `default-src 'none'; script-src-elem ${HASH}`],
  [
    "default-src 'self'; script-src 'nonce-a' 'strict-dynamic'",
    `default-src 'self'; script-src 'nonce-a' 'strict-dynamic'; script-src-elem 'nonce-a' 'strict-dynamic' ${HASH}`,
  ],
  ["SCRIPT-SRC-ELEM a;  script-src 'none';", `script-src 'none'; script-src-elem a ${HASH}`],
  // It may run already, and a hash would take that from the app's own scripts.
  ["script-src 'self' 'unsafe-inline'", "script-src 'self' 'unsafe-inline'"],
  // A nonce has made 'unsafe-inline' void.
  [
    "script-src 'unsafe-inline' 'nonce-a'",
    `script-src 'unsafe-inline' 'nonce-a'; script-src-elem 'unsafe-inline' 'nonce-a' ${HASH}`,
  ],
  ["img-src 'self'", "img-src 'self'"],
  ['', ''],
  // Each of several has to allow it.
  [
    "default-src 'self', script-src b",
    `default-src 'self'; script-src-elem 'self' ${HASH}, script-src b; script-src-elem b ${HASH}`,
  ],
]

t.test('a policy lets the one script run, and nothing else than before', async (t) => {
  for (const [policy, becomes] of POLICIES) t.equal(allowing(policy, HASH), becomes, policy)
})
