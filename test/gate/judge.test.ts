// The verdict against the truth table: every combination of its rows, and every check of the scenarios. The rows one by one are
// in test/flow/policy.test.ts.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseStatus, type SchemaStatus } from '../../src/contract.ts'
import { type Code, ERRORS } from '../../src/errors.ts'
import {
  type GateOperation,
  judge,
  judgeRecorded,
  mayPass,
  noPrevious,
  type Party,
  type Reading,
  type Target,
} from '../../src/gate/judge.ts'
import { FITTING } from '../support/schema-status.ts'

const says = (status: Partial<SchemaStatus>): Reading => ({ ok: true, status: { ...FITTING, ...status } })
const target = (status: Partial<SchemaStatus> = {}, bootId?: string): Target => ({
  release: 'r43',
  internalUrl: 'http://127.0.0.1:3902',
  reading: says(status),
  ...(bootId !== undefined && { bootId }),
})
const live = (status: Partial<SchemaStatus> = {}): Party => ({
  release: 'r42',
  internalUrl: 'http://127.0.0.1:3901',
  reading: says(status),
})
const unusable = (code: Code): Reading => ({ ok: false, code, facts: { url: 'http://127.0.0.1:3902/s' } })

/** The product of a list of alternatives for each name. */
function* combinations<Choices extends Record<string, readonly unknown[]>>(
  choices: Choices,
): Generator<{ [Name in keyof Choices]: Choices[Name][number] }> {
  const [first, ...rest] = Object.entries(choices)
  if (!first) {
    yield {} as { [Name in keyof Choices]: Choices[Name][number] }
    return
  }
  const [name, values] = first
  for (const others of combinations(Object.fromEntries(rest))) {
    for (const value of values) yield { [name]: value, ...others } as never
  }
}

t.test('a switch is allowed if and only if every condition of the table holds', async (t) => {
  let checked = 0
  let allowedOnes = 0
  const space = {
    operation: ['promote', 'rollback'] as const,
    current: [40, 42, 44],
    range: [
      [41, 43],
      [43, 41],
    ] as const,
    compatible: [true, false],
    dirty: [undefined, false, true],
    running: [undefined, true],
    bootId: ['mine', 'other', undefined],
    live: ['none', 'unusable', 'agrees', 'disagrees', 'out of range'] as const,
    database: ['unknown', 'same', 'different'] as const,
    digest: ['unknown', 'same', 'different'] as const,
  }
  for (const c of combinations(space)) {
    const [min, max] = c.range
    const asked = target(
      {
        current_schema_version: c.current,
        code_min_schema_version: min,
        code_max_schema_version: max,
        compatible: c.compatible,
        ...(c.dirty !== undefined && { dirty: c.dirty }),
        ...(c.running && { migration_running: true }),
        ...(c.bootId && { boot_id: c.bootId }),
        ...(c.database !== 'unknown' && { database_id: 'a' }),
        ...(c.digest !== 'unknown' && { schema_digest: 'x' }),
      },
      'mine',
    )
    const liveStatus: Partial<SchemaStatus> = {
      current_schema_version: c.live === 'disagrees' ? c.current + 1 : c.current,
      ...(c.live === 'out of range' && {
        code_min_schema_version: 50,
        code_max_schema_version: 60,
        compatible: false,
      }),
      ...(c.database !== 'unknown' && { database_id: c.database === 'same' ? 'a' : 'b' }),
      ...(c.digest !== 'unknown' && { schema_digest: c.digest === 'same' ? 'x' : 'y' }),
    }
    const served: Party | null =
      c.live === 'none'
        ? null
        : c.live === 'unusable'
          ? { ...live(), reading: unusable('schema_status_timeout') }
          : live(liveStatus)
    const bothSpeak = c.live !== 'none' && c.live !== 'unusable'
    const expected =
      min <= c.current &&
      c.current <= max &&
      c.compatible &&
      c.dirty !== true &&
      !c.running &&
      c.bootId !== 'other' &&
      !(c.operation === 'rollback' && c.live === 'none') &&
      !(bothSpeak && c.database === 'different') &&
      !(bothSpeak && c.live === 'disagrees') &&
      !(bothSpeak && c.live !== 'disagrees' && c.digest === 'different')
    const verdict = judge(c.operation, asked, served)
    if (verdict.allowed !== expected) t.fail('a deviation from the table', { case: c, verdict })
    if (verdict.allowed !== (verdict.reasons.length === 0))
      t.fail('allowed without or with reasons', { case: c })
    if (verdict.code !== (verdict.reasons[0]?.code ?? 'schema_ok'))
      t.fail('the first reason is primary', { case: c })
    checked += 1
    if (verdict.allowed) allowedOnes += 1
  }
  t.equal(checked, 19_440, 'the whole space was walked')
  t.ok(allowedOnes > 0 && allowedOnes < checked, `${allowedOnes} of ${checked} are allowed`)
})

