// A world for one test: a folder with releases, a config, a key, and a slotgate that runs on it, spoken to over its
// two doors as anybody else would.
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text as textOf } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { ListenAddress } from '../../src/config/types.ts'
import { request } from '../../src/http.ts'
import { signRequest } from '../../src/signing.ts'
import type { ServiceStatus } from '../../src/switch/types.ts'

/** How a release of the fixture app behaves. */
export interface Manners {
  min: number
  max: number
  /** Overrides fields of the status. */
  status?: Record<string, unknown>
  /** How many lines it writes before anything else. */
  lines?: number
  exitOnBoot?: number
  unhealthy?: boolean
  hangs?: boolean
  listensOn?: number
  internalOn?: number
  ignoresSigterm?: boolean
  migratesOnBoot?: boolean
}

export interface Answer {
  status: number
  // The answers of the admin door are checked by what the tests expect of them.
  // biome-ignore lint/suspicious/noExplicitAny: parsed JSON of any shape
  body: any
}

export interface Doors {
  frontDoor: ListenAddress
  admin: ListenAddress
  /** Where the settings of the world want that. */
  metrics?: ListenAddress
}

export const APP = fileURLToPath(new URL('./app.ts', import.meta.url))
const BIN = fileURLToPath(new URL('../../src/bin.ts', import.meta.url))

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const PUBLIC_KEY = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')

export class World {
  readonly folder: string
  readonly logLines: string[] = []
  #doors: Doors | null = null
  /** Extra lines for the service in the config. */
  service: string[] = []
  /** Extra lines of the config itself, such as `relay`. Threads only where a test is about them: each takes its time to start. */
  settings: string[] = ['threads: 0']
  /** 0: a free one. */
  adminPort = 0
  /** More entries of `admin.keys`. */
  keys: string[] = []
  /** Instead of the one service that boots the fixture app. */
  services: string[] | null = null
  /** How its releases come to be. */
  driver: string[] = ['driver: process', 'cwd: releases/{release}']
  command: string[] = [process.execPath, APP]
  setup: string[] | null = null
  env: Record<string, string> = {}
  /** For slotgate itself, where it is a process of its own; undefined takes a variable out. */
  serveEnv: NodeJS.ProcessEnv = {}
  preload: string | null = null
  health = '{ interval: 20ms, within: 5s }'

  private constructor(folder: string) {
    this.folder = folder
  }

  /** @param version where the schema of the fixture app is */
  static async create(t: Pick<Test, 'teardown'>, version = 42): Promise<World> {
    const world = new World(await mkdtemp(join(tmpdir(), 'slotgate-world-')))
    await world.migrate(version)
    // Again where a release that a test left behind wrote into it meanwhile.
    t.teardown(() => rm(world.folder, { recursive: true, force: true, maxRetries: 5 }))
    return world
  }

  get stateDir(): string {
    return join(this.folder, 'state')
  }

