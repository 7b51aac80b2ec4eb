// What a person sees: the status at a glance, verdicts with their numbers, the journal.
import t from 'tap'
import { printAdvice } from '../../src/cli/print/advice.ts'
import { printHistory } from '../../src/cli/print/history.ts'
import { printPause, printStatus } from '../../src/cli/print/status.ts'
import { printCheck, printProblem, printStage, printSwitch } from '../../src/cli/print/verdict.ts'
import { columns, counted, span, styleFor, tame } from '../../src/cli/style.ts'
import { reason, SlotgateError, toProblem } from '../../src/errors.ts'
import { type AdviceFacts, adviceOn } from '../../src/gate/advice.ts'
import type { Verdict } from '../../src/gate/judge.ts'
import type { JournalRecord } from '../../src/journal/record.ts'
import type { SchemaView, ServiceStatus, SlotView } from '../../src/switch/types.ts'
import { checked, paused, staged, status, switched } from '../admin/door.ts'

const plain = styleFor({ write: () => {} }, {})
const NOW = Date.parse('2026-11-22T15:00:00.000Z')

const { live } = status
if (live === null) throw new Error('the sample has a live slot')

const view = (more: Partial<SlotView>): SlotView => ({ ...live, ...more })
const schema = (more: Partial<SchemaView>): SchemaView => ({
  current: 43,
  min: 42,
  max: 44,
  compatible: true,
  in_range: true,
  pending_migrations: [],
  dirty: false,
  migration_running: false,
  ...more,
})

const calm: ServiceStatus = {
  ...status,
  live: view({ slot: 'green', release: 'r43', schema: schema({}), claims: { requests: 3, tunnels: 1 } }),
  idle: view({ release: 'r42', schema: schema({ min: 41, max: 43 }), internal_url: 'unix:/run/blue.sock' }),
  door: {
    open: true,
    to: 'r42',
    code: null,
    sentence: 'A rollback to r42 would be allowed.',
    evidence: 'recorded',
  },
  operation: null,
  draining: [],
  paused: null,
  bake: null,
  schema: { check: 'on', current: 43, warnings: [] },
}

t.test('a status is read at a glance', async (t) => {
  t.equal(
    printStatus(calm, plain, NOW),
    `invoices   generation 17   schema 43   invoices.localhost /
  ● live  green  r43  healthy  [42–44] ✓  3 requests, 1 tunnel  up 3 h  internal http://127.0.0.1:3901
  ○ idle  blue   r42  healthy  [41–43] ✓  0 requests            up 3 h  internal unix:/run/blue.sock
    door open: A rollback to r42 would be allowed.`,
  )
})

t.test('a pause says until when, and what is still open', async (t) => {
  const { since } = paused.paused ?? {}
  const pause = { since: since ?? '', actor: 'ops', until: '2026-11-22T12:01:00.000Z', held: 0 }
  t.equal(
    printPause({ ...paused, paused: pause }, plain),
    '✓ invoices: new requests wait until 12:01:00 UTC\n  still open: 2 requests, 1 tunnel',
  )
  t.match(printPause(paused, plain), '✓ invoices: new requests wait until slotgate resume\n')
  t.equal(printPause({ ...paused, operation: 'resume', paused: null }, plain), '✓ invoices: requests go on')
  t.match(printPause({ ...paused, operation: 'resume' }, plain), 'when the exclusive switch has ended')
  const said = (view: ServiceStatus['paused']) =>
    printStatus({ ...calm, paused: view }, plain, Date.parse(pause.since) + 5_000)
  t.match(said({ ...pause, held: 12 }), 'paused by ops for 5 s until 12:01:00 UTC: 12 requests held')
  t.match(said({ ...pause, until: null, held: 1 }), 'paused by ops for 5 s: 1 request held')
})

