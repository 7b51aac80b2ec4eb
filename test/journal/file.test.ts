// The journal on a real disk: appended, chained, recovered; torn tails dropped, broken chains refused.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import {
  appendFile,
  copyFile,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import { emptyState, FIRST_PREV, fold, type JournalEvent } from '../../src/journal/record.ts'

async function newFile(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-journal-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'journal.jsonl')
}

const flip = (release: string, slot: 'blue' | 'green', operation = 'promote'): JournalEvent => ({
  event: 'flipped',
  service: 'invoices',
  actor: 'ops',
  operation,
  slot,
  release,
  ranges: { [release]: { min: 41, max: 43 } },
})

async function written(t: Test, ...events: JournalEvent[]): Promise<string> {
  const file = await newFile(t)
  const journal = await Journal.open(file)
  for (const event of events) await journal.append(event)
  await journal.close()
  return file
}

t.test('what was appended is there after opening again, with its state', async (t) => {
  const file = await written(t, flip('r1', 'blue'), flip('r2', 'green'))
  const journal = await Journal.open(file)
  t.teardown(() => journal.close())
  t.equal(journal.records.length, 2)
  t.match(journal.state.services.invoices, {
    generation: 2,
    live: { slot: 'green', release: 'r2' },
    previous: ['r1'],
    wasLive: ['r2', 'r1'],
    ranges: { r1: { min: 41, max: 43 }, r2: { min: 41, max: 43 } },
  })
  t.match(await journal.append(flip('r3', 'blue')), { seq: 3 })
})

t.test('the file is for its owner alone', async (t) => {
  const { mode } = await stat(await written(t, flip('r1', 'blue')))
  t.equal(mode & 0o077, 0)
})

t.test(
  'appends that come at once are written one after the other, each chained to the one before',
  async (t) => {
    const file = await newFile(t)
    const journal = await Journal.open(file)
    const records = await Promise.all(
      Array.from({ length: 50 }, (_, n) => journal.append(flip(`r${n}`, 'blue'))),
    )
    await journal.close()
    t.same(
      records.map(({ seq }) => seq),
      Array.from({ length: 50 }, (_, n) => n + 1),
    )
    const again = await Journal.open(file)
    t.equal(again.records.length, 50)
    await again.close()
  },
)

t.test(
  'a torn last line is dropped at every byte it can be torn, and the next append continues',
  async (t) => {
    const file = await written(t, flip('r1', 'blue'), flip('r2', 'green'))
    const whole = await readFile(file)
    const firstEnd = whole.indexOf('\n') + 1
    for (let size = firstEnd; size < whole.length; size += 7) {
      await writeFile(file, whole.subarray(0, size))
      const journal = await Journal.open(file)
      t.equal(journal.records.length, 1)
      t.equal(journal.tornBytes, size - firstEnd)
      await journal.append(flip('r3', 'green'))
      await journal.close()
      const again = await Journal.open(file)
      t.equal(again.state.services.invoices?.live?.release, 'r3')
      await again.close()
    }
  },
)

t.test('a last line of zeros, as a power cut may leave it, is dropped', async (t) => {
  const file = await written(t, flip('r1', 'blue'))
  await appendFile(file, Buffer.alloc(300))
  const journal = await Journal.open(file)
  t.equal(journal.records.length, 1)
  await journal.close()
})

const DAMAGE: Record<string, (lines: string[]) => string[]> = {
  'a changed line': (lines) => lines.map((line, n) => (n === 1 ? line.replace('"r2"', '"rX"') : line)),
  'a missing line': (lines) => lines.filter((_, n) => n !== 1),
  'a doubled line': (lines) => lines.flatMap((line, n) => (n === 1 ? [line, line] : [line])),
  'an inserted word': (lines) => lines.map((line, n) => (n === 1 ? `x${line}` : line)),
  'an empty line': (lines) => lines.flatMap((line, n) => (n === 1 ? ['', line] : [line])),
  'a line that is null': (lines) => lines.map((line, n) => (n === 2 ? 'null' : line)),
}
for (const [what, damage] of Object.entries(DAMAGE)) {
  t.test(`${what} is refused with its number, and the file is left alone`, async (t) => {
    const file = await written(t, flip('r1', 'blue'), flip('r2', 'green'), flip('r3', 'blue'))
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
    const damaged = `${damage(lines).join('\n')}\n`
    await writeFile(file, damaged)
    const line = { 'a changed line': 3, 'a line that is null': 3, 'a doubled line': 3 }[what] ?? 2
    await t.rejects(Journal.open(file), { code: 'journal_broken', facts: { line } })
    t.equal(await readFile(file, 'utf8'), damaged)
  })
}