  async addRelease(id: string, manners: Manners): Promise<void> {
    const folder = join(this.folder, 'releases', id)
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'release.json'), JSON.stringify(manners))
  }

  /** Sets the schema of the fixture app, behind everybody's back. */
  async migrate(current: number, more: Record<string, unknown> = {}): Promise<void> {
    await this.#writeSchema('schema.json', { current, ...more })
  }

  /** Lets one release find the schema here the next time it looks, as if this had committed just before. */
  async letSeeOnce(release: string, current: number): Promise<void> {
    await this.#writeSchema(`schema.${release}.json`, { current })
  }

  async #writeSchema(name: string, schema: Record<string, unknown>): Promise<void> {
    const file = join(this.folder, name)
    // The releases read it all the time, and one that finds half of it dies.
    await writeFile(`${file}.new`, JSON.stringify(schema))
    await rename(`${file}.new`, file)
  }

  /** Lets every `/held` request of the fixture app end. */
  async letGo(): Promise<void> {
    await writeFile(join(this.folder, 'let-go'), '')
  }

  async schemaVersion(): Promise<number> {
    return JSON.parse(await readFile(join(this.folder, 'schema.json'), 'utf8')).current
  }

  /** The internal requests that the releases saw: "r42 GET /healthz idle". */
  async internalLog(): Promise<string[]> {
    const text = await readFile(join(this.folder, 'internal.log'), 'utf8').catch(() => '')
    return text.split('\n').filter(Boolean)
  }

  async writeConfig(lines = this.services ?? this.#defaultService()): Promise<string> {
    const file = join(this.folder, 'proxy.config.yaml')
    const text = [
      'listen: 127.0.0.1:0',
      'admin:',
      `  listen: 127.0.0.1:${this.adminPort}`,
      '  keys:',
      `    - { id: ops, algorithm: ed25519, public_key: "${PUBLIC_KEY}", allow: [read, stage, promote, rollback, traffic] }`,
      ...this.keys.map((key) => `    - ${key}`),
      'state_dir: state',
      ...this.settings,
      'services:',
      ...lines,
    ].join('\n')
    await writeFile(file, `${text}\n`)
    return file
  }

  #defaultService(): string[] {
    return [
      '  invoices:',
      '    releases:',
      ...this.driver.map((line) => `      ${line}`),
      `      command: ${JSON.stringify(this.command)}`,
      ...(this.setup ? [`      setup: ${JSON.stringify(this.setup)}`] : []),
      `      env: ${JSON.stringify({ WORLD: this.folder, ...this.env })}`,
      `    health: ${this.health}`,
      ...this.service.map((line) => `    ${line}`),
    ]
  }

  /** Starts slotgate in this process; it stops with the test. */
  async start(t: Pick<Test, 'teardown'>): Promise<() => Promise<void>> {
    // Loaded here: where slotgate is a process of its own, the test's process needs none of it.
    const [{ loadConfig }, { createLogger }, { start }] = await Promise.all([
      import('../../src/config/load.ts'),
      import('../../src/log.ts'),
      import('../../src/main.ts'),
    ])
    const config = loadConfig(await this.writeConfig())
    const log = createLogger('debug', {
      write: (lines) => void this.logLines.push(...lines.split('\n').filter(Boolean)),
    })
    const slotgate = await start(config, log)
    this.#doors = slotgate
    let closed: Promise<void> | undefined
    const close = () => (closed ??= slotgate.close())
    t.teardown(close)
    return close
  }

  /** Starts slotgate as a process of its own, as an operator does; resolves when it is up. */
  async spawn(t: Pick<Test, 'teardown'>): Promise<Served> {
    const file = await this.writeConfig()
    const args = [...(this.preload ? ['--import', this.preload] : []), BIN, 'serve', '--config', file]
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...this.serveEnv },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
    // No teardown runs where this process ends by an error that nobody catches.
    const end = () => child.kill()
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    t.teardown(async () => {
      child.kill('SIGTERM')
      await exited
    })
    const up = new Promise<Doors>((resolve, reject) => {
      const read = (line: string) => {
        this.logLines.push(line)
        const entry = parseLine(line)
        if (entry.front_door)
          resolve({
            frontDoor: toAddress(entry.front_door),
            admin: toAddress(entry.admin),
            ...(entry.metrics && { metrics: toAddress(entry.metrics) }),
          })
      }
      createInterface(child.stdout).on('line', read)
      createInterface(child.stderr).on('line', (line) => void this.logLines.push(line))
      void exited.then((code) =>
        reject(new Error(`slotgate ended with ${code}\n${this.logLines.join('\n')}`)),
      )
    })
    this.#doors = await up
    return { pid: child.pid ?? 0, kill: (signal) => void child.kill(signal), exited }
  }

  get doors(): Doors {
    if (!this.#doors) throw new Error('slotgate was not started')
    return this.#doors
  }

  get url(): string {
    return `http://127.0.0.1:${this.doors.frontDoor.port}`
  }

  get adminUrl(): string {
    return `http://127.0.0.1:${this.doors.admin.port}`
  }

  /** A signed call of the admin door. */
  async call(method: string, path: string, json?: unknown, ifMatch?: string): Promise<Answer> {
    const url = this.adminUrl + path
    const body = json === undefined ? '' : JSON.stringify(json)
    const contentType = json === undefined ? undefined : 'application/json'
    const key = { id: 'ops', algorithm: 'ed25519' as const, privateKey }
    const signed = signRequest({
      method,
      url,
      body,
      key,
      ...(contentType && { contentType }),
      ...(ifMatch && { ifMatch }),
    })
    const { status, headers, text } = await exchange(url, { method, headers: { ...signed }, body })
    return { status, body: /json/.test(headers['content-type'] ?? '') ? JSON.parse(text) : text }
  }

  stage = (release: string) => this.call('POST', '/v1/services/invoices/stage', { release })
  deploy = (release: string, ifMatch?: string) =>
    this.call('POST', '/v1/services/invoices/deploy', { release }, ifMatch)
  promote = (ifMatch?: string) => this.call('POST', '/v1/services/invoices/promote', {}, ifMatch)
  rollback = (to?: string) => this.call('POST', '/v1/services/invoices/rollback', to ? { to } : {})
  pause = (forMs?: number) =>
    this.call('POST', '/v1/services/invoices/pause', forMs === undefined ? {} : { for_ms: forMs })
  resume = () => this.call('POST', '/v1/services/invoices/resume', {})
  /** Makes the idle release live once nothing is open any more. */
  cutOver = () => this.call('POST', '/v1/services/invoices/promote', { exclusive: true })
  check = (operation: string, to?: string) =>
    this.call('POST', '/v1/services/invoices/check', { operation, ...(to && { to }) })

  advice = (to: number) => this.call('GET', `/v1/services/invoices/advice?to=${to}`)

  async status(): Promise<ServiceStatus> {
    return (await this.call('GET', '/v1/services/invoices')).body
  }

  async history(): Promise<Record<string, unknown>[]> {
    const { body } = await this.call('GET', '/v1/history?limit=1000')
    return body.records ?? body
  }

  /** One request at the front door, on a connection of its own. */
  async get(
    path = '/',
  ): Promise<{ status: number; release: string | undefined; text: string; retryAfter?: unknown }> {
    const { status, headers, text } = await exchange(this.url + path)
    return {
      status,
      release: headers['x-release']?.toString(),
      text,
      retryAfter: headers['retry-after'],
    }
  }

  /** Waits until what the test looks at is as it should be. */
  async until<Result>(look: () => Promise<Result | false | null | undefined>, what: string): Promise<Result> {
    // What takes long is looked at less and less often: each look takes its time from what is waited for.
    let waitMs = 15
    for (const end = performance.now() + 20_000; performance.now() < end; await pause(waitMs)) {
      const result = await look()
      if (result) return result
      waitMs = Math.min(waitMs * 1.2, 60)
    }
    throw new Error(`${what}: not within 20 s\n${this.logLines.slice(-30).join('\n')}`)
  }
}