t.test('a status says what is wrong', async (t) => {
  const warning = reason('live_slot_incompatible', { live_release: 'r43', min: 42, max: 44, current: 45 })
  const trouble: ServiceStatus = {
    ...calm,
    live: view({
      release: 'r43',
      state: 'restarting',
      healthy: false,
      detail: 'it exited with code 1',
      restarts: 2,
      schema: null,
      schema_problem: { code: 'schema_status_unreachable', sentence: 'Release r43 could not be asked.' },
      recorded_range: { min: 42, max: 44 },
    }),
    idle: view({
      slot: 'green',
      release: 'r44',
      healthy: false,
      detail: 'answered 503',
      schema: schema({ min: 46, max: 46, in_range: false, pending_migrations: ['046_x.sql'] }),
    }),
    door: { open: null, to: 'r42', code: null, sentence: 'Unknown.', evidence: 'recorded' },
    operation: {
      operation: 'deploy',
      release: 'r44',
      actor: 'ops',
      since: '2026-11-22T14:59:48.000Z',
      step: 'asking',
    },
    draining: status.draining,
    bake: {
      release: 'r43',
      until: '2026-11-22T15:04:00.000Z',
      requests: 1,
      failed: 1,
      former: { release: 'r42', requests: 2_000, failed: 3 },
      max_error_ratio: 0.02,
      min_requests: 50,
    },
    schema: { check: 'on', current: null, warnings: [warning] },
  }
  t.equal(
    printStatus(trouble, plain, NOW),
    `invoices   generation 17   schema unknown   invoices.localhost /
  ● live  blue   r43  restarting   [42–44] ✗ no usable status   0 requests  up 3 h, 2 restarts  internal http://127.0.0.1:3901
  ○ idle  green  r44  not healthy  [46–46] ✗ needs 46 or newer  0 requests  up 3 h              internal http://127.0.0.1:3901
    r43: it exited with code 1
    Release r43 could not be asked.
    r44: answered 503
    not run yet: 046_x.sql (in r44)
    ! ${warning.sentence}
    deploy of r44 by ops for 12 s: asking
    r40 in green drains: 0 requests until 12:00:30 UTC, 0 tunnels until 12:05:00 UTC
    r43 is on trial until 15:04:00 UTC: 1 of 1 request failed; r42 before it: 3 of 2000
    door unknown: Unknown.`,
  )
})

t.test(
  'what both releases have not run yet is said once, and what could be cleaned up without alarm',
  async (t) => {
    const pending = { pending_migrations: ['044_x.sql'] }
    const warnings = [
      reason('pending_migrations', {
        release: 'r43',
        pending: '044_x.sql',
        internal_url: 'http://127.0.0.1:3901',
      }),
      reason('orphaned_migrations', { release: 'r43', orphans: '043_y.sql' }),
    ]
    const text = printStatus(
      {
        ...calm,
        live: view({ release: 'r43', schema: schema(pending) }),
        idle: view({ release: 'r44', schema: schema(pending) }),
        schema: { check: 'on', current: 43, warnings },
      },
      plain,
      NOW,
    )
    t.strictSame(text.split('\n').slice(3, -1), [
      '    not run yet: 044_x.sql (in r43 and r44)',
      '    Applied, but release r43 works without: 043_y.sql.',
    ])
  },
)

t.test('a status before the first promotion says what to do', async (t) => {
  const text = printStatus({ ...calm, live: null, idle: status.idle, generation: 0 }, plain, NOW)
  t.match(text, 'nothing is live yet: slotgate deploy RELEASE')
  t.match(text, /○ idle {2}green {2}– {2}empty/)
})

t.test('a range says how it fails', async (t) => {
  const cell = (more: Partial<SchemaView>) =>
    printStatus({ ...calm, live: view({ schema: schema(more) }) }, plain, NOW).split('\n')[1]
  t.match(cell({ current: 41 }), '[42–44] ✗ needs 42 or newer')
  t.match(cell({ current: 45 }), '[42–44] ✗ does not know 45')
  t.match(cell({ compatible: false }), '[42–44] ✗ says it is not compatible')
  t.match(cell({ dirty: true }), '[42–44] ✗ a migration was applied in part')
  t.match(cell({ migration_running: true }), '[42–44] ✗ a migration is running')
})

