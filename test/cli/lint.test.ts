// What `slotgate lint` finds in the migrations of a branch, in real git repositories, and whether what it says to type mends it.
import { readFileSync } from 'node:fs'
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Finding, RULES, type Rule } from '../../src/cli/lint/types.ts'
import { type Changes, good, Repository, scripts, sealed } from './repository.ts'
import { newFolder, run } from './terminal.ts'

const deploy = join(import.meta.dirname, '..', '..', 'deploy')

const rulesOf = (findings: readonly Finding[]): Rule[] => findings.map(({ rule }) => rule)

interface Scenario {
  id: string
  level: string
  title: string
  given: {
    git?: { main: string[]; branch: string[] }
    diff?: string
    main?: string
    added?: string
    files?: string[]
    newest?: number
    compat?: { code_min_schema_version: number; code_max_schema_version: number }
    sums?: 'unchanged'
  }
  then: [{ exit: number; stdout_contains: string[] }]
}

const vectors = new URL('../vectors/scenarios.json', import.meta.url)
const { scenarios } = JSON.parse(readFileSync(vectors, 'utf8')) as { scenarios: Scenario[] }
const ours = scenarios.filter(({ level }) => level === 'precommit')

t.test('the scenarios of the pre-commit check are all here', async (t) => {
  t.strictSame(
    ours.map(({ id }) => id),
    ['A16', 'F01', 'F02', 'F03', 'F04', 'F05', 'F06', 'F08', 'F09', 'F10', 'F11', 'F12'],
  )
})

for (const { id, title, given, then } of ours) {
  t.test(`${id}: ${title}`, async (t) => {
    const { code, stdout } = await arrange(t, given).lint(['--base', 'origin/main'])
    const [{ exit, stdout_contains: expected }] = then
    t.equal(code, exit, stdout)
    for (const text of expected) t.ok(stdout.includes(text), `${text} in ${stdout}`)
  })
}

const inFolder = (names: readonly string[]): Changes =>
  Object.fromEntries(names.map((name) => [`migrations/${name}`, `-- ${name}\n`]))

/** A branch that is as it should be, but for what the scenario says. */
function arrange(
  t: Test,
  { git, diff, main, added, files, newest, compat, sums }: Scenario['given'],
): Repository {
  if (git) {
    const repository = new Repository(t, sealed(inFolder(git.main.slice(0, 2)), 2, 2))
    repository.commitOnMain(sealed(inFolder(git.main), 3, 3))
    repository.commit(sealed(inFolder(git.branch), 2, 3))
    return repository
  }
  const top = Number(main?.slice(2) ?? (files ? 87 : 43))
  const before: Changes = {
    ...scripts(top),
    'migrations/002_step.sql': null,
    'migrations/002_b.sql': 'SELECT 2;\n',
  }
  const grown: Changes = { ...before, ...inFolder([...(added ? [added] : []), ...(files ?? [])]) }
  if (newest !== undefined && newest > top) grown[`migrations/0${newest}_x.sql`] = 'SELECT 1;\n'
  const [, from, to] = diff?.split(' ') ?? []
  if (from) grown[from] = to ? null : 'SELECT 22;\n'
  if (to) grown[to] = 'SELECT 2;\n'
  const { code_min_schema_version: min = top, code_max_schema_version: max = newestIn(grown) } = compat ?? {}
  const repository = new Repository(t, sealed(before, top, top))
  const { 'migrations/SUMS': written, ...others } = sealed(grown, min, max)
  repository.commit(sums === 'unchanged' ? others : { ...others, 'migrations/SUMS': written ?? null })
  return repository
}

const newestIn = (files: Changes): number =>
  Math.max(...Object.keys(files).map((path) => Number(/^migrations\/(\d{3,})_/.exec(path)?.[1] ?? 0)))