t.test('no unusable status of the target is ever allowed, whatever live says', async (t) => {
  const codes = Object.keys(ERRORS).filter((code) => code.startsWith('schema_status_')) as Code[]
  for (const code of codes.filter((name) => name !== 'schema_status_contradictory')) {
    for (const operation of ['promote', 'rollback'] as const) {
      const verdict = judge(operation, { ...target(), reading: unusable(code) }, live())
      t.equal(verdict.allowed, false)
      t.equal(verdict.code, code)
    }
  }
})

t.test('row 19: the recorded range refuses only a maximum below the current version', async (t) => {
  const refused = judgeRecorded('r41', { min: 40, max: 41 }, live())
  t.match(refused, { allowed: false, code: 'schema_ahead_of_code', evidence: 'recorded' })
  t.match(refused?.reasons[0]?.sentence, /r41 works with schema 40 to 41; the database is already at 42/)
  t.equal(judgeRecorded('r42', { min: 41, max: 42 }, live()), null)
  t.equal(judgeRecorded('r42', { min: 50, max: 60 }, live()), null, 'too new is asked, not presumed')
  t.equal(
    judgeRecorded('r41', { min: 1, max: 1 }, { ...live(), reading: unusable('schema_status_timeout') }),
    null,
  )
})

t.test('a rollback without an earlier release is refused', async (t) => {
  t.match(noPrevious(live()), { allowed: false, code: 'no_previous_release', operation: 'rollback' })
})

t.test('every reason is listed, not only the first', async (t) => {
  const verdict = judge(
    'promote',
    target({ dirty: true, migration_running: true, compatible: false, database_id: 'a' }),
    live({ database_id: 'b' }),
  )
  t.same(
    verdict.reasons.map(({ code }) => code),
    ['schema_migration_running', 'schema_dirty', 'schema_declared_incompatible', 'schema_database_mismatch'],
  )
})

t.test('only what may pass by itself is worth asking again', async (t) => {
  t.equal(mayPass(judge('promote', target({ migration_running: true }), live())), true)
  t.equal(mayPass(judge('promote', target(), live({ current_schema_version: 43 }))), true)
  t.equal(mayPass(judge('promote', target({ migration_running: true, dirty: true }), live())), false)
  t.equal(mayPass(judge('promote', target(), live())), false, 'allowed is final')
  const malformed = { ...target(), reading: unusable('schema_status_malformed') }
  t.equal(mayPass(judge('promote', malformed, live())), false)
})

interface Check {
  op: GateOperation
  target: unknown
  live: unknown
  expect: { allow: boolean; reason: string; warnings?: string[] }
  ctx?: { bootId: string }
}
interface Scenario {
  id: string
  title: string
  check?: Check
  raw?: string
  expectReason?: string
}

const { scenarios }: { scenarios: Scenario[] } = JSON.parse(
  readFileSync(new URL('../vectors/scenarios.json', import.meta.url), 'utf8'),
)

const read = (value: unknown): Reading => {
  const parsed = parseStatus(typeof value === 'string' ? value : JSON.stringify(value))
  return parsed.ok ? parsed : { ok: false, code: parsed.code, facts: {} }
}

for (const { id, title, check, raw, expectReason } of scenarios) {
  if (check) {
    t.test(`${id}: ${title}`, async (t) => {
      const asked: Target = {
        release: 'target',
        internalUrl: 'http://127.0.0.1:1',
        reading: read(check.target),
      }
      if (check.ctx) asked.bootId = check.ctx.bootId
      const served = check.live === null ? null : { ...asked, release: 'live', reading: read(check.live) }
      const verdict = judge(check.op, asked, served)
      t.equal(verdict.allowed, check.expect.allow)
      t.equal(verdict.code, check.expect.reason)
      for (const warning of check.expect.warnings ?? []) {
        t.ok(
          verdict.warnings.some(({ code }) => code === warning),
          `warns of ${warning}`,
        )
      }
    })
  }
  if (raw !== undefined) {
    t.test(`${id}: ${title}`, async (t) => {
      const asked: Target = { release: 'target', internalUrl: 'http://127.0.0.1:1', reading: read(raw) }
      t.equal(judge('promote', asked, live()).code, expectReason)
    })
  }
}
