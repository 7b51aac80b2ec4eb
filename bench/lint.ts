// How long `slotgate lint` takes over 500 migrations, beyond what Node takes to start: `npm run build && sh scripts/run bench/lint.ts`.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    migrations: { type: 'string', default: '500' },
    runs: { type: 'string', default: '21' },
    bin: { type: 'string', default: join(import.meta.dirname, '..', 'dist', 'bin.js') },
  },
})
const SCRIPT_BYTES = 2_000

const folder = mkdtempSync(join(tmpdir(), 'slotgate-bench-lint-'))
try {
  makeRepository(Number(values.migrations))
  const commands = {
    node: ['--eval', '0'],
    '--help': [values.bin, '--help'],
    lint: [values.bin, 'lint'],
    'lint --staged': [values.bin, 'lint', '--staged'],
  }
  const names = Object.keys(commands)
  const times = new Map(names.map((name): [string, number[]] => [name, []]))
  // In turns, so that a busy moment is everybody's.
  for (let run = 0; run < Number(values.runs); run += 1) {
    for (const [name, args] of Object.entries(commands)) times.get(name)?.push(time(args))
  }
  const started = median(times.get('node') ?? [])
  for (const name of names) {
    const ms = median(times.get(name) ?? [])
    console.log(`${name.padEnd(14)} ${ms.toFixed(0)} ms, ${(ms - started).toFixed(0)} ms beyond node's start`)
  }
} finally {
  rmSync(folder, { recursive: true })
}

function makeRepository(count: number): void {
  const migrations = join(folder, 'migrations')
  mkdirSync(migrations)
  writeFileSync(join(folder, '.gitattributes'), '* text=auto eol=lf\n')
  for (let number = 1; number <= count; number += 1) {
    const text = `ALTER TABLE t ADD COLUMN c${number} text;\n`.padEnd(SCRIPT_BYTES, '-- a comment\n')
    writeFileSync(join(migrations, `${String(number).padStart(3, '0')}_step.sql`), text)
  }
  const identity = ['-c', 'user.name=bench', '-c', 'user.email=bench@example.org']
  git('init', '--quiet')
  git('add', '--all')
  git(...identity, 'commit', '--quiet', '--message', 'migrations')
  git('update-ref', 'refs/remotes/origin/main', 'HEAD')
  time([values.bin, 'lint', '--write-sums'])
  git('add', '--all')
}

function git(...args: string[]): void {
  const { status, stderr } = spawnSync('git', args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`git ${args[0]}: ${stderr}`)
}

/** @returns how long the process took, in ms */
function time(args: readonly string[]): number {
  const begun = performance.now()
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stdout}${stderr}`)
  return performance.now() - begun
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
}
