// The system of the model's runs: the real switch, slots, journal and front door, over apps in the same process. A crash
// of slotgate drops all of it and begins anew with what the disk has.
import { channel } from 'node:diagnostics_channel'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { type ClientRequest, get, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ServiceConfig } from '../../../src/config/types.ts'
import { otherSlot, ROLE_HEADER, type SlotName } from '../../../src/contract.ts'
import { SlotgateError } from '../../../src/errors.ts'
import { Journal } from '../../../src/journal/file.ts'
import type { JournalEvent, JournalRecord } from '../../../src/journal/record.ts'
import { silentLogger } from '../../../src/log.ts'
import { createRelay, type Relay } from '../../../src/relay/relay.ts'
import type { Driver } from '../../../src/slots/drivers/driver.ts'
import { checkHealth } from '../../../src/slots/health.ts'
import { Occupants } from '../../../src/slots/occupants.ts'
import { createBuffer, openTable } from '../../../src/slots/table.ts'
import { createControl } from '../../../src/switch/control.ts'
import { Drains } from '../../../src/switch/drain.ts'
import { Feed } from '../../../src/switch/feed.ts'
import { Lock } from '../../../src/switch/lock.ts'
import { Pause } from '../../../src/switch/pause.ts'
import { restore, resume } from '../../../src/switch/resume.ts'
import { recorded, type Service } from '../../../src/switch/service.ts'
import type { Control } from '../../../src/switch/types.ts'
import { watch } from '../../../src/switch/watch.ts'
import { RELAY_CONFIG } from '../../relay/support.ts'
import { App, instanceOf, KILLED, type ReleaseName, type Town } from './app.ts'
import { VirtualClock } from './clock.ts'

export const SERVICE = 'invoices'
/** A request that is held for longer than this after its release left is cut. */
export const DRAIN_MS = 20_000
/** Longer than a drain, every look after a flip, and the longest wait for a restart. */
export const LONG_MS = 60_000
/** After so many turns of the event loop in which nothing was under way, nothing more comes by itself. */
const QUIET_TURNS = 10

const CONFIG: ServiceConfig = {
  name: SERVICE,
  hosts: [],
  pathPrefix: '/',
  stripPrefix: false,
  limits: { openRequests: 0 },
  errorPages: {},
  health: { path: '/healthz', intervalMs: 10, timeoutMs: 2_000, withinMs: 1_000 },
  schema: { path: '/schema/status', withinMs: 3_000, intervalMs: 15_000 },
  hold: { withinMs: 10_000, requests: 0, nothingLive: false },
  drain: { withinMs: DRAIN_MS, tunnelsWithinMs: DRAIN_MS },
  previous: 'keep',
  hiddenPaths: [],
}

/** What the disk does with the line of a flip. */
export type Fate = 'refused' | 'lost' | 'torn' | 'written'

/** Something that happens in the middle of an operation, after a look of the gate at both releases. */
export interface Meanwhile {
  /** After the first look, or after the second one, which is the last before the flip. */
  readonly look: 1 | 2
  readonly what: { migrateTo: number } | 'the candidate dies' | 'live dies'
}

export interface Answer {
  status: number
  bootId: string | undefined
}

/** A request that an app is still answering. */
export interface Held {
  readonly id: string
  readonly app: App
  /** The generation it was counted into. */
  readonly generation: number
  /** Resolves with whether it came to its end. */
  readonly ended: Promise<boolean>
  isOpen: boolean
  /** Whether it may be over: its app ended it, or its release left so long ago that it may be cut. */
  mayEnd: boolean
}

/** One life of slotgate. */
interface Life {
  readonly service: Service
  readonly control: Control
  readonly relay: Relay
  readonly journal: Journal
  readonly port: number
  readonly closing: AbortController
  isOver: boolean
}