t.test('an allowed check shows both releases against the version', async (t) => {
  const { target } = checked.verdict
  const verdict = { ...checked.verdict, live: { ...target, release: 'r41' } }
  t.equal(
    printCheck({ ...checked, verdict }, plain),
    `✓ invoices: r42 may be promoted now
  schema 42   r42 [41–43] ✓   live r41 [41–43] ✓`,
  )
})

t.test('a warning comes with its hint and its command', async (t) => {
  const facts = { release: 'r42', pending: ['043_x.sql'], internal_url: 'unix:/run/app one.sock' }
  const verdict = { ...checked.verdict, warnings: [reason('pending_migrations', facts)] }
  t.equal(
    printCheck({ ...checked, verdict }, plain),
    `✓ invoices: r42 may be promoted now
  schema 42   r42 [41–43] ✓
  Release r42 ships migrations that have not run: 043_x.sql.
    When it suits: curl -X POST --unix-socket '/run/app one.sock' http://localhost/migrations/run`,
  )
})

t.test('pending migrations are named once', async (t) => {
  const facts = {
    release: 'r43',
    pending: ['043_x.sql'],
    min: 43,
    max: 44,
    current: 42,
    internal_url: 'http://127.0.0.1:3902',
  }
  const reasons = [reason('schema_behind_code', facts)]
  const warnings = [reason('pending_migrations', facts)]
  const verdict: Verdict = {
    ...checked.verdict,
    allowed: false,
    code: 'schema_behind_code',
    reasons,
    warnings,
  }
  const text = printCheck({ ...checked, allowed: false, verdict }, plain)
  t.equal(text.split('043_x.sql').length, 2)
  t.match(text, 'curl -X POST http://127.0.0.1:3902/migrations/run')
})

t.test('a refused rollback does not send anybody to a rehearsal that is gone', async (t) => {
  const facts = { release: 'r40', min: 43, max: 44, current: 42, internal_url: 'http://127.0.0.1:3999' }
  const verdict: Verdict = {
    ...checked.verdict,
    operation: 'rollback',
    allowed: false,
    code: 'schema_behind_code',
    reasons: [reason('schema_behind_code', facts)],
  }
  const text = printCheck({ ...checked, operation: 'rollback', allowed: false, verdict }, plain)
  t.match(text, /^✗ invoices: r42 must not be rolled back to now \(schema_behind_code\)/)
  t.notMatch(text, 'curl')
})

t.test('a rollback refused from the recorded range says so', async (t) => {
  const reasons = [
    reason('schema_ahead_of_code', { release: 'r40', min: 40, max: 41, current: 42, ahead_hint: 'Go on.' }),
  ]
  const target = { release: 'r40', status: null }
  const verdict: Verdict = {
    ...checked.verdict,
    operation: 'rollback',
    allowed: false,
    code: 'schema_ahead_of_code',
    reasons,
    target,
    evidence: 'recorded',
  }
  t.match(
    printCheck({ ...checked, operation: 'rollback', release: 'r40', allowed: false, verdict }, plain),
    '(schema_ahead_of_code, by the range it declared earlier)',
  )
})

t.test('after a rollback the way to the release that was live is forward', async (t) => {
  const { live: former } = switched
  const back = {
    ...switched,
    operation: 'rollback' as const,
    live: { slot: 'blue' as const, release: 'r41' },
  }
  t.match(
    printSwitch({ ...back, previous: former }, plain),
    '  before: r42 in green; forward to it again: slotgate promote',
  )
  const again = printSwitch({ ...switched, previous: { slot: 'blue', release: 'r42' } }, plain)
  t.match(again, /^ {2}before: r42 in blue$/m)
})

t.test('the release that was live is not called live any more', async (t) => {
  const { target } = checked.verdict
  const verdict = { ...checked.verdict, live: { ...target, release: 'r41' } }
  t.match(printSwitch({ ...switched, verdict }, plain), 'schema 42   r42 [41–43] ✓   before r41 [41–43] ✓')
})

