// The docs name what there is: every error, step and event, links that lead somewhere, commands that are understood.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { FAMILIES } from '../../src/admin/metrics/families.ts'
import { ALARMS } from '../../src/admin/metrics/history.ts'
import { parseCommandLine } from '../../src/cli/args.ts'
import { EXIT, exitCodeOf } from '../../src/cli/call.ts'
import { ENV, parseStatus, ROLE_HEADER } from '../../src/contract.ts'
import { type Code, ERRORS, type ErrorEntry, SlotgateError, toProblem } from '../../src/errors.ts'
import { EVENTS } from '../../src/journal/record.ts'

const root = join(import.meta.dirname, '..', '..')
const readText = (file: string): string => readFileSync(join(root, file), 'utf8')
const pages = new Map(
  globSync(['*.md', 'docs/*.md', 'docs/recipes/*.md', 'deploy/*.md'], { cwd: root }).map((file) => [
    file,
    readText(file),
  ]),
)
const page = (file: string): string => pages.get(file) ?? ''
const promotion = page('docs/life-of-a-promotion.md')

const withoutBlocks = (text: string): string => text.replace(/^```[\s\S]*?^```$/gm, '')

/** The part of a page below a heading, up to the next one of the same level. */
function section(text: string, heading: string): string {
  const [, after = ''] = text.split(`\n## ${heading}\n`)
  return after.split('\n## ', 1)[0] ?? ''
}

/** The rows of the tables in a text that begin with a code in backticks. */
const rowsOf = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('| `'))
const namesOf = (text: string): string[] => rowsOf(text).map((row) => row.split('`')[1] ?? '')

const entryOf = (code: Code): ErrorEntry => ERRORS[code]
const codes = Object.keys(ERRORS) as Code[]
const isCode = (name: string): name is Code => Object.hasOwn(ERRORS, name)

/** Where docs/errors.md has a code. */
function headingOf({ stage, status }: ErrorEntry): string {
  if (stage === 'admin') return 'The admin door'
  if (stage === 'relay') return 'The front door'
  if (stage === 'start') return 'Starting'
  if (stage === 'migrations') return 'The kit'
  if (status === 0) return 'Warnings and alarms'
  return stage === 'gate' ? 'The gate refuses' : 'Switching and booting'
}

function rowOf(code: Code): string {
  const { sentence, hint = '', status, stage, blame, retryable } = entryOf(code)
  return `| \`${code}\` | ${sentence} | ${hint} | ${status || '–'} | ${stage} | ${blame} | ${retryable ? 'yes' : ''} |`
}

for (const heading of new Set(codes.map((code) => headingOf(entryOf(code))))) {
  t.test(`every error is in the docs as it is in the code, and no other: ${heading}`, async (t) => {
    const expected = codes.filter((code) => headingOf(entryOf(code)) === heading).map(rowOf)
    t.strictSame(rowsOf(section(page('docs/errors.md'), heading)), expected)
  })
}

t.test('docs/errors.md has no table beside these', async (t) => {
  t.equal(rowsOf(page('docs/errors.md')).length, codes.length)
})

t.test('the exits of a promotion have the status and the exit code that they have', async (t) => {
  const exits = [...promotion.matchAll(/`([a-z_]+)` (\d{3}) → (\d)/g)]
  t.ok(exits.length > 20)
  for (const [exit, name = '', status, exitCode] of exits) {
    if (!isCode(name)) {
      t.fail(`${exit} is no code`)
      continue
    }
    t.equal(entryOf(name).status, Number(status), exit)
    t.equal(exitCodeOf(toProblem(new SlotgateError(name))), Number(exitCode), exit)
  }
})

t.test('every refusal of a switch has its exit in the life of a promotion', async (t) => {
  for (const code of codes) {
    const { stage, status } = entryOf(code)
    if (['switch', 'boot', 'journal'].includes(stage) && status > 0)
      t.match(promotion, `\`${code}\` ${status}`)
  }
})

