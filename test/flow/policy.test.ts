// The policy's table of what goes wrong, row by row: DESIGN §3 with two releases that are really asked, over HTTP; then the
// races of SCHEMA §4.1 that are the proxy's, with the real switch. `test/gate/judge.test.ts` walks all combinations.
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import type { Address } from '../../src/config/types.ts'
import type { Range, SchemaStatus } from '../../src/contract.ts'
import type { Code } from '../../src/errors.ts'
import { type Askable, consult } from '../../src/gate/consult.ts'
import { type GateOperation, judgeRecorded, unchecked, type Verdict } from '../../src/gate/judge.ts'
import { readStatus } from '../../src/gate/read.ts'
import type { Control } from '../../src/switch/types.ts'
import type { ReleaseName } from '../support/model/app.ts'
import { LONG_MS, SERVICE, System } from '../support/model/system.ts'
import { FITTING } from '../support/schema-status.ts'

/** How a release behaves when it is asked; null: nobody listens there. */
type Manner = ((response: ServerResponse) => void) | null

const NOBODY: Manner = null
const SILENT: Manner = () => {}
const answers =
  (status: number, headers: Record<string, string> = {}): Manner =>
  (response) =>
    void response.writeHead(status, headers).end()
const sends =
  (body: string): Manner =>
  (response) =>
    void response.end(body)
const says = (status: Partial<Record<keyof SchemaStatus, unknown>> = {}): Manner =>
  sends(JSON.stringify({ ...FITTING, ...status }))
/** @param current where the schema is */
const works = (
  min: number,
  max: number,
  current = 42,
  compatible = min <= current && current <= max,
): Manner =>
  says({
    current_schema_version: current,
    code_min_schema_version: min,
    code_max_schema_version: max,
    compatible,
  })

const FITS = says()
const OURS = 'the boot id that slotgate gave'

/** What else may decide, other than the target's answer. */
interface Special {
  /** The range that the target declared when it was last asked; it does not run. */
  recorded?: Range
  schemaOff?: true
  /** Something is live; else nothing ever was. */
  nothingLive?: true
}

type Decision = 'allow' | 'refuse' | '–'
type Warning = Code | ''
type Row = [
  row: number,
  situation: string,
  target: Manner,
  live: Manner,
  promote: Decision,
  rollback: Decision,
  code: Code | 'schema_ok',
  warning: Warning,
  special?: Special,
]