/** A branch of its own on a main at 3, with one thing wrong. */
const MENDED: Partial<Record<Rule, (repository: Repository) => unknown>> = {
  bad_name: (repository) => repository.write({ "migrations/Add Ann's notes.sql": 'SELECT 4;\n' }),
  duplicate_number: (repository) => repository.write({ 'migrations/003_agent.sql': 'SELECT 33;\n' }),
  number_not_next: (repository) => repository.write({ 'migrations/006_far.sql': 'SELECT 6;\n' }),
  immutable_changed: (repository) => repository.write({ 'migrations/002_step.sql': 'SELECT 22;\n' }),
  sums_out_of_date: (repository) => repository.write(withoutSums(good(4))),
  not_utf8: (repository) =>
    repository.write({ 'migrations/004_x.sql': Buffer.from("SELECT 'ü';\n", 'latin1') }),
  has_bom: (repository) => repository.write({ 'migrations/004_x.sql': '\ufeffSELECT 4;\n' }),
  not_lf: (repository) => repository.write({ 'migrations/004_x.sql': 'SELECT 4;\r\nSELECT 5;\r\n' }),
  empty_file: (repository) => repository.write({ 'migrations/004_x.sql': '  \n' }),
  not_regular: async (repository) => {
    repository.write({ 'elsewhere.sql': 'SELECT 4;\n' })
    await symlink('../elsewhere.sql', join(repository.folder, 'migrations', '004_x.sql'))
  },
  eol_not_set: (repository) => repository.write({ '.gitattributes': '*.md text' }),
  compat_invalid: (repository) => repository.write({ 'migrations/compat.json': '{"min": "3", "max": 3}' }),
  range_invalid: (repository) => repository.write({ 'migrations/compat.json': '{"min": 4, "max": 3}' }),
  max_below_newest: (repository) => repository.write(sealed(scripts(4), 3, 3)),
  max_above_newest: (repository) => repository.write(sealed(scripts(3), 3, 4)),
  min_raised: (repository) => repository.write(sealed(scripts(4), 4, 4)),
  sums_missing: (repository) =>
    repository.commitOnMain({ 'migrations/SUMS': null }) ?? repository.git('merge', 'main'),
}

const withoutSums = ({ 'migrations/SUMS': _, ...others }: Changes): Changes => others

for (const [rule, spoil] of Object.entries(MENDED)) {
  t.test(`${rule} is found, and what it says to type mends it`, async (t) => {
    const repository = new Repository(t, good(3))
    await spoil(repository)
    const found = (await repository.findings()).filter((finding) => finding.rule === rule)
    t.match(found, [{ rule, severity: RULES[rule as Rule].severity, file: /^migrations\// }])
    for (const finding of found) await repository.follow(finding)
    const left = await mendAll(repository)
    t.strictSame(left, [], 'and so do the remedies of what follows from it')
  })
}

/** Types the first remedy of each lint until there is none, and no oftener than a patient person would. */
async function mendAll(repository: Repository, isLeft = (_: Finding) => false): Promise<Finding[]> {
  let found = await repository.findings()
  for (let round = 0; round < 5; round += 1) {
    const [first] = found
    if (first === undefined || isLeft(first)) break
    await repository.follow(first)
    found = await repository.findings()
  }
  return found
}

t.test('every rule has a test', async (t) => {
  const others: Rule[] = ['history_missing', 'several_new', 'folder_moved', 'duplicate_repaired']
  t.strictSame([...Object.keys(MENDED), ...others].toSorted(), Object.keys(RULES).toSorted())
})

t.test('what is only worth a second look does not fail', async (t) => {
  await t.test('several_new: two migrations at once; the second one alone is well', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commit(sealed(scripts(5), 3, 5))
    const { code, stdout } = await repository.lint()
    t.equal(code, 0)
    t.match(stdout, /005_step\.sql \(several_new\)\n.*004_step\.sql, 005_step\.sql/)
    repository.commit({ ...sealed(scripts(4), 3, 4), 'migrations/005_step.sql': null })
    t.strictSame(await repository.findings(), [])
  })

  await t.test('min_raised: without compat.json, too, every new migration raises it', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commit({ ...sealed(scripts(4), 4, 4), 'migrations/compat.json': null })
    t.match(await repository.result(), { ok: true, findings: [{ rule: 'min_raised' }] })
  })

  await t.test('sums_missing: but taking SUMS away does', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commit({ 'migrations/SUMS': null })
    t.match(await repository.findings(), [{ rule: 'sums_out_of_date', severity: 'error' }])
  })
})