/** A world where r42 (41–43) is live at schema 42, with these lines more in its service. */
export async function withLive(
  t: Test,
  { service = [], health }: { service?: string[]; health?: string } = {},
): Promise<World> {
  const world = await World.create(t)
  world.service = service
  if (health) world.health = health
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  const { status, body } = await world.deploy('r42')
  t.equal(status, 200, JSON.stringify(body))
  return world
}

/** A request with these fields, which is answered until the test ends it. */
export async function openRequest(
  { url }: World,
  fields: Record<string, string> = {},
): Promise<{ end(): Promise<string> }> {
  const call = request(`${url}/echo`, { method: 'POST', headers: fields, agent: false })
  call.write('begun ')
  const answer = await answerTo(call)
  return {
    end() {
      call.end('ended')
      return textOf(answer)
    },
  }
}

interface Sent {
  method?: string
  headers?: Record<string, string>
  body?: string
}

/** One request and its whole answer, on a connection of its own: its server may be closing a kept one. */
export async function exchange(
  url: string,
  { method = 'GET', headers = {}, body = '' }: Sent = {},
): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> {
  const call = request(url, { method, headers, agent: false })
  call.end(body)
  const answer = await answerTo(call)
  return { status: answer.statusCode ?? 0, headers: answer.headers, text: await textOf(answer) }
}

async function answerTo(call: ClientRequest): Promise<IncomingMessage> {
  // What breaks off once the answer has begun, the answer tells as well.
  call.on('error', () => {})
  const [answer] = await once(call, 'response')
  return answer
}

export interface Served {
  pid: number
  kill(signal: NodeJS.Signals): void
  exited: Promise<number | null>
}

function parseLine(line: string): Record<string, string> {
  try {
    return JSON.parse(line)
  } catch {
    return {}
  }
}

function toAddress(url = ''): ListenAddress {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port) }
}

/** Whether a process still runs; on Linux a zombie does not count. */
export async function isRunning(pid: number): Promise<boolean> {
  if (!existsSync('/proc')) {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat !== '' && !/\) Z /.test(stat)
}