t.test('what was done is told with what comes next', async (t) => {
  t.equal(
    printSwitch(switched, plain),
    `✓ invoices: r42 is live in green (generation 18, 31 ms)
  before: r41 in blue; back to it: slotgate rollback
  schema 42   r42 [41–43] ✓`,
  )
  t.equal(
    printStage(staged, plain),
    `✓ invoices: r42 runs in green, the idle slot (13 ms)
  internal: http://127.0.0.1:3902
  next: slotgate promote`,
  )
})

t.test('a boot that failed shows the last lines of the app, which cannot drive the terminal', async (t) => {
  const error = new SlotgateError('target_boot_failed', {
    release: 'r42',
    detail: 'it exited with code 1',
    output: ['listening', '\x1b[2J\x1b]0;owned\x07boom\r'],
  })
  t.equal(
    printProblem(toProblem(error), plain),
    `✗ Release r42 did not start: it exited with code 1. (target_boot_failed)
  Nothing was switched. See the last lines it wrote.
  last lines of its output:
    │ listening
    │ boom `,
  )
})

t.test('a refused rollback that was not booted is not said to have failed to answer', async (t) => {
  const primary = reason('schema_ahead_of_code', {
    release: 'r40',
    min: 40,
    max: 41,
    current: 42,
    ahead_hint: 'Go on.',
  })
  const verdict: Verdict = {
    ...checked.verdict,
    operation: 'rollback',
    allowed: false,
    code: 'schema_ahead_of_code',
    reasons: [primary],
    target: { release: 'r40', status: null },
    live: checked.verdict.target,
    evidence: 'recorded',
  }
  const text = printProblem(
    toProblem(new SlotgateError('schema_ahead_of_code', { ...primary, verdict })),
    plain,
  )
  t.match(text, '(schema_ahead_of_code, by the range it declared earlier)')
  t.match(text, 'schema 42   r40 was not asked   live r42 [41–43] ✓')
  t.match(text, '  Nothing was switched: r42 is live.\n')
})

t.test('the journal reads downwards, the newest last', async (t) => {
  const record = (more: Partial<JournalRecord>): JournalRecord => ({
    seq: 1,
    time: '2026-11-22T12:00:00.000Z',
    event: 'staged',
    actor: 'ops',
    service: 'invoices',
    prev: '',
    ...more,
  })
  const records = [
    record({ seq: 3, event: 'refused', release: 'r43', operation: 'promote', code: 'schema_behind_code' }),
    record({
      seq: 2,
      event: 'flipped',
      slot: 'green',
      release: 'r42',
      generation: 2,
      operation: 'promote',
      from: { release: 'r41' },
    }),
    record({ slot: 'green', release: 'r42' }),
  ]
  t.equal(
    printHistory(records, plain),
    `#1  2026-11-22 12:00:00  staged   invoices  green  r42         by ops
#2  2026-11-22 12:00:00  flipped  invoices  green  r42  gen 2  by ops  promote: from r41
#3  2026-11-22 12:00:00  refused  invoices         r43         by ops  promote: schema_behind_code`,
  )
  const lines = [
    record({ event: 'paused' }),
    record({ event: 'paused', until: '2026-11-22T12:01:00.000Z' }),
    record({ event: 'resumed', exclusive: true, release: 'r43' }),
    record({ event: 'drained', cut: { requests: 0, tunnels: 0 } }),
    record({ event: 'drained', cut: { requests: 1, tunnels: 2 } }),
  ].map((one) => printHistory([one], plain).replace(/^.* by /, ''))
  t.same(lines, [
    'ops',
    'ops  until 2026-11-22 12:01:00',
    'ops  for an exclusive switch',
    'ops',
    'ops  cut: 1 request, 2 tunnels',
  ])
  t.equal(printHistory([], plain), 'The journal is empty.')
})

t.test('colour is for terminals without NO_COLOR', async (t) => {
  const sink = (isTTY: boolean) => ({ isTTY, write: () => {} })
  t.equal(styleFor(sink(true), {}).red('x'), '\x1b[31mx\x1b[0m')
  t.equal(styleFor(sink(true), { NO_COLOR: '1' }).red('x'), 'x')
  t.equal(styleFor(sink(false), {}).red('x'), 'x')
})