// biome-ignore format: it is a table
const TABLE: Row[] = [
  [1,  'nobody answers',                     NOBODY,                              FITS, 'refuse', 'refuse', 'schema_status_unreachable', ''],
  [1,  'the answer does not come in time',   SILENT,                              FITS, 'refuse', 'refuse', 'schema_status_timeout', ''],
  [1,  'there is no status',                 answers(404),                        FITS, 'refuse', 'refuse', 'schema_status_not_found', ''],
  [1,  'it is somewhere else',               answers(302, { location: '/x' }),    FITS, 'refuse', 'refuse', 'schema_status_redirected', ''],
  [1,  'the app cannot say now',             answers(503),                        FITS, 'refuse', 'refuse', 'schema_status_unavailable', ''],
  [1,  'the app fails',                      answers(500),                        FITS, 'refuse', 'refuse', 'schema_status_http_error', ''],
  [1,  'the answer has no end',              sends('x'.repeat(70_000)),           FITS, 'refuse', 'refuse', 'schema_status_too_large', ''],
  [1,  'the answer is a page',               sends('<html>'),                     FITS, 'refuse', 'refuse', 'schema_status_not_json', ''],
  [1,  'a number is written as text',        says({ current_schema_version: '042' }), FITS, 'refuse', 'refuse', 'schema_status_malformed', ''],
  [2,  'another process answers',            says({ boot_id: 'of another' }),     FITS, 'refuse', 'refuse', 'schema_wrong_process', ''],
  [3,  'a migration is running',             says({ migration_running: true }),   FITS, 'refuse', 'refuse', 'schema_migration_running', ''],
  [4,  'one was applied in part',            says({ dirty: true, compatible: false }), FITS, 'refuse', 'refuse', 'schema_dirty', ''],
  [5,  'the schema is too old',              works(43, 44),                       FITS, 'refuse', 'refuse', 'schema_behind_code', ''],
  [6,  'the schema is too new',              works(40, 41),                       FITS, 'refuse', 'refuse', 'schema_ahead_of_code', ''],
  [7,  'in range, and yet it says no',       says({ compatible: false }),         FITS, 'refuse', 'refuse', 'schema_declared_incompatible', ''],
  [8,  'too old, and yet it says yes',       works(43, 44, 42, true),             FITS, 'refuse', 'refuse', 'schema_behind_code', 'schema_status_contradictory'],
  [8,  'too new, and yet it says yes',       works(40, 41, 42, true),             FITS, 'refuse', 'refuse', 'schema_ahead_of_code', 'schema_status_contradictory'],
  [9,  'its range is upside down',           works(43, 41),                       FITS, 'refuse', 'refuse', 'schema_range_invalid', ''],
  [10, 'migrations wait, all else is fine',  says({ pending_migrations: ['043_x.sql'] }), FITS, 'allow', 'allow', 'schema_ok', 'pending_migrations'],
  [10, 'it does not say what waits',         says({ pending_migrations: undefined }), FITS, 'allow', 'allow', 'schema_ok', 'pending_unknown'],
  [11, 'it looks at another database',       says({ database_id: 'a' }),          says({ database_id: 'b' }), 'refuse', 'refuse', 'schema_database_mismatch', ''],
  [12, 'the two read different versions',    works(41, 43, 43),                   FITS, 'refuse', 'refuse', 'schema_version_disagreement', ''],
  [13, 'same version, different history',    says({ schema_digest: 'a' }),        says({ schema_digest: 'b' }), 'refuse', 'refuse', 'schema_history_disagreement', ''],
  [14, 'live is dead',                       FITS,                                NOBODY, 'allow', 'allow', 'schema_ok', 'live_status_unavailable'],
  [14, 'live fails',                         FITS,                                answers(500), 'allow', 'allow', 'schema_ok', 'live_status_unavailable'],
  [14, 'live is dead, the target no better', works(40, 41),                       NOBODY, 'refuse', 'refuse', 'schema_ahead_of_code', 'live_status_unavailable'],
  [15, 'live itself does not fit',           FITS,                                works(40, 41), 'allow', 'allow', 'schema_ok', 'live_slot_incompatible'],
  [16, 'no version is in both ranges',       works(43, 44),                       works(41, 42), 'refuse', 'refuse', 'schema_behind_code', 'no_common_schema_version'],
  [16, 'the same, after the migration',      works(43, 44, 43),                   works(41, 42, 43), 'allow', 'allow', 'schema_ok', 'no_common_schema_version'],
  [17, 'nothing is live yet, it fits',       FITS,                                NOBODY, 'allow', '–', 'schema_ok', '', { nothingLive: true }],
  [17, 'nothing is live yet, it does not',   works(43, 44),                       NOBODY, 'refuse', '–', 'schema_behind_code', '', { nothingLive: true }],
  [17, 'there is nothing to go back to',     FITS,                                NOBODY, '–', 'refuse', 'no_previous_release', '', { nothingLive: true }],
  [18, 'the service has `schema: off`',      works(43, 44),                       FITS, 'allow', 'allow', 'schema_ok', 'schema_check_disabled', { schemaOff: true }],
  [19, 'known not to go that far',           NOBODY,                              FITS, '–', 'refuse', 'schema_ahead_of_code', '', { recorded: { min: 40, max: 41 } }],
]

/** Only what may pass by itself is asked again: transport errors, 503, a running migration, and row 12. */
const ASKED_AGAIN: ReadonlySet<string> = new Set([
  'schema_status_unreachable',
  'schema_status_unavailable',
  'schema_migration_running',
  'schema_version_disagreement',
])
const WITHIN_MS = 3_000

// All are asked at the same time, since some of them wait before they are asked again.
for (const row of TABLE) {
  const verdicts = ask(row)
  void t.test(titleOf(row), (t) => checkRow(t, row, verdicts))
}

function titleOf([row, situation, , , promote, rollback, code, warning]: Row): string {
  const decisions = `promote ${promote}, rollback ${rollback}`
  return `row ${row}: ${situation}: ${decisions}, ${code}${warning && `, with ${warning}`}`
}

const OPERATIONS = ['promote', 'rollback'] as const

/** The verdicts of the operations that the row is about. */
async function ask([, , target, live, promote, rollback, , , special = {}]: Row): Promise<Verdict[]> {
  const asked = { target: await listen(target, 'r43'), live: await listen(live, 'r42') }
  const decisions = { promote, rollback }
  const operations = OPERATIONS.filter((operation) => decisions[operation] !== '–')
  return Promise.all(operations.map((operation) => decide(operation, asked.target, asked.live, special)))
}

async function checkRow(t: Test, row: Row, verdicts: Promise<Verdict[]>) {
  const [, , , , promote, rollback, code, warning, special = {}] = row
  const decisions = { promote, rollback }
  for (const verdict of await verdicts) {
    const { operation, allowed, reasons, warnings, attempts, evidence } = verdict
    t.equal(allowed, decisions[operation] === 'allow', operation)
    t.equal(verdict.code, code)
    const said = [...reasons, ...warnings].map((one) => one.code)
    t.ok(warning === '' ? warnings.length === 0 : said.includes(warning), `it says ${said}`)
    t.equal(attempts > 1, ASKED_AGAIN.has(code), `asked ${attempts} times`)
    t.equal(evidence, special.recorded ? 'recorded' : special.schemaOff ? 'none' : 'probed')
    for (const { sentence, hint } of [...reasons, ...warnings]) {
      t.notMatch(`${sentence} ${hint ?? ''}`, /(^| )\?/, 'every fact of its sentence is known')
    }
  }
}

