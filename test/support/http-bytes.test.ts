// What the readers of the vector tests are worth: strict bytes are read, others refused, and hidden second requests are found.
import t from 'tap'
import { ambiguities, completions, readAnswers, readRequest } from './http-bytes.ts'

const H = 'Host: a.test\r\n'
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n'

const WHOLE: Record<string, string> = {
  'no body': `GET /x?y=%zz HTTP/1.1\r\n${H}\r\n`,
  'a length': `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`,
  chunks: `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
}

t.test(
  'a strict reader reads what is plain, in any part of it asks for more, and leaves the rest',
  async (t) => {
    for (const [what, raw] of Object.entries(WHOLE)) {
      t.match(readRequest(raw + SMUGGLED), { kind: 'whole', request: { raw } }, what)
      for (let at = 0; at < raw.length; at++)
        t.equal(readRequest(raw.slice(0, at)).kind, 'part', `${what} to ${at}`)
      const reading = readRequest(raw)
      t.same(reading.kind === 'whole' && ambiguities(reading.request), [], what)
    }
  },
)

const WRONG: Record<string, string> = {
  'LF alone': `GET / HTTP/1.1\n${H}\r\n`,
  'HTTP/1.0': `GET / HTTP/1.0\r\n${H}\r\n`,
  'absolute form': `GET http://a.test/ HTTP/1.1\r\n${H}\r\n`,
  'no Host': 'GET / HTTP/1.1\r\n\r\n',
  'two Hosts': `GET / HTTP/1.1\r\n${H}${H}\r\n`,
  'a folded line': `GET / HTTP/1.1\r\n${H}X: a\r\n b\r\n\r\n`,
  'a space before the colon': `GET / HTTP/1.1\r\n${H}X : a\r\n\r\n`,
  'NUL in a value': `GET / HTTP/1.1\r\n${H}X: \0\r\n\r\n`,
  'length and chunks': `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'another coding': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'a signed length': `POST / HTTP/1.1\r\n${H}Content-Length: +5\r\n\r\nhello`,
  'a chunk extension': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0;x\r\n\r\n`,
  'a trailer': `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n`,
}

t.test('a strict reader refuses everything else', async (t) => {
  for (const [what, raw] of Object.entries(WRONG)) t.equal(readRequest(raw).kind, 'wrong', what)
})

/** Requests as a front door could pass them on, each with a second one in it for some careless server. */
const HIDING: Record<string, string> = {
  'LF alone': `GET / HTTP/1.1\r\n${H}X: a\n\n${SMUGGLED}\r\n`,
  'CR alone': `GET / HTTP/1.1\r\n${H}X: a\r\rGET /smuggled HTTP/1.1\r\r\r\n\r\n`,
  'TE wins': `POST / HTTP/1.1\r\n${H}Content-Length: ${5 + SMUGGLED.length}\r\nTransfer-Encoding : xchunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  'a name like TE': `POST / HTTP/1.1\r\n${H}Content-Length: ${5 + SMUGGLED.length}\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`,
  'the first CL wins': `POST / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
  'the last CL wins': `POST / HTTP/1.1\r\n${H}Content-Length: ${SMUGGLED.length}\r\nContent-Length: 0\r\n\r\n${SMUGGLED}`,
  'CL wins': `POST / HTTP/1.1\r\n${H}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\n\r\n`,
  '0.CL': `GET / HTTP/1.1\r\n${H}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
}

t.test('lenient readers find the second request', async (t) => {
  for (const [what, raw] of Object.entries(HIDING)) {
    const body = raw.slice(raw.indexOf('\r\n\r\n') + 4)
    const found = ambiguities({
      method: raw.split(' ')[0] ?? '',
      target: '/',
      fields: [],
      body,
      framing: 'length',
      raw,
    })
    t.ok(found.length > 0, what)
    t.match(found.join(), /smuggled/, what)
  }
})

t.test('the body of a POST is a body, whatever it looks like', async (t) => {
  const raw = `POST / HTTP/1.1\r\n${H}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`
  const reading = readRequest(raw)
  t.same(reading.kind === 'whole' && ambiguities(reading.request), [])
})

t.test('a part of a request is nothing whole, to the careless neither', async (t) => {
  t.same(completions(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`), [])
  t.ok(completions(`POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\n\n`).length > 0)
})

t.test('answers are read as a client reads them', async (t) => {
  const text = `HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nend`
  const { answers, rest } = readAnswers(text, true, ['HEAD', 'GET', 'GET'])
  t.equal(rest, '')
  t.match(answers, [
    { status: 103 },
    { status: 200, body: '', framing: 'none' },
    { body: 'ok', framing: 'chunked', whole: true },
    { body: 'end', framing: 'close', whole: true },
  ])
  t.match(readAnswers(text, false, ['HEAD']).answers.at(-1), { body: 'end', whole: false })
  t.match(readAnswers('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort', true).answers, [{ whole: false }])
  t.equal(readAnswers('HTTP/1.0 200 OK\r\n\r\n', true).rest, 'HTTP/1.0 200 OK\r\n\r\n')
})
