// What the relay takes, node:http takes, octet for octet, in both directions: on random messages and broken ones, in
// memory. `node bench/differential.ts` runs a million.
import '../support/without-domains.ts'
import fc from 'fast-check'
import t from 'tap'
import { Judge } from '../support/differential/judge.ts'
import { readRequests, readResponse } from '../support/differential/relay-reader.ts'
import { replay, runCases, VECTORS } from '../support/differential/run.ts'

/** A run is repeated by DIFFERENTIAL_SEED=… in the environment. */
const seed = Number(process.env.DIFFERENTIAL_SEED ?? Date.now() % 1_000_000)
t.comment(`DIFFERENTIAL_SEED=${seed}`)

const REQUESTS = 4_000
const RESPONSES = 2_500
/** Fewer, and the cases would say nothing: so many of them are taken, and compared with node:http. */
const TAKEN = 0.3

const judge = new Judge()
t.teardown(() => judge.close())

t.test('what failed once, or is meant to differ, comes out as it should', async (t) => {
  for (const vector of VECTORS) await t.resolves(replay(judge, vector), vector.name)
})

for (const [kind, tally, cases] of [
  ['requests', 'requests', REQUESTS],
  ['response', 'responses', RESPONSES],
] as const) {
  t.test(
    `${tally} that the relay takes are the same to node:http, as they come and as they go on`,
    async (t) => {
      const before = judge.tallies[tally]
      t.equal(await runCases(judge, { kind, cases, seed }), undefined)
      t.ok(judge.tallies[tally] - before > TAKEN * cases)
    },
  )
}

t.test('some of the requests were upgrades', async (t) => {
  t.ok(judge.tallies.upgrades > 0)
})

t.test('octets without any order are refused or waited for, and nothing else happens', async (t) => {
  const octet = fc.oneof(
    fc.constantFrom(...'GET / HTTP/1.1\r\n:0 5;="'),
    fc.nat(255).map((at) => String.fromCharCode(at)),
  )
  const begin = fc.constantFrom(
    '',
    'GET / HTTP/1.1\r\n',
    'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
  )
  const answer = fc.constantFrom('', 'HTTP/1.1 ', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
  const drawn = fc.tuple(begin, answer, fc.string({ unit: octet, maxLength: 40 }))
  const property = fc.property(drawn, ([request, response, rest]) => {
    const cuts = Array.from({ length: request.length + rest.length }, (_, at) => at)
    // Either would throw what it must not.
    readRequests(request + rest, cuts, false)
    readResponse(response + rest, cuts, { method: 'GET', minor: 1, closes: false })
  })
  const { failed, counterexample, errorInstance } = fc.check(property, { numRuns: 2_000, seed })
  t.notOk(failed, `${JSON.stringify(counterexample)} ${errorInstance}`)
})