async function decide(
  operation: GateOperation,
  target: Askable,
  live: Askable,
  special: Special,
): Promise<Verdict> {
  const party = async (one: Askable) => ({ ...one, reading: await one.read(WITHIN_MS) })
  if (special.schemaOff) return unchecked(operation, await party(target), await party(live))
  if (special.recorded) {
    const refused = judgeRecorded(target.release, special.recorded, await party(live))
    if (refused) return refused
  }
  return consult(operation, target, special.nothingLive ? null : live, WITHIN_MS)
}

/** A server that answers as the row says, to be asked as the switch asks. */
async function listen(manner: Manner, release: string): Promise<Askable> {
  const address = manner ? await serve(manner) : { kind: 'unix' as const, path: '/nobody/is/there' }
  const question = { address, path: '/schema/status', role: 'idle' as const }
  return {
    release,
    internalUrl: 'http://127.0.0.1:3901',
    ...(release === 'r43' && { bootId: OURS }),
    read: (withinMs) => readStatus({ ...question, withinMs }),
  }
}

async function serve(manner: NonNullable<Manner>): Promise<Address> {
  const server = createServer((_, response) => manner(response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

// The races, each on a system of its own. old works with 40 to 42, mid with 42 to 43, new with 43 to 45, wide with 40 to 46.

/** What is done to the system, and what it answers; the last one may be nothing. */
type Play = (system: System) => Promise<unknown>
type Race = [situation: string, formerly: ReleaseName[], play: Play, answers: string[], live: ReleaseName]

const CALLER = { actor: 'ops' }
const deploy = (release: ReleaseName) => (control: Control) => control.deploy(SERVICE, release, CALLER)
const rollback = (control: Control) => control.rollback(SERVICE, undefined, CALLER)
const promoteIf = (ifGeneration: number) => (control: Control) =>
  control.promote(SERVICE, { ...CALLER, ifGeneration })
const stage = (release: ReleaseName) => (control: Control) => control.stage(SERVICE, release, CALLER)

/** The schema moves between two moments of one deploy. */
const migrating =
  (look: 1 | 2, migrateTo: number, release: ReleaseName): Play =>
  (system) => {
    system.meanwhile = { look, what: { migrateTo } }
    return system.call(deploy(release))
  }

/** And some time later. */
const thenPass =
  (play: Play): Play =>
  async (system) => {
    const answered = await play(system)
    await system.pass(LONG_MS)
    return answered
  }

const dying =
  (fate: 'lost' | 'torn' | 'written'): Play =>
  (system) => {
    system.fate = fate
    return system.call(deploy('wide'))
  }

// biome-ignore format: it is a table
const RACES: Race[] = [
  ['a migration between check and flip, and it still fits',      ['old'],         migrating(1, 43, 'mid'),           ['ok'], 'mid'],
  ['a migration between check and flip, and it fits no more',    ['old'],         migrating(1, 44, 'mid'),           ['schema_ahead_of_code'], 'old'],
  ['a migration after the last look, and both still fit',        ['wide'],        thenPass(migrating(2, 43, 'mid')), ['ok'], 'mid'],
  ['a migration after the last look that only the former fits',  ['wide'],        thenPass(migrating(2, 44, 'mid')), ['schema_changed_during_switch'], 'wide'],
  ['a migration after the last look that neither fits',          ['old'],         thenPass(migrating(2, 44, 'mid')), ['ok'], 'mid'],
  ['two promotes at once',                                       ['old', 'mid'],  (system) => system.call(rollback, rollback), ['ok', 'operation_in_progress'], 'old'],
  ['two quick deploys',                                          ['old'],         (system) => system.call(deploy('mid'), deploy('wide')), ['ok', 'operation_in_progress'], 'mid'],
  ['a decision that was made on a pointer that is gone',         ['old', 'mid'],  (system) => system.call(promoteIf(1)), ['generation_mismatch'], 'mid'],
  ['a migration before the rollback target is asked',            ['old', 'wide'], async (system) => { system.schema = 43; return system.call(rollback) }, ['schema_ahead_of_code'], 'wide'],
  ['a migration while the rollback target boots',                ['old', 'wide', 'mid'], async (system) => { await system.call(stage('mid')); system.onBoot = () => { system.schema = 43 }; return system.call(rollback) }, ['schema_changed_by_rehearsal'], 'mid'],
  ['slotgate dies before the flip is written',                   ['old'],         dying('lost'),                     ['crashed'], 'old'],
  ['slotgate dies while the flip is written',                    ['old'],         dying('torn'),                     ['crashed'], 'old'],
  ['slotgate dies when the flip is written',                     ['old'],         dying('written'),                  ['crashed'], 'wide'],
]

t.test('the races of a switch', async (t) => {
  for (const [situation, formerly, play, wanted, live] of RACES) {
    const system = await System.start()
    try {
      for (const release of formerly) await system.call(deploy(release))
      t.same(await play(system), wanted, situation)
      t.equal(system.live?.release, live, `${live} is live`)
    } finally {
      await system.end()
    }
  }
})
