// `npm run demo`: a database, slotgate, the first release of the invoice app, and the commands to type next. It stays
// up until Ctrl-C and leaves nothing behind. With `--tour` it plays the whole story by itself, under load.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { messageOf, SlotgateError } from '../src/errors.ts'
import { ownStateDir } from '../src/slots/owner.ts'
import { openDatabase } from './database.ts'
import { createFreshDatabase } from './fresh-database.ts'
import { play } from './tour.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const BIN = join(ROOT, 'src/bin.ts')
const FOLDER = join(ROOT, '.demo')
const KEY = '.demo/ops.key'
const UP_WITHIN_MS = 15_000

/** How a command of the CLI ended. */
export interface Ran {
  code: number
  stdout: string
  /** Both streams, in the order in which they came. */
  shown: string
}

/** A running demo, as the tour uses it. */
export interface Demo {
  frontDoor: string
  /** Runs a command of the CLI and shows it, as if somebody had typed it. */
  type(...command: string[]): Promise<Ran>
  /** The same without showing it, parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: the JSON of any command
  ask(...command: string[]): Promise<any>
  say(text: string): void
  /** Kills slotgate with SIGKILL. */
  killSlotgate(): Promise<void>
  startSlotgate(): Promise<void>
}

const say = (text = ''): void => console.log(text)

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { tour: { type: 'boolean', default: false } } })
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort())
  const undo: (() => Promise<unknown>)[] = []
  try {
    return await run(values.tour, undo, interrupted.signal)
  } catch (error) {
    if (interrupted.signal.aborted) return stopping()
    console.error(`\nThe demo ended: ${messageOf(error)}`)
    return 1
  } finally {
    for (const step of undo.reverse()) await step().catch((error) => console.error(messageOf(error)))
  }
}

async function run(
  tour: boolean,
  undo: (() => Promise<unknown>)[],
  interrupted: AbortSignal,
): Promise<number> {
  undo.push(await takeFolder())
  say('Starting PostgreSQL …')
  const cluster = await openDatabase()
  undo.push(cluster.stop)
  const database = await createFreshDatabase(cluster.url, 'slotgate_demo')
  undo.push(database.drop)
  const { publicKey } = await makeKey()
  const env = { ...process.env, DATABASE_URL: database.url, DEMO_PUBLIC_KEY: publicKey }
  let slotgate = await startSlotgate(env)
  undo.push(() => stop(slotgate))
  const demo: Demo = {
    frontDoor: 'http://127.0.0.1:8080',
    type: async (...command) => {
      interrupted.throwIfAborted()
      return type(command, env)
    },
    ask: async (...command) => JSON.parse((await cli([...command, '--json'], env)).stdout),
    say,
    killSlotgate: async () => {
      slotgate.kill('SIGKILL')
      await once(slotgate, 'exit')
    },
    startSlotgate: async () => {
      slotgate = await startSlotgate(env)
    },
  }
  await firstRelease(demo)
  if (tour) return play(demo, interrupted)
  say(WHAT_NOW)
  const crashed = once(slotgate, 'exit', { signal: interrupted }).catch(() => null)
  const crash = await crashed
  if (crash) throw new Error(`slotgate stopped; its log is in ${join(FOLDER, 'slotgate.log')}`)
  return stopping()
}

function stopping(): number {
  say('\nStopping; nothing is left behind.')
  return 0
}

/** The demo's folder, emptied of what an earlier one may have left; a demo that still runs is not disturbed. */
async function takeFolder(): Promise<() => Promise<void>> {
  await mkdir(FOLDER, { recursive: true })
  const release = await ownStateDir(FOLDER).catch(sayWhoIsThere)
  for (const name of ['ops.key', 'slotgate.log']) await rm(join(FOLDER, name), { force: true })
  await rm(join(FOLDER, 'state', 'journal.jsonl'), { force: true })
  return async () => {
    await release()
    await rm(FOLDER, { recursive: true, force: true })
  }
}