t.test('a migration of the base', async (t) => {
  await t.test('that is deleted comes back by what is typed', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commit({ 'migrations/002_step.sql': null })
    const [first] = await repository.findings()
    t.match(first, { rule: 'immutable_changed', sentence: /is deleted here/ })
    t.equal(first?.remedy, 'git checkout origin/main -- migrations/002_step.sql')
    t.strictSame(await mendAll(repository), [])
  })

  await t.test('that is renamed gets its name back, with or without its old number', async (t) => {
    for (const name of ['002_other', '004_other']) {
      const repository = new Repository(t, good(3))
      repository.git('mv', 'migrations/002_step.sql', `migrations/${name}.sql`)
      const [first] = await repository.findings()
      t.match(first, {
        rule: 'immutable_changed',
        remedy: `mv migrations/${name}.sql migrations/002_step.sql`,
      })
      t.strictSame(await mendAll(repository), [])
    }
  })

  await t.test(
    'that is renamed and changed comes back, and the change has a number of its own',
    async (t) => {
      const repository = new Repository(t, good(3))
      repository.commit(
        sealed(
          { ...scripts(2), 'migrations/003_step.sql': null, 'migrations/004_new.sql': 'SELECT 33;\n' },
          3,
          4,
        ),
      )
      t.strictSame(rulesOf(await repository.findings()), ['immutable_changed'])
      t.match(await mendAll(repository), [])
      t.equal(await readFile(join(repository.folder, 'migrations', '004_new.sql'), 'utf8'), 'SELECT 33;\n')
    },
  )

  await t.test('that is changed is put back, and the change is kept beside', async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ 'migrations/002_step.sql': 'SELECT 22;\n' })
    t.strictSame(await mendAll(repository), [])
    t.match(await readFile(join(repository.folder, '002_step.patch'), 'utf8'), '+SELECT 22;')
  })

  await t.test('that the base itself changed or deleted is nothing this branch did', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commitOnMain({
      ...good(2),
      'migrations/003_step.sql': null,
      'migrations/001_step.sql': 'SELECT 11;\n',
    })
    t.strictSame(await repository.findings(), [])
  })

  await t.test('that has the same bytes on both sides is one migration', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commitOnMain(sealed(scripts(4), 3, 4))
    repository.commit(sealed(scripts(4), 3, 4))
    t.strictSame(await repository.findings(), [])
  })

  await t.test('that both sides added under one name is two, and ours has to move', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commitOnMain(sealed(scripts(4), 3, 4))
    repository.commit(sealed({ ...scripts(4), 'migrations/004_step.sql': 'SELECT 44;\n' }, 3, 4))
    t.match(await repository.findings(), [
      { rule: 'duplicate_number', remedy: 'mv migrations/004_step.sql migrations/005_step.sql' },
    ])
  })
})

