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
const cluster = await openDatabase()
const database = await createFreshDatabase(cluster.url, 'bench_dev')
const env = { ...process.env, DATABASE_URL: database.url }
const port = await freePort()
let dev: ChildProcess | undefined
try {
  save(0)
  const own: number[] = []
  const whole: number[] = []
  const parts: Record<string, number>[] = []
  dev = await startDev()
  for (let run = 1; run <= Number(values.runs); run++) {
    // In turns, so that a busy moment is everybody's.
    own.push(await bootAlone())
    const saved = await saveAndWait(run)
    whole.push(saved.tookMs)
    parts.push(saved.parts)
  }
  report(own, whole, parts)
} finally {
  dev?.kill('SIGTERM')
  if (dev) await once(dev, 'exit')
  await database.drop()
  await cluster.stop()
  rmSync(folder, { recursive: true })
}

/** The example's first release, with a line that differs. */
function save(version: number): void {
  const app = join(ROOT, 'example', 'releases', 'r1', 'app.ts')
  writeFileSync(join(folder, 'app.ts'), `// version ${version}\nimport ${JSON.stringify(app)}\n`)
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

interface Saved {
  /** Until the new code was live, in ms, and where that went by what the journal says. */
  tookMs: number
  parts: Record<string, number>
}

/** Saves, and lets nobody ask for anything meanwhile: the journal says when what happened. */
async function saveAndWait(version: number): Promise<Saved> {
  const before = await releaseThatAnswers()
  const savedMs = Date.now()
  save(version)
  const at = await until(async () => eventsSince(savedMs), 20)
  // It is written down a moment before it happens.
  await until(async () => (await releaseThatAnswers()) !== before)
  // What is retired ends, so that the next run has the cores for itself.
  await pause(500)
  const { booting = 0, booted = 0, staged = 0, flipped = 0 } = at
  return {
    tookMs: flipped - savedMs,
    parts: {
      'seen, settled, spawned': booting - savedMs,
      'booted and seen to be healthy': booted - booting,
      staged: staged - booted,
      'asked, asked again, flipped': flipped - staged,
    },
  }
}

async function releaseThatAnswers(): Promise<string | null> {
  return (await fetch(`http://127.0.0.1:${port}/invoices`)).headers.get('x-release')
}

/** @returns when each event of the switch happened; null: it has not yet */
function eventsSince(savedMs: number): Record<string, number> | null {
  const text = readFileSync(join(folder, '.slotgate', 'dev', 'state', 'journal.jsonl'), 'utf8')
  const records = text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
  const at = Object.fromEntries(records.map(({ event, time }) => [event, Date.parse(time)]))
  return (at.flipped ?? 0) >= savedMs ? at : null
}

/** The least of each, too: on a machine that has other things to do, it is what says most. */
function report(own: number[], whole: number[], parts: Record<string, number>[]): void {
  const line = (name: string, times: readonly number[], least = Math.min(...times)) => {
    const [middle, high] = [median(times), quantile(times, 0.95)].map((ms) => `${ms.toFixed(0)} ms`)
    console.log(`${name.padEnd(34)} median ${middle}, p95 ${high}, least ${least.toFixed(0)} ms`)
  }
  line("the app's own boot", own)
  line('from the save to the new code', whole)
  const beyond = whole.map((ms, run) => ms - (own[run] ?? Number.NaN))
  line("beyond the app's own boot", beyond, Math.min(...whole) - Math.min(...own))
  for (const name of Object.keys(parts[0] ?? {})) {
    line(
      `  ${name}`,
      parts.map((part) => part[name] ?? Number.NaN),
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
