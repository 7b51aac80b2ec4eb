// `slotgate dev` as a process of its own, in a folder with an app, as somebody types it who develops.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { type Dispatcher, request } from 'undici'
import { freePort } from '../../bench/ports.ts'
import type { Scope } from './scope.ts'

const BIN = join(import.meta.dirname, '..', '..', 'src', 'bin.ts')
const WITHIN_MS = 30_000
const LOOK_MS = 10

/** An app with one port that answers with this text. */
export const sayingOnOnePort = (text: string, first = ''): string => `${first}
import { createServer } from 'node:http'
createServer((request, response) => {
  response.setHeader('content-type', 'text/html; charset=utf-8')
  response.end(${JSON.stringify(text)})
}).listen(process.env.PORT, process.env.HOST)
process.on('SIGTERM', () => process.exit())
`

/** Opens the second port, for its health alone: without one, the first boot of a session takes a second longer. */
export const HEALTH = `
import { createServer as createInternal } from 'node:http'
const health = ({ url }, response) => response.writeHead(url === '/healthz' ? 200 : 404).end()
createInternal(health).listen(process.env.INTERNAL_PORT, process.env.HOST)
`

/** An app that answers with this text. */
export const saying = (text: string, first = ''): string => sayingOnOnePort(text, first) + HEALTH

/** The least app that has both ports, with a schema in a file; it has room for what a test wants it to wait for. */
export const withSchema = (text: string, range: [min: number, max: number], first = ''): string => `
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
const { PORT, INTERNAL_PORT, HOST, SLOTGATE_BOOT_ID: boot_id } = process.env
const [min, max] = ${JSON.stringify(range)}
const HTML = { 'content-type': 'text/html', 'content-security-policy': "default-src 'self'", etag: '"a"' }
createServer((_, response) => response.writeHead(200, HTML).end(${JSON.stringify(text)})).listen(PORT, HOST)
${first}
createServer((request, response) => {
  if (request.url === '/migrations/run') writeFileSync('.git/schema', String(max))
  const current = Number(readFileSync('.git/schema', 'utf8'))
  const pending = current < max ? [max + '_notes.sql'] : []
  response.end(JSON.stringify({
    current_schema_version: current, code_min_schema_version: min, code_max_schema_version: max,
    pending_migrations: pending, compatible: min <= current && current <= max, boot_id,
  }))
}).listen(INTERNAL_PORT, HOST)
process.on('SIGTERM', () => process.exit())
`

/** The least that there is to develop. */
export const SHOP = {
  'package.json': JSON.stringify({ name: 'shop', type: 'module' }),
  'server.js': saying('one'),
}

/** Whether the processes of a session can be found. */
export const IS_LINUX = existsSync('/proc/self/environ')

export interface DevOptions {
  files: Record<string, string>
  /** What follows `slotgate dev`; by default the front door on a free port, and `server.js` run by Node. */
  args?: (port: number) => string[]
  env?: NodeJS.ProcessEnv
  /** Types the command in a terminal; from the background it comes to the front with the next line that is typed. */
  inTerminal?: 'front' | 'background'
}

export class Dev {
  readonly folder: string
  /** Where it was told to listen; a session that finds a port itself shows where that is. */
  url: string
  readonly child: ChildProcess
  readonly exited: Promise<number | null>
  #shown = ''

  private constructor(folder: string, port: number, child: ChildProcess) {
    this.folder = folder
    this.url = `http://127.0.0.1:${port}`
    this.child = child
    this.exited = once(child, 'exit').then(([code]) => code)
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk) => {
        this.#shown += stripVTControlCharacters(String(chunk)).replaceAll('\r', '')
      })
    }
  }

  static async start(t: Scope, { files, args, env, inTerminal }: DevOptions): Promise<Dev> {
    const folder = await mkdtemp(join(tmpdir(), 'slotgate-dev-'))
    await Promise.all(Object.entries(files).map(([path, text]) => writeIn(folder, path, text)))
    const port = await freePort()
    const words = [BIN, 'dev', ...(args?.(port) ?? listeningOn(port))]
    const line = [process.execPath, ...words].map((word) => `'${word}'`).join(' ')
    const typed = inTerminal === 'background' ? `set -m; ${line} & read answer; fg` : line
    const child = inTerminal
      ? spawn(
          'script',
          [
            '--quiet',
            '--flush',
            '--return',
            '--command',
            `stty -a >before; ${typed}; code=$?; stty -a >after; exit $code`,
            '/dev/null',
          ],
          { cwd: folder, env: { ...process.env, ...env } },
        )
      : spawn(process.execPath, words, {
          cwd: folder,
          env: { ...process.env, ...env },
          stdio: ['ignore', 'pipe', 'pipe'],
        })
    const dev = new Dev(folder, port, child)
    t.teardown(async () => {
      await dev.end('SIGTERM')
      await rm(folder, { recursive: true, force: true })
    })
    return dev
  }

  /** All that it has shown so far. */
  get shown(): string {
    return this.#shown
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal)
    return this.exited
  }

  press(key: string): void {
    this.child.stdin?.write(key)
  }

  async save(path: string, text: string): Promise<void> {
    await writeIn(this.folder, path, text)
  }

  async read(path: string): Promise<string> {
    return readFile(join(this.folder, path), 'utf8')
  }

  /** Waits until it has shown this. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    return this.until(async () => pattern.exec(this.shown), String(pattern))
  }

  async get(path = '/', headers: Record<string, string> = {}, method: Dispatcher.HttpMethod = 'GET') {
    const response = await request(this.url + path, { method, headers, reset: true, headersTimeout: 20_000 })
    return { status: response.statusCode, headers: response.headers, text: await response.body.text() }
  }

  /** Waits until the front door answers with this. */
  async answers(text: string): Promise<void> {
    const isThere = async () => (await this.get()).text === text
    await this.until(() => isThere().catch(() => false), `the answer ${text}`)
  }

  /** Another command, typed in the same folder without a flag that says where and with which key. */
  async type(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve) => {
      const { SLOTGATE_KEY: _, SLOTGATE_ADMIN: __, ...env } = process.env
      execFile(process.execPath, [BIN, ...words], { cwd: this.folder, env }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })
  }

  async until<Found>(look: () => Promise<Found>, what: string): Promise<NonNullable<Found>> {
    for (const end = performance.now() + WITHIN_MS; performance.now() < end; await pause(LOOK_MS)) {
      const found = await look()
      if (found) return found
      if (this.child.exitCode !== null) throw new Error(`${what}: it has ended\n${this.shown}`)
    }
    throw new Error(`${what}: not within ${WITHIN_MS} ms\n${this.shown}`)
  }

  /** The processes that work in its folder. */
  async processes(): Promise<number[]> {
    const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
    const folders = await Promise.all(
      all.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')),
    )
    return all.filter((_, at) => folders[at]?.includes(`SLOTGATE_STATE_DIR=${this.folder}`))
  }
}

export const listeningOn = (port: number): string[] => [
  '--listen',
  `127.0.0.1:${port}`,
  '--',
  process.execPath,
  'server.js',
]

async function writeIn(folder: string, path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true })
  await writeFile(join(folder, path), text)
}