t.test('folder_moved: what lies in another place on the base is no newer for that', async (t) => {
  /** The same files in the folder db. */
  const inDb = (files: Changes): Changes =>
    Object.fromEntries(
      Object.entries(files).map(([path, content]) => [path.replace('migrations/', 'db/'), content]),
    )

  await t.test('a branch that moves it is warned, and its base counts all the same', async (t) => {
    const repository = new Repository(t, inDb(good(3)))
    repository.write({ 'other/001_step.sql': 'SELECT 1;\n' })
    repository.git('mv', 'db', 'migrations')
    const moved = {
      rule: 'folder_moved',
      severity: 'warning',
      file: 'migrations',
      sentence: / are in db on /,
    }
    t.match(await repository.result(), { ok: true, findings: [moved] })
    t.match(await repository.findings(['--staged']), [moved])

    repository.commit({})
    repository.commitOnMain(inDb(sealed(scripts(4), 3, 4)))
    repository.write({ 'migrations/002_step.sql': 'SELECT 22;\n', 'migrations/003_step.sql': null })
    repository.write({ 'migrations/004_agent.sql': 'SELECT 44;\n' })
    const [changed, deleted, ...others] = await repository.findings()
    t.match([changed, deleted], [{ rule: 'immutable_changed' }, { rule: 'immutable_changed' }])
    t.match(rulesOf(others).slice(0, 1), ['duplicate_number'], '004 is that of main, wherever that has it')
    if (changed) await repository.follow(changed)
    t.match(await readFile(join(repository.folder, '002_step.patch'), 'utf8'), '+SELECT 22;')
    const left = await mendUntilWarnings(repository)
    t.ok(
      left.every(({ severity }) => severity === 'warning'),
      rulesOf(left).join(),
    )
    t.equal(await readFile(join(repository.folder, 'migrations/002_step.sql'), 'utf8'), 'SELECT 2;\n')
  })

  await t.test('a branch that the base has moved it away from merges first', async (t) => {
    const repository = new Repository(t, good(3))
    const away = Object.fromEntries(Object.keys(good(3)).map((path) => [path, null]))
    repository.commitOnMain({ ...away, ...inDb(sealed(scripts(4), 3, 4)) })
    repository.commit(sealed({ ...scripts(3), 'migrations/004_agent.sql': 'SELECT 44;\n' }, 3, 4))
    t.match(await repository.findings(), [
      { rule: 'duplicate_number', file: 'migrations/004_agent.sql' },
      { rule: 'folder_moved', remedy: 'git merge origin/main' },
    ])
  })

  await t.test(
    'the folder of another app, with scripts of the same names, is none that was moved',
    async (t) => {
      const repository = new Repository(t, inDb(good(3)))
      repository.commitOnMain({ 'lib/001_step.sql': 'SELECT 1;\n' })
      repository.write(sealed({ 'migrations/001_step.sql': 'SELECT 11;\n' }, 1, 1))
      t.strictSame(await repository.findings(), [])
    },
  )
})

t.test('the tip of the base counts, not the commit where the branch began', async (t) => {
  const repository = new Repository(t, good(3))
  repository.commit(sealed(scripts(4), 3, 4))
  t.strictSame(await repository.findings(), [], 'right alone')
  repository.commitOnMain(sealed({ ...scripts(3), 'migrations/004_human.sql': 'SELECT 44;\n' }, 3, 4))
  t.match(await repository.findings(), [{ rule: 'duplicate_number', file: 'migrations/004_step.sql' }])
})

t.test('two files with one number on the base', async (t) => {
  const twice = sealed({ ...scripts(3), 'migrations/003_agent.sql': 'SELECT 33;\n' }, 3, 3)

  await t.test('fail every branch, and main itself', async (t) => {
    const repository = new Repository(t, twice)
    t.match(await repository.findings(), [{ rule: 'duplicate_number', file: 'migrations/003_step.sql' }])
    t.match(await repository.findings(['--base', 'HEAD']), [{ rule: 'duplicate_number' }])
  })

  await t.test('are mended by a branch that renames one, with a warning', async (t) => {
    const repository = new Repository(t, twice)
    const [first] = await repository.findings()
    t.equal(first?.remedy, 'mv migrations/003_step.sql migrations/004_step.sql')
    t.strictSame(rulesOf(await mendUntilWarnings(repository)), ['duplicate_repaired'])
  })

  await t.test('that this branch has not seen yet are merged first', async (t) => {
    const repository = new Repository(t, good(2))
    repository.commitOnMain(twice)
    const [first] = await repository.findings()
    t.equal(first?.remedy, 'git merge origin/main && mv migrations/003_step.sql migrations/004_step.sql')
    repository.shell(first?.remedy ?? '')
    t.ok((await mendUntilWarnings(repository)).length > 0)
  })
})

const mendUntilWarnings = (repository: Repository): Promise<Finding[]> =>
  mendAll(repository, ({ severity }) => severity === 'warning')