export class System implements Town {
  schema = 42
  readonly sick = new Set<string>()
  bootsFail = false
  /** Happens with each boot. */
  onBoot: () => void = () => {}
  readonly delivered = new Map<string, App[]>()
  readonly apps: App[] = []
  readonly held: Held[] = []
  /** What was found wrong the moment it happened. */
  readonly found: string[] = []
  /** Every record that was promised to be on the disk. */
  readonly promised: JournalRecord[] = []
  /** What the disk does with the next flip's line; null: it keeps it. */
  fate: Fate | null = null
  meanwhile: Meanwhile | null = null
  #crashed = Promise.withResolvers<'crashed'>()
  #lives = 0
  #life: Life | null = null
  readonly #journals: Journal[] = []
  #underWay = 0
  /** How many questions of slotgate were seen to begin. */
  #questions = 0
  /** What the last life left behind. */
  #disk: Buffer = Buffer.alloc(0)
  #ids = 0
  readonly #folder: string
  readonly #clock = new VirtualClock()
  readonly #undo: (() => void)[] = []
  /** How often each app had been asked when the operation began. */
  readonly #asked = new Map<App, number>()

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async start(): Promise<System> {
    const system = new System(await mkdtemp(join(tmpdir(), 'slotgate-model-')))
    system.#undo.push(system.#clock.install(), system.#countQuestions())
    await system.#begin(Buffer.alloc(0))
    return system
  }

  get life(): Life {
    if (!this.#life) throw new Error('slotgate was not started')
    return this.#life
  }

  get service(): Service {
    return this.life.service
  }

  /** The app that runs in a slot, if one does. */
  appIn(slot: SlotName | null): App | undefined {
    const bootId = slot && this.service.occupants.get(slot)?.instance?.bootId
    return this.apps.find((app) => app.bootId === bootId)
  }

  get live(): App | undefined {
    return this.appIn(this.service.table.pointer(0).slot)
  }

  get idle(): App | undefined {
    const { slot } = this.service.table.pointer(0)
    return this.appIn(slot ? otherSlot(slot) : 'blue')
  }

  // What happens to it.

  /**
   * Calls an operation and waits until nothing of it is under way any more.
   *
   * @returns `ok`, the code of the refusal, or `crashed` if slotgate did not live to answer
   */
  async call(...operations: ((control: Control) => Promise<unknown>)[]): Promise<string[]> {
    this.#asked.clear()
    for (const app of this.apps) this.#asked.set(app, app.statuses)
    const crashed = this.#crashed.promise
    const answers = operations.map((operation) =>
      Promise.race([
        crashed,
        operation(this.life.control).then(
          () => 'ok',
          (error: unknown) => (error instanceof SlotgateError ? error.code : String(error)),
        ),
      ]),
    )
    const outcomes = await Promise.all(answers)
    if (outcomes.includes('crashed')) await this.#restart()
    await this.quiet()
    this.fate = null
    this.meanwhile = null
    return outcomes
  }

  /** slotgate is gone between two operations, and starts again. @param torn bytes of a line that was being written */
  async crash(torn = 0): Promise<void> {
    await this.#dropAll(
      torn > 0 ? Buffer.from('{"seq":999,"event":"asked","actor":"ops"'.slice(0, torn)) : null,
    )
    await this.#restart()
    await this.quiet()
  }

  async pass(ms: number): Promise<void> {
    await this.#clock.advance(ms, () => this.quiet())
    for (const held of this.held) held.mayEnd ||= ms > DRAIN_MS && held.app !== this.live
  }

  async endApp(app: App | undefined): Promise<void> {
    app?.end(KILLED)
    await this.quiet()
  }

  /** One request that is done at once, and must not be repeated by anybody. */
  async probe(): Promise<Answer & { id: string }> {
    const id = `p${++this.#ids}`
    const answer = await this.#send(id)
    await this.quiet()
    return { ...answer, id }
  }