t.test('a failed append leaves file and state as they were, and the next one succeeds', async (t) => {
  const file = await newFile(t)
  const journal = await Journal.open(file)
  await journal.append(flip('r1', 'blue'))
  const before = await readFile(file, 'utf8')
  const circular: JournalEvent = flip('r2', 'green')
  await t.rejects(journal.append({ ...circular, self: 1n }), 'what cannot be written is refused')
  t.equal(await readFile(file, 'utf8'), before)
  t.equal(journal.state.services.invoices?.live?.release, 'r1')
  await journal.append(flip('r3', 'green'))
  await journal.close()
  const again = await Journal.open(file)
  t.equal(again.state.services.invoices?.live?.release, 'r3')
  await again.close()
})

t.test(
  'where the system takes no more, the append is refused with a code and nothing is half written',
  async (t) => {
    const file = await newFile(t)
    const script = fileURLToPath(new URL('./limited.ts', import.meta.url))
    const { stdout } = await promisify(execFile)('sh', [
      '-c',
      'ulimit -f 8; exec "$0" "$1" "$2"',
      process.execPath,
      script,
      file,
    ])
    const said = JSON.parse(stdout)
    t.match(said, { code: 'journal_write_failed', endsWhole: true, sentence: /could not be written/ })
    t.equal(said.small, said.last + 1, 'a line that still fits is appended after the refused one')
    const journal = await Journal.open(file)
    t.teardown(() => journal.close())
    t.equal(journal.records.at(-1)?.seq, said.small)
  },
)

for (const [what, lose] of [
  ['deleted', rm],
  ['moved away', (file: string) => rename(file, `${file}.bak`)],
  [
    'replaced by its copy',
    (file: string) => copyFile(file, `${file}.new`).then(() => rename(`${file}.new`, file)),
  ],
] as const) {
  t.test(
    `a journal that was ${what} under a running slotgate refuses what would be lost with it`,
    async (t) => {
      const file = await newFile(t)
      const journal = await Journal.open(file)
      t.teardown(() => journal.close())
      await journal.append(flip('r1', 'blue'))
      await lose(file)
      await t.rejects(journal.append(flip('r2', 'green')), {
        code: 'journal_write_failed',
        message: /was deleted or moved away/,
      })
      t.equal(journal.state.services.invoices?.live?.release, 'r1')
    },
  )
}

t.test('a folder that is not there is said so', async (t) => {
  await t.rejects(Journal.open('/nowhere/at/all/journal.jsonl'), { code: 'state_dir_unusable' })
})

t.test('a file that cannot be read is said so', async (t) => {
  const file = await newFile(t)
  await writeFile(file, '')
  await truncate(file, 3 * 1024 ** 3)
  await t.rejects(Journal.open(file), { code: 'state_dir_unusable', message: /greater than 2 GiB/ })
})

t.test('a device, which never ends, is no journal', { skip: !existsSync('/dev/full') }, async (t) => {
  const file = await newFile(t)
  await symlink('/dev/full', file)
  await t.rejects(Journal.open(file), { code: 'state_dir_unusable', message: /not a file/ })
})

t.test('a journal whose folder fails says what the system says of it', async (t) => {
  const file = await newFile(t)
  const journal = await Journal.open(file)
  t.teardown(() => journal.close())
  await rm(file)
  await symlink(file, file)
  await t.rejects(journal.append(flip('r1', 'blue')), { code: 'journal_write_failed', message: /ELOOP/ })
})

t.test('an empty file is an empty journal', async (t) => {
  const file = await written(t, flip('r1', 'blue'))
  await truncate(file, 0)
  const journal = await Journal.open(file)
  t.same(journal.state, { services: {}, open: {} })
  await journal.close()
})

t.test('a second rollback goes further back, not forward again', async (t) => {
  const file = await written(
    t,
    flip('r1', 'blue'),
    flip('r2', 'green'),
    flip('r3', 'blue'),
    flip('r2', 'green', 'rollback'),
  )
  const journal = await Journal.open(file)
  t.teardown(() => journal.close())
  t.match(journal.state.services.invoices, { previous: ['r1'], wasLive: ['r2', 'r3', 'r1'] })
  await journal.append(flip('r3', 'blue'))
  t.same(journal.state.services.invoices?.previous, ['r2', 'r1'], 'forward again puts it back on top')
})

