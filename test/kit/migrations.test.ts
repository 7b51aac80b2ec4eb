// The migrations folder: names, numbers, range, sums.

import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { loadMigrations, writeSums } from '../../src/kit/index.ts'
import { type Files, trivial, writeFolder } from './fixture.ts'

const load = async (t: Test, files: Files) => loadMigrations(await writeFolder(t, files))

const codesOf = ({ problems }: { problems: readonly { code: string }[] }) => problems.map(({ code }) => code)

t.test('files are ordered by number, whatever the width of their names', async (t) => {
  const { files, newest, problems } = await load(t, {
    '1000_d.sql': '',
    '010_b.sql': '',
    '9999_e.sql': '',
    '002_a.sql': '',
  })
  t.same(
    files.map(({ version }) => version),
    [2, 10, 1000, 9999],
  )
  t.equal(newest, 9999)
  t.same(problems, [])
})

t.test('a timestamp is a number too', async (t) => {
  const { newest } = await load(t, { '20261122120000_a.sql': '' })
  t.equal(newest, 20261122120000)
})

t.test('a file that is not named like a migration is a problem, not skipped in silence', async (t) => {
  for (const file of [
    'add_thing.sql',
    '43_short.sql',
    '043_Upper.sql',
    '043-dash.sql',
    '043_a.SQL',
    '000_zero.sql',
    'README.md',
    '99999999999999999_far.sql',
  ]) {
    const { files, problems } = await load(t, { [file]: '' })
    t.match(problems, [{ code: 'bad_name', file }], file)
    t.same(files, [])
  }
})

t.test("a folder or a link in place of a file is a bad name; dot files are nobody's business", async (t) => {
  const folder = await writeFolder(t, { '.043_a.sql.swp': '' })
  await mkdir(join(folder, '044_folder.sql'))
  t.match((await loadMigrations(folder)).problems, [{ code: 'bad_name', file: '044_folder.sql' }])
})

t.test('088 and 0088 are the same number', async (t) => {
  const { problems } = await load(t, { '088_a.sql': '', '0088_b.sql': '' })
  t.match(problems, [{ code: 'duplicate_number', version: 88, files: ['0088_b.sql', '088_a.sql'] }])
})

t.test('an empty folder needs schema 0', async (t) => {
  t.same((await load(t, {})).range, { min: 0, max: 0 })
})

t.test('compat.json declares the range', async (t) => {
  const { range, problems } = await load(t, { ...trivial(41, 43), 'compat.json': '{"min": 41, "max": 43}' })
  t.same(range, { min: 41, max: 43 })
  t.same(problems, [])
})

t.test('a compat.json that does not fit ends the start, with a sentence', async (t) => {
  const wrong = [
    '',
    'null',
    '[]',
    '{}',
    '{"min":1}',
    '{"min":"1","max":2}',
    '{"min":1.5,"max":2}',
    '{"min":-1,"max":2}',
    '{"min":3,"max":2}',
    '{"min":1,"max":2,"mxa":3}',
  ]
  for (const text of wrong) {
    await t.rejects(
      load(t, { 'compat.json': text }),
      { code: 'compat_invalid', message: /compat\.json/ },
      text,
    )
  }
})

t.test('-- no-transaction counts on the first line only', async (t) => {
  const { files } = await load(t, {
    '001_a.sql': '-- no-transaction\nSELECT 1',
    '002_b.sql': '--no-transaction  \r\nSELECT 1',
    '003_c.sql': '\n-- no-transaction\nSELECT 1',
    '004_d.sql': '-- no-transactions\n',
  })
  t.same(
    files.map(({ transactional }) => transactional),
    [false, false, true, true],
  )
})

t.test('SUMS that match are no problem, and sha256sum reads them too', async (t) => {
  const folder = await writeFolder(t, trivial(1, 3))
  t.equal(await writeSums(folder), await readFile(join(folder, 'SUMS'), 'utf8'))
  t.same((await loadMigrations(folder)).problems, [])
  await t.resolves(promisify(execFile)('sha256sum', ['--check', 'SUMS'], { cwd: folder }))
})

t.test('SUMS that do not match name each file: changed, added, gone, unreadable', async (t) => {
  const folder = await writeFolder(t, trivial(1, 2))
  const sums = await writeSums(folder)
  await writeFile(join(folder, '001_step.sql'), 'SELECT 2')
  await writeFile(join(folder, '003_new.sql'), '')
  await writeFile(join(folder, 'SUMS'), `${sums}${'0'.repeat(64)}  004_gone.sql\nnonsense\n`)
  const migrations = await loadMigrations(folder)
  t.same(codesOf(migrations), Array(4).fill('sums_mismatch'))
  t.same(
    migrations.problems.map(({ file }) => file),
    ['001_step.sql', '003_new.sql', '004_gone.sql', 'nonsense'],
  )
})