t.test('names and numbers', async (t) => {
  await t.test('several new files move up one after the other', async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ 'migrations/003_a.sql': 'SELECT 4;\n', 'migrations/007_b.sql': 'SELECT 5;\n' })
    const remedies = (await repository.findings()).map(({ remedy }) => remedy)
    t.ok(remedies.includes('mv migrations/003_a.sql migrations/004_a.sql'))
    t.ok(remedies.includes('mv migrations/007_b.sql migrations/005_b.sql'))
  })

  await t.test('several new files of one name move without landing on one another', async (t) => {
    for (const [main, ours, newest] of [
      [5, [4, 5, 6], 8],
      [3, [5, 6, 7], 6],
    ] as const) {
      const repository = new Repository(t, good(3))
      repository.commitOnMain(good(main))
      repository.write(
        Object.fromEntries(ours.map((number) => [`migrations/00${number}_new.sql`, `SELECT ${number}0;\n`])),
      )
      const moves = (await repository.findings())
        .map(({ remedy }) => remedy)
        .filter((remedy) => /^mv /.test(remedy))
      for (const move of new Set(moves)) repository.shell(move)
      const contents = ours.map((_, index) =>
        readFileSync(join(repository.folder, `migrations/00${newest - 2 + index}_new.sql`), 'utf8'),
      )
      t.strictSame(
        contents,
        ours.map((number) => `SELECT ${number}0;\n`),
      )
    }
  })

  await t.test('a point in time among numbers gets a short one', async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ 'migrations/20261122120000_x.sql': 'SELECT 1;\n' })
    t.match(await repository.findings(), [
      { remedy: /^mv migrations\/20261122120000_x.sql migrations\/004_x.sql$/ },
    ])
  })

  await t.test('timestamps follow each other in time, without being without gaps', async (t) => {
    const stamped = (...names: string[]) => sealed(inFolder(names), 20261122120000, 20261122120000)
    const repository = new Repository(t, stamped('20261122120000_a.sql'))
    repository.write({ 'migrations/20261123080000_b.sql': 'SELECT 1;\n' })
    t.notMatch(rulesOf(await repository.findings()), ['number_not_next'])
    repository.write({
      'migrations/20261123080000_b.sql': null,
      'migrations/20261101000000_b.sql': 'SELECT 1;\n',
    })
    t.match(await repository.findings(), [{ rule: 'number_not_next' }])
  })

  await t.test('a wrong name that the base has may be mended', async (t) => {
    const repository = new Repository(t, { ...good(3), 'migrations/add_thing.sql': 'SELECT 4;\n' })
    t.match(await repository.findings(), [
      { rule: 'bad_name', remedy: 'mv migrations/add_thing.sql migrations/004_add_thing.sql' },
    ])
    t.strictSame(await mendAll(repository), [])
  })

  await t.test('what is no script moves out, from wherever lint was called', async (t) => {
    for (const from of ['.', 'migrations']) {
      const repository = new Repository(t, good(3))
      repository.write({ 'migrations/README.md': 'Hello\n' })
      const [first] = await repository.findings([], from)
      t.match(first, { rule: 'bad_name' })
      repository.shell(`cd ${from} && ${first?.remedy}`)
      t.strictSame(await repository.findings(), [])
      t.equal(await readFile(join(repository.folder, 'from-migrations-README.md'), 'utf8'), 'Hello\n')
    }
  })

  await t.test('a folder is none', async (t) => {
    const repository = new Repository(t, good(3))
    await mkdir(join(repository.folder, 'migrations', '004_x.sql'))
    t.match(await repository.findings(), [
      { rule: 'not_regular', sentence: '004_x.sql is a folder, not a file.' },
    ])
  })

  await t.test("dot files are nobody's business", async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ 'migrations/.004_x.sql.swp': 'x' })
    t.strictSame(await repository.findings(), [])
  })
})

t.test('bytes', async (t) => {
  await t.test('that the base has cannot be mended any more', async (t) => {
    const old = { ...scripts(3), 'migrations/002_step.sql': '\ufeffSELECT 2;\n' }
    const repository = new Repository(t, sealed(old, 3, 3))
    t.strictSame(await repository.findings(), [])
  })

  await t.test('that git changes when it checks out are not changed by this branch', async (t) => {
    const repository = new Repository(t, { ...good(2), '.gitattributes': '' })
    repository.git('config', 'core.autocrlf', 'true')
    repository.shell('rm -r migrations && git checkout --quiet -- migrations')
    t.strictSame(rulesOf(await repository.findings()), [
      'not_lf',
      'not_lf',
      'sums_out_of_date',
      'eol_not_set',
    ])
  })

  await t.test('in UTF-16 are read as what they are', async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ 'migrations/004_x.sql': Buffer.from('\ufeffSELECT 4;\n', 'utf16le') })
    t.match(await repository.findings(), [{ rule: 'not_utf8', sentence: /UTF-16/ }, {}, {}])
    const [, , ...left] = await mendAll(repository)
    t.strictSame(left, [])
  })

  await t.test('that no attribute lets git convert need no eol', async (t) => {
    const repository = new Repository(t, { ...good(3), '.gitattributes': '*.sql -text\n' })
    t.strictSame(await repository.findings(), [])
  })
})

