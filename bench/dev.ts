// How long `slotgate dev` takes from a save to the new code serving, beyond what the app itself takes to boot, with the
// example on a real PostgreSQL: `sh scripts/run bench/dev.ts`. Says where the time goes.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { openDatabase } from '../example/database.ts'
import { createFreshDatabase } from '../example/fresh-database.ts'
import { freePort, isAccepting } from './ports.ts'
import { median, quantile } from './stats.ts'

const ROOT = join(import.meta.dirname, '..')
const BIN = join(ROOT, 'src', 'bin.ts')
const { values } = parseArgs({ options: { runs: { type: 'string', default: '21' } } })
/** How often it is looked whether the app that boots alone is up. */
const LOOK_MS = 2
const WITHIN_MS = 20_000

const folder = mkdtempSync(join(tmpdir(), 'slotgate-bench-dev-'))
/** Not in the folder, where it would be seen to change. */
const bootFile = `${folder}.boot`
const cluster = await openDatabase()
const database = await createFreshDatabase(cluster.url, 'bench_dev')
const env = { ...process.env, DATABASE_URL: database.url }
const port = await freePort()
let dev: ChildProcess | undefined
try {
  save(0)
  const alone: number[] = []
  const runs: Saved[] = []
  dev = await startDev()
  for (let run = 1; run <= Number(values.runs); run++) {
    // In turns, so that a busy moment is everybody's.
    alone.push(await bootAlone())
    runs.push(await saveAndWait(run))
  }
  report(alone, runs)
} finally {
  dev?.kill('SIGTERM')
  if (dev) await once(dev, 'exit')
  await database.drop()
  await cluster.stop()
  rmSync(folder, { recursive: true })
  rmSync(bootFile, { force: true })
}

/** The example's first release, with a line that differs, and lines that say when it began and when it was up. */
function save(version: number): void {
  const app = join(ROOT, 'example', 'releases', 'r1', 'app.ts')
  const lines = [
    `// version ${version}`,
    `import { writeFileSync } from 'node:fs'`,
    `import ${JSON.stringify(app)}`,
    'const { timeOrigin } = performance',
    `writeFileSync(${JSON.stringify(bootFile)}, JSON.stringify([timeOrigin, timeOrigin + performance.now()]))`,
  ]
  writeFileSync(join(folder, 'app.ts'), `${lines.join('\n')}\n`)
}

/** Up with the migration that the first release needs, run and promoted by hand. */
async function startDev(): Promise<ChildProcess> {
  const args = [BIN, 'dev', '--listen', `127.0.0.1:${port}`, '--', process.execPath, 'app.ts']
  const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ['ignore', 'ignore', 'inherit'] })
  const idle = await until(async () => {
    const { idle } = JSON.parse(await slotgate('status', '--json').catch(() => '{}'))
    return idle?.state === 'running' ? idle : null
  })
  await fetch(`${idle.internal_url}/migrations/run`, { method: 'POST', body: '{"to":1}' })
  await slotgate('promote')
  return child
}

async function slotgate(...args: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, [BIN, ...args], { cwd: folder })).stdout
}

/** @returns how long the app takes from its start until both its ports answer, in ms, with nobody in between */
async function bootAlone(): Promise<number> {
  const [PORT, INTERNAL_PORT] = [await freePort(), await freePort()]
  const began = performance.now()
  const child = spawn(process.execPath, ['app.ts'], {
    cwd: folder,
    env: { ...env, PORT: String(PORT), INTERNAL_PORT: String(INTERNAL_PORT), HOST: '127.0.0.1' },
    stdio: 'ignore',
  })
  try {
    await until(async () => (await isHealthy(INTERNAL_PORT)) && (await isAccepting(PORT)))
    return performance.now() - began
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
}

function isHealthy(internalPort: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(internalPort, '127.0.0.1')
    socket.on('error', () => resolve(false))
    socket.once('data', (answer) => {
      resolve(answer.toString().startsWith('HTTP/1.1 200'))
      socket.destroy()
    })
    socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  })
}

/** What one save took, in ms. */
interface Saved {
  /** Until the new code was live. */
  whole: number
  /** Of that, the app from its first instruction until it listened on both ports, in this very boot. */
  boot: number
  /** Where the rest went. */
  parts: Record<string, number>
}

/** Saves, and lets nobody ask for anything meanwhile: the app and the journal say when what happened. */
async function saveAndWait(version: number): Promise<Saved> {
  const before = await releaseThatAnswers()
  const saved = performance.timeOrigin + performance.now()
  save(version)
  const { booted = 0, staged = 0, flipped = 0 } = await until(async () => eventsSince(saved), 20)
  // It is written down a moment before it happens.
  await until(async () => (await releaseThatAnswers()) !== before)
  // What is retired ends, so that the next run has the cores for itself.
  await pause(500)
  const [began, up] = JSON.parse(readFileSync(bootFile, 'utf8'))
  return {
    whole: flipped - saved,
    boot: up - began,
    parts: {
      'seen, settled, started': began - saved,
      'seen to be healthy': booted - up,
      staged: staged - booted,
      'asked, asked again, flipped': flipped - staged,
    },
  }
}

async function releaseThatAnswers(): Promise<string | null> {
  return (await fetch(`http://127.0.0.1:${port}/invoices`)).headers.get('x-release')
}

/** @returns when each event of the switch happened; null: it has not yet */
function eventsSince(saved: number): Record<string, number> | null {
  const text = readFileSync(join(folder, '.slotgate', 'dev', 'state', 'journal.jsonl'), 'utf8')
  const records = text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
  const at = Object.fromEntries(records.map(({ event, time }) => [event, Date.parse(time)]))
  return (at.flipped ?? 0) >= saved ? at : null
}

/**
 * What is beyond the app's own boot is told of each boot by itself: two boots differ by more than that. The app alone is for
 * comparison; and the least of each, which says most on a machine that has other things to do.
 */
function report(alone: number[], runs: Saved[]): void {
  const line = (name: string, times: readonly number[]) => {
    const [middle, high] = [median(times), quantile(times, 0.95)].map((ms) => `${ms.toFixed(0)} ms`)
    console.log(`${name.padEnd(34)} median ${middle}, p95 ${high}, least ${Math.min(...times).toFixed(0)} ms`)
  }
  const timesOf = (of: (run: Saved) => number) => runs.map(of)
  line('the app, started alone', alone)
  line(
    'from the save to the new code',
    timesOf(({ whole }) => whole),
  )
  line(
    "  the app's own boot",
    timesOf(({ boot }) => boot),
  )
  line(
    "  beyond the app's own boot",
    timesOf(({ whole, boot }) => whole - boot),
  )
  for (const name of Object.keys(runs[0]?.parts ?? {})) {
    line(
      `    ${name}`,
      timesOf(({ parts }) => parts[name] ?? Number.NaN),
    )
  }
}

async function until<Found>(look: () => Promise<Found>, everyMs = LOOK_MS): Promise<NonNullable<Found>> {
  for (const end = performance.now() + WITHIN_MS; performance.now() < end; await pause(everyMs)) {
    const found = await look()
    if (found) return found
  }
  throw new Error(`not within ${WITHIN_MS} ms`)
}