t.test('boots that nothing ended are known, with pid and start time', async (t) => {
  const boot = (bootId: string): JournalEvent => ({
    event: 'booting',
    service: 'invoices',
    actor: 'slotgate',
    release: 'r1',
    boot_id: bootId,
    pid: 4711,
    start_time: '99',
  })
  const file = await written(t, boot('a'), boot('b'), {
    event: 'stopped',
    service: 'invoices',
    actor: 'slotgate',
    release: 'r1',
    boot_id: 'a',
  })
  const journal = await Journal.open(file)
  t.teardown(() => journal.close())
  t.same(Object.keys(journal.state.open), ['b'])
  t.match(journal.state.open.b, { pid: 4711, startTime: '99', release: 'r1', service: 'invoices' })
})

t.test('the state does not grow with every release there ever was', async (t) => {
  const state = emptyState()
  const time = new Date(0).toISOString()
  for (let seq = 1; seq <= 5_000; seq++) {
    // Two services, as strictly in turn as nobody deploys: neither may be the one that is never looked at.
    const event = {
      ...flip(`r${seq}`, 'blue'),
      service: seq % 2 === 0 ? 'even' : 'odd',
      seq,
      time,
      prev: FIRST_PREV,
    }
    fold(state, event)
    fold(state, { ...event, event: 'setup_done' })
  }
  for (const { wasLive, previous, setUp, ranges } of Object.values(state.services)) {
    t.equal(wasLive.length, 1_000)
    t.equal(previous.length, 1_000)
    t.equal(setUp.length, 1_000)
    t.ok(Object.keys(ranges).length < 2_100, `${Object.keys(ranges).length} ranges`)
    t.ok(
      wasLive.every((release) => ranges[release]),
      'what is known has its range',
    )
  }
})

/** A journal whose last start remembers little of what its files have. */
async function longJournal(t: Test): Promise<{ journal: Journal; file: string }> {
  const file = await newFile(t)
  const small = { longestBytes: 2_000 }
  const before = await Journal.open(file, small)
  for (let n = 0; n < 60; n++) await before.append(flip(`r${n}`, 'blue'))
  await before.close()
  const journal = await Journal.open(file, small)
  t.teardown(() => journal.close())
  t.ok((journal.records[0]?.seq ?? 0) > 20, 'most of it is in former files')
  return { journal, file }
}

async function seqsAfter(journal: Journal, seq: number): Promise<number[]> {
  const seqs: number[] = []
  for await (const record of journal.after(seq)) seqs.push(record.seq)
  return seqs
}

const countedFrom = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, n) => first + n)

t.test('what comes after any record is told, over all the files', async (t) => {
  const { journal } = await longJournal(t)
  for (let seq = 0; seq <= journal.seq; seq++)
    t.strictSame(await seqsAfter(journal, seq), countedFrom(seq + 1, journal.seq))
  for await (const record of journal.after(0)) t.notOk('state' in record)
})

t.test('a journal that goes on in new files while it is read is read to its new end', async (t) => {
  const { journal } = await longJournal(t)
  const before = journal.seq
  const seqs: number[] = []
  for await (const record of journal.after(0)) {
    seqs.push(record.seq)
    if (record.seq % 5 === 0 && record.seq < 150) await journal.append(flip(`r${record.seq}`, 'green'))
  }
  t.ok(journal.seq > before + 10)
  t.strictSame(seqs, countedFrom(1, journal.seq))
})

t.test('what was moved away is left out, and the rest is told', async (t) => {
  const { journal, file } = await longJournal(t)
  const second = file.replace('.jsonl', '.2.jsonl')
  const lines = (await readFile(second, 'utf8')).trimEnd().split('\n')
  const last = JSON.parse(lines.at(-1) ?? '').seq
  await rename(second, `${second}.away`)
  t.strictSame(await seqsAfter(journal, 3), countedFrom(last + 1, journal.seq))
})

t.test('who follows is told each record once, in order, before its writer goes on', async (t) => {
  const { journal } = await longJournal(t)
  const before = journal.seq
  const told: number[] = []
  journal.follow(({ seq }) => told.push(seq))
  for (let n = 0; n < 30; n++) {
    const { seq } = await journal.append(flip(`r${n}`, 'blue'))
    t.equal(told.at(-1), seq)
  }
  t.strictSame(told, countedFrom(before + 1, journal.seq))
})