t.test('the small things', async (t) => {
  t.strictSame(
    columns([
      ['a', '\x1b[31mbb\x1b[0m', 'c'],
      ['aaa', 'b'],
    ]),
    ['a    \x1b[31mbb\x1b[0m  c', 'aaa  b'],
  )
  t.strictSame([0, 999, 59_999, 60_000, 7_200_000, 200_000_000].map(span), [
    '0 s',
    '0 s',
    '59 s',
    '1 min',
    '2 h',
    '2 d',
  ])
  t.strictSame(
    [0, 1, 2].map((n) => counted(n, 'request')),
    ['0 requests', '1 request', '2 requests'],
  )
  t.equal(tame('a\nb\tc\x9bd'), 'a b c d')
})

const advice = (more: Partial<AdviceFacts>) => {
  const facts: AdviceFacts = {
    to: 44,
    current: 43,
    live: { release: 'r43', range: { min: 42, max: 43 } },
    previous: [{ release: 'r42', range: { min: 41, max: 42 } }],
    staged: null,
    schemaOff: false,
    ...more,
  }
  return printAdvice({ service: 'invoices', generation: 3, operation: null, ...adviceOn(facts) }, plain)
}

t.test(
  'advice is drawn: the versions, a bar for each release, where the schema is, and the door',
  async (t) => {
    t.equal(
      advice({ staged: { release: 'r44', range: { min: 44, max: 44 } } }),
      `✗ invoices: a migration to 44 would break r43, which serves (breaks_live)
  r43 works with schema 42 to 43 and serves: at 44 it would not work any more.
  No order of promote and migrate avoids an outage: ship an intermediate release whose range contains 43 and 44.

                   41   42   43   44
  ● live      r43       ━━━━━┿    ✗      [42–43] stops fitting
  ○ staged    r44            │    ✓      [44–44] begins to fit
    previous  r42  ━━━━━━    │    ✗      [41–42] fits neither
    door                     │    ✗      closed
                             now  to
  ! No schema version suits both the live release r43 (42 to 43) and release r44 (44 to 44).`,
    )
  },
)

t.test('advice says what is not known with a question mark, and where versions are left out', async (t) => {
  const live = { release: 'r44', range: { min: 43, max: 50 } }
  t.equal(
    advice({ live, previous: [{ release: 'r43', range: null }] }),
    `? invoices: what a migration to 44 would break is not known
  r43 never said which schema versions it works with: whether a rollback would stay possible at 44 is not known.

                   43   44 … 50
  ● live      r44  ┿━━━━✓━━━━━      [43–50]
    previous  r43  │    ?           never declared its range
    door           │    ?           not known
                   now  to`,
  )
})

t.test('advice about nothing at all has no drawing', async (t) => {
  const text = advice({ live: null, current: null, previous: [] })
  t.equal(text.split('\n').length, 2)
  t.match(text, /✓ invoices: a migration to 44 closes nothing/)
})

t.test('the drawing stays within its width, whatever the names, the versions and their number', async (t) => {
  const name = 'f'.repeat(64)
  const day = (n: number) => 20261100000000 + n * 1_000_000
  const many = Array.from({ length: 40 }, (_, n) => ({
    release: `${n}-${name}`,
    range: { min: n, max: n + 2 },
  }))
  const few = { live: { release: name, range: { min: day(1), max: day(9) } }, current: day(5), to: day(7) }
  for (const text of [advice({ previous: many }), advice({ ...few, previous: many.slice(0, 2) })]) {
    const drawn = text.split('\n').filter((line) => /[┿│✓✗]/.test(line) && !line.includes('invoices'))
    t.ok(drawn.length > 3)
    for (const line of drawn) t.ok([...line].length <= 120, line)
  }
})

t.test('advice does not let a name drive the terminal', async (t) => {
  const live = { release: 'r\x1b[2J43', range: { min: 42, max: 43 } }
  t.notOk(advice({ live }).includes('\x1b'))
})
