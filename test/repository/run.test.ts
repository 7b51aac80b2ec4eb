// Proves that `npm test` counts what really ran: every way in which a test file can go wrong is a failed test.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'

const root = join(import.meta.dirname, '..', '..')
const tap = "import t from 'tap'\n"
/** TAP by hand, where it does not matter who writes it: tap takes longer to load than all else here. */
const fine = "console.log('ok 1 - fine\\n1..1')"

t.test('tests are counted, not files, assertions or groups', async (t) => {
  const { lines, code } = await run(t, {
    'flat.test.ts': `${tap}t.test('one', async (t) => { t.pass(); t.pass() })\nt.test('two', async (t) => { t.pass() })`,
    'nested.test.ts': `${tap}t.test('group', async (t) => {
      await t.test('inner', async (t) => { t.pass(); await t.test('innermost', async (t) => { t.pass() }) })
      await t.test('other', async (t) => { t.pass() })
    })`,
    'bare.test.ts': `${tap}console.log('chatter')\nt.equal(1, 1)\nt.equal(2, 2)`,
  })
  t.equal(lines.at(-1), '6 passed, 0 failed')
  t.equal(code, 0)
})

t.test('a failing assertion fails its test and no other', async (t) => {
  const { lines, code } = await run(t, {
    'mixed.test.ts': `${tap}t.test('good', async (t) => { t.pass() })
      t.test('bad', async (t) => { t.equal(1, 2); t.equal(3, 4) })
      t.test('throwing', async () => { throw new Error('boom') })
      t.test('parent', async (t) => { await t.test('child', async (t) => { t.pass() }); t.fail('by itself') })
      t.test('grandparent', async (t) => { await t.test('child', async (t) => { t.fail('deep down') }) })`,
  })
  t.equal(lines.at(-1), '2 passed, 4 failed')
  t.ok(
    lines.includes('✗ test/mixed.test.ts › grandparent › child › deep down'),
    'failures are named at the end',
  )
  t.equal(code, 1)
})

const broken = {
  'a file that throws while it loads': "throw new Error('at the top')",
  'a file that throws after its tests began': `${tap}t.test('x', async () => {})\nthrow new Error('at the top')`,
  'a file that is not TypeScript': 'const x: = 1',
  'a file that exits with 1': 'process.exit(1)',
  'a file that exits with 0 in the middle of a test': `${tap}t.test('x', async () => { process.exit(0) })`,
  'a file that is killed': "process.kill(process.pid, 'SIGKILL')",
  'an empty file': '',
  'a file without tests': tap,
  'a plan that is not met': `${tap}t.plan(2)\nt.pass()`,
}

t.test('each way in which a file can break is a failed test', async (t) => {
  const sources = Object.values(broken)
  const files = Object.fromEntries(sources.map((source, at) => [`${at}.test.ts`, source]))
  const { lines, code } = await run(t, { ...files, 'fine.test.ts': fine })
  for (const [at, title] of Object.keys(broken).entries()) {
    const file = `✗ test/${at}.test.ts `
    t.match(
      lines.filter((line) => line.startsWith(file)),
      [/ [01] passed, 1 failed /],
      title,
    )
  }
  t.match(lines.at(-1), new RegExp(` ${sources.length} failed$`))
  t.equal(code, 1)
})

const hanging = {
  'a test that never ends': `${tap}t.test('x', () => { setInterval(() => {}, 1e3) })`,
  'a file that hangs and ignores signals': "process.on('SIGTERM', () => {})\nsetInterval(() => {}, 1e3)",
  'a file that leaves something open': `${tap}t.test('x', async (t) => { t.pass(); setInterval(() => {}, 1e3) })`,
}

t.test('a file that does not end in time is a failed test', async (t) => {
  const files = Object.fromEntries(
    Object.values(hanging).map((source, index) => [`${index}.test.ts`, source]),
  )
  const { lines, code } = await run(t, { ...files, 'fine.test.ts': fine }, [], '10')
  t.equal(lines.at(-1), '2 passed, 3 failed', Object.keys(hanging).join(', '))
  t.equal(code, 1)
})

t.test('skipped tests are counted apart', async (t) => {
  const { lines, code } = await run(t, {
    'some.test.ts': `${tap}t.test('x', async (t) => { t.pass() })\nt.test('y', { skip: 'not here' }, async () => {})`,
    'whole.test.ts': `${tap}t.plan(0, 'needs what is not here')`,
  })
  t.equal(lines.at(-1), '1 passed, 0 failed, 2 skipped')
  t.equal(code, 0)
})

t.test('a run without a test fails', async (t) => {
  const { lines, code } = await run(t, { 'fine.test.ts': fine }, ['test/elsewhere'])
  t.equal(lines.at(-1), '0 passed, 0 failed')
  t.equal(code, 1)
})

t.test('arguments narrow the run down', async (t) => {
  const files = { 'one.test.ts': fine, 'two.test.ts': 'process.exit(1)' }
  const { lines } = await run(t, files, ['./test/one'])
  t.equal(lines.at(-1), '1 passed, 0 failed')
})

t.test('a signal ends the test files, too, and still prints the count', async (t) => {
  const dir = project(t, {
    'slow.test.ts': `${tap}t.pass()\nsetInterval(() => {}, 1e3)\nconsole.error('pid', process.pid)`,
  })
  const child = spawnRun(dir, [], '60')
  const output = text(child.stdout)
  const [line] = await once(child.stderr, 'data')
  child.kill('SIGINT')
  child.kill('SIGINT')
  const [code] = await once(child, 'exit')
  t.equal(code, 130)
  t.match(await output, /passed, \d+ failed\n$/)
  t.throws(() => process.kill(Number(String(line).split(' ')[1]), 0), { code: 'ESRCH' })
})

/** Runs test/run.ts in a project of its own that has these test files. */
async function run(t: Test, files: Record<string, string>, args: string[] = [], timeoutS = '60') {
  const child = spawnRun(project(t, files), args, timeoutS)
  child.stderr.resume()
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return { lines: output.trimEnd().split('\n'), code: code as number }
}

function project(t: Test, files: Record<string, string>): string {
  const dir = mkdtempSync(join(tmpdir(), 'slotgate-run-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
  for (const [name, source] of Object.entries(files)) {
    const file = join(dir, 'test', name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, source)
  }
  return dir
}

function spawnRun(cwd: string, args: string[], timeoutS: string) {
  // What tap tells its own children in the environment is not meant for a run within a run.
  const own = Object.entries(process.env).filter(([name]) => !/^_?TAP/.test(name))
  const env = { ...Object.fromEntries(own), DATABASE_URL: 'postgres://unused', TAP_TIMEOUT: timeoutS }
  return spawn(process.execPath, [join(root, 'test', 'run.ts'), ...args], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