  #send(id: string): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const options = {
      host: '127.0.0.1',
      port: this.life.port,
      path: `/?id=${id}`,
      method: 'POST',
      agent: false,
    }
    const sent = request(options, (answer) => {
      answer.resume()
      answer.on('error', reject)
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, bootId: answer.headers['x-boot']?.toString() }),
      )
    })
    sent.on('error', reject)
    sent.end()
    return promise
  }

  /** Begins a request that an app answers until it is finished; does nothing where none would. */
  async hold(): Promise<void> {
    const app = this.live
    const { generation } = this.service.table.pointer(0)
    if (!app) return
    const id = `h${++this.#ids}`
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const { promise: ended, resolve: end } = Promise.withResolvers<boolean>()
    const path = `/hold?id=${id}`
    get({ host: '127.0.0.1', port: this.life.port, path, agent: false }, (answer) => {
      let text = ''
      answer.on('data', (bytes: Buffer) => {
        text += String(bytes)
        begin()
      })
      answer.on('error', () => {})
      answer.on('close', () => end(text === 'begunended'))
    }).on('error', () => {
      begin()
      end(false)
    })
    await begun
    const held: Held = { id, app, generation, ended, isOpen: true, mayEnd: false }
    this.held.push(held)
    void ended.then(() => {
      held.isOpen = false
    })
    await this.quiet()
  }

  /** @returns whether it came to its end */
  async finish(held: Held): Promise<boolean> {
    held.mayEnd = true
    held.app.finish(held.id)
    const isWhole = await held.ended
    await this.quiet()
    return isWhole
  }

  /** Resolves when nothing is under way: no question, no write, no boot, no stop. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < QUIET_TURNS; turns++) {
      if (this.#underWay > 0) turns = 0
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** The journal as it is on the disk now. */
  async bytes(): Promise<Buffer> {
    return readFile(this.life.journal.file)
  }

  /** What slotgate would begin with from these bytes. @throws SlotgateError `journal_broken` */
  async startedFrom(bytes: Buffer): Promise<Pick<Journal, 'state' | 'records'>> {
    const file = join(this.#folder, 'copy.jsonl')
    await writeFile(file, bytes)
    const journal = await Journal.open(file)
    await journal.close()
    return journal
  }

  async end(): Promise<void> {
    await this.#dropAll(null)
    await this.quiet()
    for (const undo of this.#undo.splice(0)) undo()
    await Promise.all(this.#journals.map((journal) => journal.close()))
    for (const app of this.apps) app.end('the run is over')
    await rm(this.#folder, { recursive: true, force: true })
    const answered = this.apps.reduce((sum, { statuses }) => sum + statuses, 0)
    // Whoever does not see the questions takes it for quiet while they are under way.
    if (answered > this.#questions)
      throw new Error(`${answered} statuses were answered, and only ${this.#questions} questions seen`)
  }

  // How it lives and dies.

  /** A folder of its own for each life: what the one before still does cannot reach it. */
  async #begin(bytes: Buffer): Promise<void> {
    const folder = join(this.#folder, String(++this.#lives))
    await mkdir(folder)
    const file = join(folder, 'journal.jsonl')
    if (bytes.length > 0) await writeFile(file, bytes)
    const journal = await Journal.open(file)
    this.#journals.push(journal)
    const layout = { services: 1, workers: 1 }
    const table = openTable(createBuffer(layout), layout)
    const log = silentLogger()
    const listen = { host: '127.0.0.1', port: 0 }
    const relay = createRelay({ listen, threads: 0, relay: RELAY_CONFIG, services: [CONFIG], table, log })
    const closing = new AbortController()
    const life = { relay, journal, closing, isOver: false }
    const driver = this.#driverOf(life)
    const occupants = new Occupants({
      service: SERVICE,
      driver,
      settings: () => ({ health: CONFIG.health, stopWithinMs: DRAIN_MS }),
      journal,
      log,
      setBackend: (slot, backend) => relay.setBackend(0, slot, backend),
      forget: (addresses) => relay.forget(addresses),
      liveSlot: () => table.pointer(0).slot,
      generation: () => table.pointer(0).generation,
    })
    const common = {
      ...{ index: 0, name: SERVICE, table, dataPlane: relay, journal, log, closing: closing.signal },
      preview: null,
    }
    const drains = new Drains({ ...common, limits: () => CONFIG.drain })
    const feed = new Feed(journal)
    const pause = new Pause(common)
    const service = { ...common, config: CONFIG, driver, occupants, drains, pause, feed, lock: new Lock() }
    this.#watchWrites(life, service)
    await restore(service)
    const { port } = await relay.listen()
    this.#life = Object.assign(life, {
      service,
      port,
      control: createControl([service], journal, feed, listen),
    })
    this.#crashed = Promise.withResolvers<'crashed'>()
    await journal.append({ event: 'slotgate_started', actor: 'slotgate', life: this.#lives })
    resume(service)
    void watch(service)
  }

  #driverOf(life: Pick<Life, 'isOver'>): Driver {
    return {
      boots: true,
      bootsEarlier: true,
      isFixed: false,
      find: async () => null,
      identify: async (name) => name,
      boot: ({ release }) => (life.isOver ? new Promise(() => {}) : this.#track(this.#boot(release, life))),
    }
  }

  async #boot(release: string, life: Pick<Life, 'isOver'>) {
    const app = new App(release as ReleaseName, `${release}-${this.apps.length + 1}`, this)
    await app.listen()
    this.apps.push(app)
    this.onBoot()
    const problem = this.bootsFail
      ? 'it cannot find its configuration'
      : await checkHealth(app.internalAddress, CONFIG.health, 'idle')
    const stop = async () => {
      if (!life.isOver) this.#stop(app)
    }
    if (problem === null) return instanceOf(app, stop)
    app.end('exit code 1')
    throw new SlotgateError('target_boot_failed', { release, detail: problem, output: [] })
  }

  /** slotgate ends a process only when nothing waits for its answer any more. */
  #stop(app: App): void {
    if (!app.isGone && app.held.size > 0) {
      this.found.push(`3: ${app.bootId} was stopped while it answered ${[...app.held.keys()].join(', ')}`)
    }
    app.end('signal SIGTERM')
  }

  #watchWrites(life: Pick<Life, 'journal' | 'isOver'>, service: Service): void {
    const { journal } = life
    const append = journal.append.bind(journal)
    journal.append = (event) =>
      this.#track(
        (event.event === 'flipped' ? this.#writeFlip(event, service, append) : append(event)).then(
          (record) => {
            if (!life.isOver) this.promised.push(record)
            return record
          },
        ),
      )
  }

  async #writeFlip(
    event: JournalEvent,
    service: Service,
    append: (event: JournalEvent) => Promise<JournalRecord>,
  ): Promise<JournalRecord> {
    this.#examineFlip(event, service)
    if (this.fate === null) return append(event)
    if (this.fate === 'refused') {
      throw new SlotgateError('journal_write_failed', {
        file: service.journal.file,
        detail: 'the disk is full',
      })
    }
    if (this.fate === 'written') await append(event)
    const torn = this.fate === 'torn' ? Buffer.from(JSON.stringify(event).slice(0, -7)) : null
    await this.#dropAll(torn)
    this.#crashed.resolve('crashed')
    this.#underWay -= 1
    // It does not live to see it written.
    return new Promise(() => {})
  }

  /** What must be so the moment before a flip is written down. */
  #examineFlip({ release, generation }: JournalEvent, service: Service): void {
    const pointer = service.table.pointer(0)
    if (pointer.generation !== recorded(service).generation) {
      this.found.push(`6: the pointer is at ${pointer.generation} before that is written`)
    }
    if (generation !== pointer.generation + 1) {
      this.found.push(`9: generation ${generation} is written while the pointer is at ${pointer.generation}`)
    }
    const fits = this.apps.some((app) => app.release === release && !app.isGone && app.saidFitting)
    if (!fits) this.found.push(`4: ${release} goes live, and its last answer was that it does not fit`)
  }

  /** Nothing that this life still does matters from here on. */
  async #dropAll(torn: Buffer | null): Promise<void> {
    const { life } = this
    const bytes = await this.bytes()
    life.isOver = true
    this.#disk = torn ? Buffer.concat([bytes, torn]) : bytes
    life.closing.abort()
    await life.relay.close(0)
  }

  /** What ran is stopped as a leftover, which is what slotgate does first. */
  async #restart(): Promise<void> {
    await this.quiet()
    for (const app of this.apps) app.end(KILLED)
    await this.#begin(this.#disk)
  }

  async #track<Result>(work: Promise<Result>): Promise<Result> {
    this.#underWay += 1
    try {
      return await work
    } finally {
      this.#underWay -= 1
    }
  }

  /** Node's client tells of each request that begins; only slotgate's own questions say whom they are to. */
  #countQuestions(): () => void {
    const created = channel('http.client.request.created')
    const began = (message: unknown) => {
      const { request } = message as { request: ClientRequest }
      if (!request.hasHeader(ROLE_HEADER)) return
      this.#questions += 1
      this.#underWay += 1
      request.once('close', () => {
        this.#underWay -= 1
      })
    }
    created.subscribe(began)
    return () => void created.unsubscribe(began)
  }

  onStatus(app: App): void {
    const { meanwhile, live } = this
    if (!meanwhile || app.isGone) return
    const candidate = this.apps.findLast((one) => !one.isGone && one !== live && this.#looksAt(one) > 0)
    if (!candidate || this.#looksAt(candidate) !== meanwhile.look) return
    if (live && this.#looksAt(live) < meanwhile.look) return
    this.meanwhile = null
    const { what } = meanwhile
    if (what === 'live dies') live?.end(KILLED)
    else if (what === 'the candidate dies') candidate.end(KILLED)
    else this.schema = what.migrateTo
  }

  #looksAt(app: App): number {
    return app.statuses - (this.#asked.get(app) ?? 0)
  }
}