t.test('where lint looks', async (t) => {
  const repository = new Repository(t, good(3))
  repository.commit(sealed(scripts(4), 3, 4))
  repository.write({ 'src/deep/app.ts': '' })

  await t.test('the work tree, tracked or not', async (t) => {
    repository.write({ 'migrations/notes.txt': 'x' })
    t.match(await repository.findings(), [{ rule: 'bad_name' }])
  })

  await t.test('with --staged what a commit would take, and nothing else', async (t) => {
    repository.write({ '.gitattributes': '' })
    t.strictSame(await repository.findings(['--staged']), [])
    repository.git('checkout', '--', '.gitattributes')
    repository.git('add', 'migrations/notes.txt')
    repository.write({ 'migrations/notes.txt': null })
    t.match(await repository.findings(['--staged']), [{ rule: 'bad_name' }])
    t.strictSame(await repository.findings(), [])
    repository.git('add', '--all')
  })

  await t.test('with --staged, what is mended has to be staged, and that is said', async (t) => {
    repository.write({ 'migrations/004_step.sql': 'SELECT 44;\n' })
    repository.git('add', '--all')
    const { stdout } = await repository.lint(['--staged'])
    t.match(stdout, /1 error, 0 warnings\n {2}Then stage what was mended: git add -- migrations\n$/)
    repository.shell('slotgate lint --write-sums && git add -- migrations')
    t.notMatch((await repository.lint(['--staged'])).stdout, 'stage what was mended')
    repository.git('checkout', '--quiet', 'HEAD', '--', 'migrations')
  })

  await t.test('a file whose name is no text is named, and how to find it', async (t) => {
    const name = Buffer.from([
      ...Buffer.from(join(repository.folder, 'migrations/005_')),
      0xf6,
      ...Buffer.from('.sql'),
    ])
    await writeFile(name, 'SELECT 5;\n')
    t.match(await repository.lint(), {
      code: 1,
      stdout: '',
      stderr: /005_\uFFFD\.sql cannot be read.*\n.*ls -b/,
    })
    await rm(name)
  })

  await t.test('from a subfolder up, and names files as they are typed there', async (t) => {
    repository.write({ 'migrations/004_step.sql': 'SELECT 44;\n' })
    const [first] = await repository.findings([], 'src/deep')
    t.match(first, { rule: 'sums_out_of_date', file: '../../migrations/SUMS' })
    repository.shell(`cd src/deep && ${first?.remedy}`)
    t.strictSame(await repository.findings(), [])
  })

  await t.test('in the folder it is told', async (t) => {
    repository.write({ 'db/001_a.sql': 'SELECT 1;\n' })
    t.match(await repository.result(['--migrations', 'db']), { folder: 'db', migrations: 1, ok: true })
    t.match(await repository.lint(['--migrations', 'bd']), { code: 2, stderr: 'There is no folder bd here.' })
  })
})

t.test('a repository whose ids are SHA-256 is none the different', async (t) => {
  const repository = new Repository(t, good(3), { objects: 'sha256' })
  repository.commit(sealed(scripts(4), 3, 4))
  t.strictSame(await repository.findings(), [])
  t.strictSame(await repository.findings(['--staged']), [])
})