function sayWhoIsThere(error: unknown): never {
  if (!(error instanceof SlotgateError) || error.code !== 'state_dir_in_use') throw error
  throw new Error(
    `another one runs here already, process ${error.facts.pid}. Ctrl-C in its terminal ends it.`,
  )
}

async function makeKey(): Promise<{ publicKey: string }> {
  const { stdout } = await cli(['keys', 'generate', '--id', 'ops', '--out', KEY, '--json'], process.env)
  return { publicKey: JSON.parse(stdout).key.public_key }
}

/** Starts slotgate with the config at the top of the project; its log goes into the demo's folder. */
async function startSlotgate(env: NodeJS.ProcessEnv): Promise<ChildProcess> {
  say('Starting slotgate …')
  const child = spawn(process.execPath, [BIN, 'serve', '--config', 'proxy.config.yaml'], {
    cwd: ROOT,
    env,
    // A group of its own: Ctrl-C reaches the demo alone, which then stops everything in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const log = createWriteStream(join(FOLDER, 'slotgate.log'), { flags: 'a' })
  child.stdout.pipe(log, { end: false })
  child.stderr.pipe(log, { end: false })
  const complaints: string[] = []
  child.stderr.on('data', (chunk) => complaints.push(String(chunk)))
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('slotgate did not come up in time')), UP_WITHIN_MS)
    child.once('exit', (code) =>
      reject(new Error(`slotgate ended with exit code ${code}\n${complaints.join('')}`)),
    )
    child.stdout.on('data', (chunk) => {
      if (!String(chunk).includes('slotgate is up')) return
      clearTimeout(late)
      resolve()
    })
  })
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

function cli(command: string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawn(process.execPath, [BIN, ...command], {
    cwd: ROOT,
    env: { ...env, SLOTGATE_KEY: KEY, SLOTGATE_ADMIN: 'http://127.0.0.1:8081' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ran = { code: 0, stdout: '', shown: '' }
  child.stdout.on('data', (chunk) => {
    ran.stdout += chunk
    ran.shown += chunk
  })
  child.stderr.on('data', (chunk) => {
    ran.shown += chunk
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ ...ran, code: code ?? 1 }))
  })
}

async function type(command: string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  say(`\n$ slotgate ${command.join(' ')}`)
  const ran = await cli(command, env)
  for (const line of ran.shown.trimEnd().split('\n')) say(`  ${line}`)
  return ran
}

/** r1 needs schema 1, and nobody but the app itself creates it: staged, migrated on its internal port, promoted. */
async function firstRelease({ type, ask, say: tell }: Demo): Promise<void> {
  await expectDone(type('stage', 'r1'))
  const { idle } = await ask('status')
  await migrate(idle.internal_url, 1, tell)
  await expectDone(type('promote'))
}

async function expectDone(ran: Promise<Ran>): Promise<void> {
  const { code } = await ran
  if (code !== 0)
    throw new Error(`the command ended with exit code ${code}; see ${join(FOLDER, 'slotgate.log')}`)
}

/** Asks the app, never slotgate, to migrate. */
export async function migrate(internalUrl: string, to: number, tell: (text: string) => void): Promise<void> {
  const url = `${internalUrl}/migrations/run`
  tell(`\n$ curl -X POST ${url} -d '{"to": ${to}}'`)
  const response = await fetch(url, { method: 'POST', body: JSON.stringify({ to }) })
  tell(`  ${await response.text()}`)
  if (response.status !== 200) throw new Error(`the migration to ${to} was refused with ${response.status}`)
}

const WHAT_NOW = `
r1 is live. In a browser: http://127.0.0.1:8080/

In a second terminal, in this folder:

  export SLOTGATE_KEY=.demo/ops.key
  slotgate() { npm run -s slotgate -- "$@"; }

  slotgate status
  slotgate deploy r2        # refused: r2 needs a schema that is not there yet; the answer says what to run
  slotgate promote          # after the migration
  slotgate rollback         # r1 said that it works with the new schema, too
  slotgate history

The README has the whole tour. slotgate's log: .demo/slotgate.log
Ctrl-C stops everything and leaves nothing behind.`

process.exitCode = await main()
