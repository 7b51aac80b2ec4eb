// `npm test [-- PATH ...]`: runs the test files below test/ (or those whose path begins with a PATH), four at a time, with one
// PostgreSQL for all of them, and ends with the line `N passed, N failed`. Exit code 0 only if tests ran and none failed.
// Each file is a process that prints TAP. tap's own runner is not used: after a file that ran out of time it leaves out another.
import { type ChildProcess, spawn } from 'node:child_process'
import { globSync } from 'node:fs'
import { constants } from 'node:os'
import { resolve } from 'node:path'
import { Parser } from 'tap-parser'
import { stringify } from 'yaml'
import { openDatabase } from '../example/database.ts'
import { addTally, emptyTally, type Failure, readFile, summaryLine, type Tally } from './tally.ts'

/** Most files wait more than they compute, so that two cores have room for four. */
const filesAtOnce = 4
const fileWithinS = Number(process.env.TAP_TIMEOUT ?? 240)
/** Begun first, so that none of them runs alone at the end. */
const longest = ['docker', 'drivers', 'scenarios', 'compose'].map((name) => `test/flow/${name}.test.ts`)
/** Hundreds of processes load the same files; what the first one compiled serves the others. */
const compileCache = resolve('node_modules/.cache/slotgate-tests')
// tap itself ends a file at its limit, and names the test that hangs; this long after that it is killed.
const killedAfterMs = 2_000
const noiseShown = 40

const total = emptyTally()
const files = testFiles(process.argv.slice(2))
const stop = new AbortController()

// Ctrl-C comes twice, once from the terminal and once from npm: the first one counts.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort(signal))

if (files.length > 0) await runWithDatabase().catch(failRun)
finish()

function testFiles(prefixes: string[]): string[] {
  const wanted = prefixes.map((prefix) => prefix.replace(/^\.\//, ''))
  const all = globSync('test/**/*.test.ts').sort(
    (a, b) => Number(longest.includes(b)) - Number(longest.includes(a)) || a.localeCompare(b),
  )
  return wanted.length === 0 ? all : all.filter((file) => wanted.some((prefix) => file.startsWith(prefix)))
}

async function runWithDatabase(): Promise<void> {
  const database = await openDatabase()
  process.env.DATABASE_URL = database.url
  try {
    await Promise.all(Array.from({ length: filesAtOnce }, runNextFiles))
  } finally {
    await database.stop()
  }
}

async function runNextFiles(): Promise<void> {
  while (!stop.signal.aborted) {
    const file = files.shift()
    if (file === undefined) return
    await runFile(file)
  }
}

/** Resolves when the file's process has ended and its result is shown. */
async function runFile(file: string): Promise<void> {
  const begunAt = performance.now()
  // A process group of its own, so that what it leaves behind in it can be ended with it.
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, TAP_TIMEOUT: String(fileWithinS), NODE_COMPILE_CACHE: compileCache },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const parser = new Parser()
  const noise: string[] = []
  parser.on('extra', (line: string) => noise.push(line))
  const settle = readFile(parser)
  child.stdout.pipe(parser)
  const problem = await ending(child)
  showFile(file, settle(problem), noise, performance.now() - begunAt)
}

/** Resolves, when the process has ended and its output is read, to what is wrong with its ending, if anything is. */
async function ending(child: ChildProcess): Promise<string | undefined> {
  let hung = false
  const limit = setTimeout(
    () => {
      hung = true
      endGroup(child, 'SIGKILL')
    },
    fileWithinS * 1_000 + killedAfterMs,
  )
  const interrupt = () => interruptGroup(child)
  stop.signal.addEventListener('abort', interrupt)
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    // Whoever inherited its stdout would keep `close` away for ever.
    child.once('exit', () => endGroup(child, 'SIGKILL'))
    child.once('close', (...ended) => resolve(ended))
  })
  clearTimeout(limit)
  stop.signal.removeEventListener('abort', interrupt)
  if (hung) return `The file did not end within ${fileWithinS} s and was killed.`
  return code === 0 ? undefined : `The process of the file ended with ${signal ?? `exit code ${code}`}.`
}

function interruptGroup(child: ChildProcess): void {
  endGroup(child, 'SIGTERM')
  setTimeout(() => endGroup(child, 'SIGKILL'), killedAfterMs).unref()
}

function endGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal)
  } catch {
    // The whole group is gone already, which is what was wanted.
  }
}

function showFile(file: string, tally: Tally, noise: string[], tookMs: number): void {
  addTally(total, tally, file)
  console.log(`${tally.failed > 0 ? '✗' : '✓'} ${file}  ${summaryLine(tally)}  (${Math.round(tookMs)} ms)`)
  if (tally.failed === 0) return
  for (const line of noise.slice(-noiseShown)) process.stdout.write(`    | ${line}`)
  for (const failure of tally.failures) console.log(indent(describe(failure)))
}

/** The run itself failed: PostgreSQL did not start, say. */
function failRun(error: unknown): void {
  console.log(error)
  total.failed++
  total.failures.push({ path: ['the run itself'], details: {} })
}

function describe({ path, details: { source, at, ...told } }: Failure): string {
  const title = `✗ ${path.join(' › ') || 'the file itself'}`
  return Object.keys(told).length > 0 ? `${title}\n${indent(stringify(told))}` : title
}

function indent(text: string): string {
  return text.trimEnd().replace(/^(?=.)/gm, '    ')
}

function finish(): void {
  const interrupted = stop.signal.aborted ? (stop.signal.reason as NodeJS.Signals) : undefined
  console.log()
  for (const { path } of total.failures) console.log(`✗ ${path.join(' › ')}`)
  if (interrupted) console.log(`Interrupted by ${interrupted}; ${files.length} test files were not begun.`)
  else if (total.passed + total.failed + total.skipped === 0) console.log('No test ran.')
  console.log(`In ${Math.round(performance.now() / 1_000)} s:`)
  console.log(summaryLine(total))
  process.exitCode = interrupted
    ? 128 + constants.signals[interrupted]
    : Number(total.failed > 0 || total.passed === 0)
}