t.test('what cannot be compared', async (t) => {
  await t.test('an unknown base is told with what fetches it', async (t) => {
    const repository = new Repository(t, good(3))
    repository.publish()
    repository.git('update-ref', '-d', 'refs/remotes/origin/main')
    const { code, stdout, stderr } = await repository.lint()
    t.strictSame({ code, stdout }, { code: 2, stdout: '' })
    const fetch = /Fetch it: (.*)/.exec(stderr)?.[1] ?? ''
    t.equal(fetch, 'git fetch origin +refs/heads/main:refs/remotes/origin/main')
    repository.shell(fetch)
    t.equal((await repository.lint()).code, 0)
    t.match(await repository.lint(['--base', '--x']), { code: 2 })
    t.match(await repository.lint(['--base=-x']), { code: 2, stderr: '--base takes the name of a branch' })
  })

  await t.test('history_missing: a shallow clone goes on until it would have to guess', async (t) => {
    const repository = new Repository(t, good(3))
    repository.commit(sealed(scripts(4), 3, 4))
    const clone = `git clone --quiet --depth 1 --branch agent ${repository.publish()} .`
    const fetch = 'git fetch --quiet --depth 1 origin +refs/heads/main:refs/remotes/origin/main'
    repository.shell(`rm -rf .git .gitattributes * && ${clone} && ${fetch}`)
    t.strictSame(await repository.findings(), [], 'all of the base is here, so nothing was deleted')
    repository.write({ 'migrations/001_step.sql': 'SELECT 11;\n' })
    t.match(await repository.findings(), [{ rule: 'immutable_changed' }, { rule: 'sums_out_of_date' }])
    repository.git('checkout', '--', 'migrations')
    repository.git('rm', '--quiet', 'migrations/002_step.sql')
    const [first, ...others] = await repository.findings()
    t.match(first, { rule: 'history_missing', severity: 'error', file: 'migrations/002_step.sql' })
    t.match(rulesOf(others), ['sums_out_of_date'])
    repository.shell(first?.remedy ?? '')
    t.match(await repository.findings(), [{ rule: 'immutable_changed' }, { rule: 'sums_out_of_date' }])
  })

  await t.test('outside of a repository the rules run that need none, and that is said', async (t) => {
    const folder = newFolder(t)
    const repository = new Repository(t, good(3))
    const path = join(folder, 'migrations')
    await mkdir(path)
    repository.shell(`cp migrations/* ${path}`)
    t.match(await run(['lint', '--migrations', path], { env: repository.env }), {
      code: 0,
      stdout: /3 migrations without a base: only the rules that need none; 0 errors, 0 warnings/,
    })
    repository.shell(`echo x > ${path}/3_b.sql`)
    const { stdout } = await run(['lint', '--migrations', path], { env: repository.env })
    t.match(stdout, '(bad_name)')
    t.match(stdout, '(duplicate_number)')
    t.match(stdout, '004_b.sql')
    const asked = await run(['lint', '--migrations', path, '--base', 'main'], { env: repository.env })
    t.match(asked, { code: 2, stderr: 'is in no git repository' })
  })

  await t.test('in a repository without git, nothing less than asked for is done', async (t) => {
    const repository = new Repository(t, good(3))
    repository.env.PATH = '/nowhere'
    t.match(await repository.lint(), { code: 2, stderr: /git cannot be asked about .*ENOENT/ })
    t.match(await repository.lint(['--base', 'none']), { code: 0, stdout: 'without a base' })
  })

  await t.test('an index that git cannot read is not taken for an empty one', async (t) => {
    const repository = new Repository(t, good(3))
    repository.write({ '.git/index': 'nonsense' })
    t.match(await repository.lint(['--staged']), { code: 1, stdout: '', stderr: /^git [a-z-]+ failed: / })
  })

  await t.test('a base without migrations lets them begin anywhere', async (t) => {
    const repository = new Repository(t, { '.gitattributes': '* eol=lf\n' })
    const first = { 'migrations/040_a.sql': 'SELECT 1;\n' }
    repository.commit(sealed(first, 0, 40))
    t.strictSame(rulesOf(await repository.findings()), [])
  })
})

t.test('the answer as JSON has each finding with all that is said of it', async (t) => {
  const repository = new Repository(t, good(3))
  repository.write({ 'migrations/003_agent.sql': 'SELECT 33;\n' })
  const { code, stdout, stderr } = await repository.lint(['--json'])
  t.strictSame({ code, stderr }, { code: 1, stderr: '' })
  const { findings, ...others } = JSON.parse(stdout)
  t.strictSame(others, { ok: false, folder: 'migrations', migrations: 4, base: 'origin/main' })
  t.strictSame(findings[0], {
    rule: 'duplicate_number',
    severity: 'error',
    file: 'migrations/003_agent.sql',
    sentence: '003_agent.sql has number 3, and so has 003_step.sql on origin/main.',
    remedy: 'mv migrations/003_agent.sql migrations/004_agent.sql',
  })
})