t.test('the steps in the docs are those that the code shows', async (t) => {
  const sources = globSync('src/switch/*.ts', { cwd: root }).map(readText).join('\n')
  const shown = [...sources.matchAll(/\bprogress\('([^']+)'\)/g)].map(([, step = '']) => step)
  t.strictSame(
    namesOf(section(promotion, 'Steps in the status')).toSorted(),
    [...new Set(['starting', ...shown])].toSorted(),
  )
  for (const step of shown) t.match(readText('src/switch/lock.ts'), `'${step}'`)
})

t.test('the events in the docs are those of the journal', async (t) => {
  t.strictSame(namesOf(section(promotion, 'Events in the journal')), [...EVENTS])
})

t.test('every metric is in the docs as it is in the code, and no other', async (t) => {
  const expected = Object.entries(FAMILIES).map(
    ([name, { type, labels, help }]) => `| \`${name}\` | ${type} | ${labels.join(', ')} | ${help} |`,
  )
  t.strictSame(rowsOf(section(page('docs/metrics.md'), 'What there is')), expected)
})

t.test('every alert is in the docs, and no other', async (t) => {
  const alerts = [...readText('deploy/alerts.yaml').matchAll(/- alert: (\w+)/g)].map(([, alert]) => alert)
  t.strictSame(namesOf(section(page('docs/metrics.md'), 'Alerts')), alerts)
})

t.test('the alarms that wake nobody are those of the operations', async (t) => {
  const quiet = rowsOf(section(page('docs/operations.md'), 'Alarms')).filter((row) => / \| no \| /.test(row))
  const counted = quiet.flatMap(namesOf).filter((name) => ALARMS.some((code) => code === name))
  const named = [...readText('deploy/alerts.yaml').matchAll(/alarms_total\{code[!=]~"([^"]+)"\}/g)]
  t.equal(named.length, 2)
  for (const [, codes = ''] of named) t.strictSame(codes.split('|'), counted.toSorted())
})

t.test('the dashboard and the alerts ask for metrics that there are', async (t) => {
  const known = new Set(Object.keys(FAMILIES))
  for (const file of ['deploy/alerts.yaml', 'deploy/grafana.json']) {
    const named = readText(file).match(/\bslotgate_\w+/g) ?? []
    t.ok(named.length > 10, file)
    for (const name of named)
      t.ok(known.has(name) || known.has(name.replace(/_(bucket|sum|count)$/, '')), `${file} has ${name}`)
  }
})

t.test(
  'every alarm, and all that the watch and a bake say, is in the operations, and nothing else that is none',
  async (t) => {
    const operations = page('docs/operations.md')
    const said = EVENTS.filter((event): event is Code & typeof event => isCode(event))
    const raised = globSync('src/switch/*.ts', { cwd: root }).flatMap((file) =>
      [...readText(file).matchAll(/raise\(\s*\w+,\s*'(\w+)'/g)].map(([, code = '']) => code),
    )
    const here = [
      ...namesOf(section(operations, 'Alarms')),
      ...namesOf(section(operations, 'What the watch and a switch say')),
    ]
    for (const code of [...said, ...raised, ...ALARMS, 'live_release_exited', 'drain_cut'])
      t.ok(here.includes(code), code)
    for (const name of here) t.ok(isCode(name) || EVENTS.some((event) => event === name), name)
  },
)

t.test(
  'the instructions for an agent have what the code has to keep, every refusal, exit code and verdict of advice',
  async (t) => {
    const instructions = page('deploy/AGENTS.md')
    const named = rowsOf(section(instructions, 'Refusals')).flatMap((row) =>
      [...(row.split(' | ')[0] ?? '').matchAll(/`(\w+)`/g)].map(([, code]) => code),
    )
    const refusals = codes.filter((code) => headingOf(entryOf(code)) === 'The gate refuses')
    t.strictSame(named.toSorted(), refusals.toSorted())
    const exits = [...section(instructions, 'Exit codes').matchAll(/^\| (\d) \|/gm)].map(([, exit]) =>
      Number(exit),
    )
    t.strictSame(exits, Object.values(EXIT))
    const [, verdicts = ''] = /type AdviceVerdict = (.+)/.exec(readText('src/gate/advice.ts')) ?? []
    t.strictSame(
      namesOf(section(instructions, 'A migration')).toSorted(),
      [...verdicts.replaceAll("'", '').split(' | '), 'null'].toSorted(),
    )
    const kept = section(instructions, 'What the code has to keep')
    for (const row of rowsOf(section(page('docs/contract.md'), 'The status'))) {
      const [field = ''] = namesOf(row)
      if (row.includes(', required |')) t.match(kept, `\`${field}\``)
    }
  },
)

t.test('the contract names every variable and the header, and its sample is a status', async (t) => {
  const contract = page('docs/contract.md')
  t.strictSame(
    namesOf(section(contract, 'A process that slotgate boots')).toSorted(),
    Object.values(ENV).toSorted(),
  )
  t.match(contract, `\`${ROLE_HEADER}\``)
  const [, sample = ''] = /```json\n([\s\S]*?)```/.exec(contract) ?? []
  t.match(parseStatus(sample), { ok: true })
})

t.test('the fields in the contract are those that are read, of the kind that is read', async (t) => {
  const rows = rowsOf(section(page('docs/contract.md'), 'The status'))
  const sample = {
    current_schema_version: 1,
    code_min_schema_version: 1,
    code_max_schema_version: 1,
    compatible: true,
  }
  const source = readText('src/contract.ts')
  const fields = [...(/const KINDS[^{]+\{([^}]+)\}/.exec(source)?.[1] ?? '').matchAll(/(\w+):/g)]
  t.strictSame(rows.map((row) => row.split('`')[1]).toSorted(), fields.map(([, field]) => field).toSorted())
  for (const row of rows) {
    const [, field = '', kind = ''] = /^\| `(\w+)` \| ([^|]+) \|/.exec(row) ?? []
    const wrong = kind.startsWith('array') ? 'text' : []
    t.match(parseStatus(JSON.stringify({ ...sample, [field]: wrong })), { field }, row)
    const without = { ...sample, [field]: undefined }
    t.equal(parseStatus(JSON.stringify(without)).ok, !kind.includes('required'), row)
  }
})

t.test('every link within the repository leads somewhere', async (t) => {
  let links = 0
  for (const [file, text] of pages) {
    for (const [, target = ''] of withoutBlocks(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      links += 1
      const [path = '', anchor] = target.split('#')
      const found = path === '' ? file : join(dirname(file), path)
      t.ok(existsSync(join(root, found)), `${file} links to ${target}`)
      if (anchor !== undefined) t.ok(anchorsOf(page(found)).includes(anchor), `${file} links to ${target}`)
    }
  }
  t.ok(links > 40)
})

t.test('every picture of docs/ is on a page', async (t) => {
  const shown = [...pages.values()].join('\n')
  for (const picture of globSync('docs/**/*.{png,svg}', { cwd: root }))
    t.match(shown, `(${picture.slice('docs/'.length)})`)
})

/** As the places where repositories are looked at name headings. */
const anchorsOf = (text: string): string[] =>
  [...withoutBlocks(text).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )

t.test('every page of docs/ is in the index', async (t) => {
  for (const file of pages.keys()) {
    if (file.startsWith('docs/') && file !== 'docs/README.md')
      t.match(page('docs/README.md'), `(${file.slice('docs/'.length)})`)
  }
})

t.test('every command in the docs is understood', async (t) => {
  const commands = [...pages].flatMap(([file, text]) =>
    commandsIn(text).map((command) => ({ file, command })),
  )
  t.ok(commands.length > 20)
  for (const { file, command } of commands) {
    t.doesNotThrow(() => parseCommandLine(wordsOf(command)), `${file}: slotgate ${command}`)
  }
})

/** What follows `slotgate` in blocks, in backticks and in hints, up to where the shell takes over. */
function commandsIn(text: string): string[] {
  const blocks = [...text.matchAll(/^```[\s\S]*?^```$/gm)].join('\n')
  const typed = [...blocks.matchAll(/(?:^\s*(?:\$ )?|: )slotgate ([a-z-][^\n]*)/gm)]
  const named = [...withoutBlocks(text).matchAll(/`slotgate ([a-z-][^`\n]*)`/g)]
  const said = [...withoutBlocks(text).matchAll(/: slotgate ([a-z]+ [A-Z]+)/g)]
  return [...typed, ...named, ...said]
    .map(([, command = '']) => command.split(/ (?:#|>|\||;|:)|:$|`/, 1)[0]?.trim() ?? '')
    .filter((command) => !/^[a-z]+ …$/.test(command))
}

const wordsOf = (command: string): string[] =>
  command
    .replace(/^([a-z]+) promote\\?\|rollback/, '$1 promote')
    .split(/\s+/)
    .filter((word) => word !== '')