t.test('--write-sums writes SUMS, then lints; it does not go with --staged', async (t) => {
  const repository = new Repository(t, good(3))
  repository.write(withoutSums(sealed(scripts(4), 3, 4)))
  t.match(await repository.findings(), [
    { rule: 'sums_out_of_date', sentence: 'SUMS does not match 004_step.sql.' },
  ])
  t.strictSame(await repository.findings(['--write-sums']), [])
  repository.shell('cd migrations && sha256sum --quiet --check SUMS')
  t.match(await repository.lint(['--write-sums', '--staged']), { code: 2 })
})

t.test('the docs have every rule as it is, and the hook and the step as they are shipped', async (t) => {
  const docs = readFileSync(new URL('../../docs/lint.md', import.meta.url), 'utf8')
  const [, section = ''] = docs.split('## Rules\n')
  const rows = section.split('\n## ', 1)[0]?.split('\n') ?? []
  t.strictSame(
    rows.filter((row) => row.startsWith('| `')),
    Object.entries(RULES).map(([rule, { severity, about }]) => `| \`${rule}\` | ${severity} | ${about} |`),
  )
  for (const name of ['pre-commit', 'ci-lint']) {
    t.ok(docs.includes(`\`\`\`sh\n${readFileSync(join(deploy, name), 'utf8')}\`\`\``), name)
  }
})

t.test(
  'the hook lets a good commit through and stops a bad one, whatever lies in the work tree',
  async (t) => {
    const repository = new Repository(t, good(3))
    const hook = join(repository.folder, '.git', 'hooks', 'pre-commit')
    repository.shell(`mkdir .git/hooks && cp ${join(deploy, 'pre-commit')} ${hook}`)
    await chmod(hook, 0o755)
    repository.env.SLOTGATE = 'slotgate'
    repository.write(sealed(scripts(4), 3, 4))
    repository.git('add', '--all')
    repository.write({ 'migrations/unfinished.sql': 'x' })
    repository.git('commit', '--quiet', '--message', 'good')
    repository.git('add', '--all')
    t.throws(() => repository.git('commit', '--quiet', '--message', 'bad'), { message: /bad_name/ })
    repository.git('reset', '--quiet')
    repository.write({ 'migrations/unfinished.sql': null, 'migrations/002_step.sql': 'SELECT 22;\n' })
    t.throws(() => repository.git('commit', '--quiet', '--all', '--message', 'worse'), {
      message: /immutable_changed[^✗]*is changed here[^✗]*✗[^✗]*sums_out_of_date[^✗]*✗[^✗]*2 errors/,
    })
    // There git tells its hooks where the repository is, and no longer where its root is.
    repository.shell(
      `git worktree add --quiet ../linked && cd ../linked && git commit --allow-empty -qm good`,
    )
    const bad = 'echo x > migrations/unfinished.sql && git add --all && git commit --quiet --message bad'
    t.throws(() => repository.shell(`cd ../linked && ${bad}`), { message: /bad_name[^✗]*✗[^✗]*1 error/ })
  },
)

t.test('the step of a CI fetches what a shallow clone lacks, then lints', async (t) => {
  const repository = new Repository(t, good(3))
  repository.commit(sealed(scripts(4), 3, 4))
  repository.commitOnMain(sealed({ ...scripts(3), 'migrations/004_human.sql': 'SELECT 44;\n' }, 3, 4))
  const clone = join(newFolder(t), 'clone')
  repository.shell(`git clone --quiet --depth 1 --branch agent ${repository.publish()} ${clone}`)
  repository.env.SLOTGATE = 'slotgate'
  t.throws(() => repository.shell(`cd ${clone} && ${join(deploy, 'ci-lint')} main`), {
    message: /duplicate_number/,
  })
})
