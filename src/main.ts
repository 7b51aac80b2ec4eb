// The composition root: connects config, journal, slots, switch, front door and admin door.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createMetricsListener } from './admin/metrics/listener.ts'
import { createMetrics } from './admin/metrics/metrics.ts'
import { type Admin, createAdmin } from './admin/server.ts'
import type { DevOptions } from './cli/call.ts'
import { loadConfig } from './config/load.ts'
import { reloadable } from './config/reload.ts'
import type { Config, ListenAddress, ServiceConfig } from './config/types.ts'
import { messageOf, SlotgateError } from './errors.ts'
import { Journal } from './journal/file.ts'
import { createLogger, type Logger } from './log.ts'
import { passSecret } from './passes.ts'
import type { Pages } from './relay/pages.ts'
import { createRelay, type Relay, workersOf } from './relay/relay.ts'
import { SpanExporter } from './relay/spans.ts'
import { listenUrl } from './slots/ask.ts'
import { createDockerDriver } from './slots/drivers/docker.ts'
import type { Driver } from './slots/drivers/driver.ts'
import { createGitDriver } from './slots/drivers/git.ts'
import { createProcessDriver } from './slots/drivers/process.ts'
import { folderSource } from './slots/drivers/source.ts'
import { createUrlDriver } from './slots/drivers/url.ts'
import { stopLeftovers, stopStragglers } from './slots/leftovers.ts'
import { Occupants } from './slots/occupants.ts'
import { ownStateDir } from './slots/owner.ts'
import { countPlaces, previewPlaces } from './slots/places.ts'
import { createBuffer, openTable, type Table } from './slots/table.ts'
import { stopSignal } from './stop-signal.ts'
import { bake } from './switch/bake.ts'
import { createControl } from './switch/control.ts'
import { Drains } from './switch/drain.ts'
import { Feed } from './switch/feed.ts'
import { Lock } from './switch/lock.ts'
import { Pause } from './switch/pause.ts'
import { Preview } from './switch/preview.ts'
import { restore, resume } from './switch/resume.ts'
import { recorded, type Service } from './switch/service.ts'
import { tellTraffic } from './switch/traffic.ts'
import type { Control } from './switch/types.ts'
import { watch } from './switch/watch.ts'

export interface Slotgate {
  /** Where the front door listens; the port that was chosen where the config says 0. */
  readonly frontDoor: ListenAddress
  /** How many worker threads serve the front door; 0: the main thread does. */
  readonly threads: number
  readonly admin: ListenAddress
  /** Where the metrics are without a signature; absent: nowhere. */
  readonly metrics?: ListenAddress
  readonly control: Control
  /** Takes over what a changed config may change while running, and returns what changed, and a sentence for what may not. */
  reload(next: Config): { changed: string[]; cannot: string[] }
  /** No new connections; what is open finishes within the drain time; every process is stopped. */
  close(): Promise<void>
}

/** What can change while running, read at each use. */
interface Current {
  config: Config
}

/**
 * Starts everything, in the order in which a failure leaves nothing behind but what ran before: own the state folder, read
 * the journal and point where it says, take over what still runs, open the doors, end what else a crash left over, bring
 * the live releases up.
 *
 * @param pages what the pages of the services say while they are developed; only with `threads: 0`
 * @throws SlotgateError `state_dir_in_use`, `state_dir_unusable`, `journal_broken`, `port_in_use`, `listen_failed`
 */
export async function start(
  config: Config,
  log: Logger = createLogger(),
  pages: Pages | null = null,
): Promise<Slotgate> {
  const undo: (() => Promise<unknown>)[] = []
  try {
    return await bringUp({ config, log, pages, undo })
  } catch (error) {
    for (const step of undo.reverse()) await step().catch(() => {})
    throw error
  }
}

interface Beginning {
  config: Config
  log: Logger
  pages: Pages | null
  /** Takes what has to be undone, in reverse order, if a later step fails. */
  undo: (() => Promise<unknown>)[]
}

async function bringUp({ config, log, pages, undo }: Beginning): Promise<Slotgate> {
  const { stateDir } = config
  const giveUpFolder = await ownStateDir(stateDir)
  undo.push(giveUpFolder)
  const journal = await Journal.open(join(stateDir, 'journal.jsonl'))
  undo.push(() => journal.close())
  if (journal.tornBytes > 0) log.warn({ bytes: journal.tornBytes }, 'dropped a torn last line of the journal')
  const threads = config.threads === 'auto' ? availableParallelism() : config.threads
  const layout = { services: countPlaces(config.services), workers: workersOf(threads) }
  const table = openTable(createBuffer(layout), layout)
  const previews = previewPlaces(config.services)
  const secret = layout.services > previews.length ? await passSecret(stateDir) : null
  const spans = config.tracing ? new SpanExporter(config.tracing, log) : null
  const relay = createRelay({
    listen: config.listen,
    threads,
    relay: config.relay,
    services: config.services,
    passSecret: secret,
    table,
    log,
    spans,
    pages,
  })
  const closing = new AbortController()
  const current = { config }
  const leftoversGone = Promise.withResolvers<void>()
  const mayRestart = leftoversGone.promise
  const feed = new Feed(journal)
  const parts = { current, table, relay, secret, journal, feed, log, closing: closing.signal, mayRestart }
  const services = config.services.map(({ name }, index) =>
    createService({ index, name, place: previews[index] ?? null, ...parts }),
  )
  undo.push(() => Promise.all(services.map(({ occupants }) => occupants.giveUp())))
  undo.push(async () => closing.abort())
  // All of them have ended before one's failure counts, or what another takes over could not be let go.
  const restored = await Promise.allSettled(services.map(restore))
  for (const result of restored) if (result.status === 'rejected') throw result.reason
  const frontDoor = await relay.listen()
  undo.push(() => relay.close(0))
  const keep = new Set(services.flatMap(({ occupants }) => occupants.takenOver()))
  await Promise.all(services.map(({ driver }) => driver.endLeftovers?.(keep)))
  await stopLeftovers({ journal, stateDir, log, keep })
  leftoversGone.resolve()
  await journal.append({ event: 'slotgate_started', actor: 'slotgate', pid: process.pid })
  for (const service of services) {
    resume(service)
    void watch(service)
    void bake(service)
  }
  void tellTraffic(services, relay, feed, closing.signal)
  const control = createControl(services, journal, feed, frontDoor)
  const metrics = createMetrics({
    control,
    feed,
    meter: relay.meter,
    spans,
    services: services.map(({ name }) => name),
    previews,
    held: (service) => table.held(service),
    lastFlips: new Map(services.map((service) => [service.name, recorded(service).flippedAt])),
    signal: closing.signal,
  })
  const metricsListener = createMetricsListener(metrics, config.metrics, log)
  const metricsAddress = await metricsListener?.listen()
  undo.push(async () => metricsListener?.close())
  const admin = createAdmin({ config: config.admin, control, metrics, log, ...lastSigned(journal) })
  // Last, because it may wait for the next second before it takes signed calls; the front door need not.
  const adminAddress = await admin.listen()
  return {
    frontDoor,
    threads: relay.threads,
    admin: adminAddress,
    ...(metricsAddress && { metrics: metricsAddress }),
    control,
    reload: (next) => reload(current, next, { admin, relay }),
    async close() {
      log.info('stopping: no new connections, open ones may finish')
      const operationsEnded = Promise.all(services.map(({ lock }) => lock.close()))
      closing.abort(new SlotgateError('shutting_down'))
      await relay.close(Math.max(...current.config.services.map(({ drain }) => drain.withinMs)))
      await spans?.close()
      await operationsEnded
      await Promise.all(services.map(({ occupants }) => occupants.close()))
      await stopStragglers(stateDir)
      await Promise.all(services.map(({ driver }) => driver.close?.()))
      await admin.close()
      metricsListener?.close()
      await journal.append({ event: 'slotgate_stopped', actor: 'slotgate' }).catch(() => {})
      await journal.close()
      await giveUpFolder()
    },
  }
}

/** Where the clock went back since the last record, calls signed before that record could be replays. */
function lastSigned(journal: Journal): { acceptSignedAfterMs?: number } {
  const last = journal.records.at(-1)
  const lastMs = last ? Date.parse(last.time) : 0
  return lastMs > Date.now() ? { acceptSignedAfterMs: lastMs } : {}
}

interface ServiceParts {
  index: number
  name: string
  /** Of its preview, in the table; null: there is none. */
  place: number | null
  secret: Uint8Array | null
  current: Current
  table: Table
  relay: Relay
  journal: Journal
  feed: Feed
  log: Logger
  closing: AbortSignal
  mayRestart: Promise<void>
}

function createService(parts: ServiceParts): Service {
  const { index, name, place, secret, current, table, relay, journal, feed, log, closing, mayRestart } = parts
  const settings = () => current.config.services[index] ?? fail(name)
  const places = place === null ? [index] : [index, place]
  const preview =
    place === null || secret === null
      ? null
      : new Preview({ place, name, secret, table, dataPlane: relay, journal, log })
  const driver = createDriver(settings, current, journal, log)
  const occupants = new Occupants({
    service: name,
    driver,
    settings: () => ({ health: settings().health, stopWithinMs: settings().drain.withinMs }),
    journal,
    log,
    setBackend: async (slot, backend) => {
      await Promise.all(places.map((one) => relay.setBackend(one, slot, backend)))
    },
    forget: (addresses) => relay.forget(addresses),
    liveSlot: () => table.pointer(index).slot,
    generation: () => table.pointer(index).generation,
    mayRestart,
  })
  occupants.watch()
  return {
    index,
    name,
    get config() {
      return settings()
    },
    table,
    driver,
    occupants,
    dataPlane: relay,
    journal,
    feed,
    lock: new Lock((step) => feed.tell(step)),
    drains: new Drains({
      index,
      name,
      limits: () => settings().drain,
      table,
      dataPlane: relay,
      journal,
      log,
      closing,
      preview,
    }),
    preview,
    pause: new Pause({ index, name, table, dataPlane: relay, journal, log, closing }),
    log,
    closing,
  }
}

function fail(name: string): never {
  throw new Error(`service ${name} left the config while running`)
}

function createDriver(
  settings: () => ServiceConfig,
  current: Current,
  journal: Journal,
  log: Logger,
): Driver {
  const { name, releases, slots } = settings()
  if (slots) return createUrlDriver({ slots, health: () => settings().health })
  if (!releases) return fail(name)
  const options = {
    service: name,
    settings: () => ({
      health: settings().health,
      stopWithinMs: settings().drain.withinMs,
      withheld: current.config.withheld,
    }),
    stateDir: current.config.stateDir,
    journal,
    log,
  }
  if (releases.driver === 'docker') return createDockerDriver({ ...options, releases })
  return releases.driver === 'git'
    ? createGitDriver({ ...options, releases })
    : createProcessDriver({ ...options, releases, source: folderSource(releases.cwd, name, journal) })
}

function reload(
  current: Current,
  next: Config,
  { admin, relay }: { admin: Admin; relay: Relay },
): { changed: string[]; cannot: string[] } {
  const { apply, changed, cannot } = reloadable(current.config, next)
  current.config = apply
  admin.setKeys(apply.admin.keys)
  relay.setServices(apply.services)
  return { changed, cannot }
}

/** Runs until a signal ends it. A second signal ends it at once; the processes it booted end with it either way. */
export async function serve(file: string, log: Logger = createLogger()): Promise<number> {
  // From here on: a signal that comes during the start must not leave what was booted behind.
  const stopped = stopSignal(['SIGTERM', 'SIGINT'], (signal) =>
    log.warn({ signal }, 'a second signal: ending at once'),
  )
  const slotgate = await start(loadConfig(file), log)
  log.info(
    {
      front_door: listenUrl(slotgate.frontDoor),
      admin: listenUrl(slotgate.admin),
      ...(slotgate.metrics && { metrics: `${listenUrl(slotgate.metrics)}/metrics` }),
      threads: slotgate.threads,
      pid: process.pid,
    },
    'slotgate is up',
  )
  process.on('SIGHUP', () => reloadFile(slotgate, file, log))
  // One connection's bug must not end everybody's front door.
  process.on('uncaughtException', (error) =>
    log.fatal({ err: error, code: 'internal_error' }, messageOf(error)),
  )
  await stopped
  await slotgate.close()
  log.info('slotgate has stopped')
  return 0
}

/** Runs what is developed in the working folder. A terminal that is closed ends it, too. */
export async function dev(options: DevOptions): Promise<number> {
  const { stdin, stdout, env } = process
  const stopped = stopSignal(['SIGTERM', 'SIGINT', 'SIGHUP'], () => {})
  // Loaded here: what watches a folder is of no use to a server.
  const { runDev } = await import('./dev/dev.ts')
  // A terminal that is gone takes no more lines, and what is left to do is to end.
  stdout.on('error', () => {})
  // One connection's bug must not end the session.
  process.on('uncaughtException', (error) => console.error(error))
  return runDev(options, { start, stopped, folder: process.cwd(), stdin, stdout, env })
}

function reloadFile(slotgate: Slotgate, file: string, log: Logger): void {
  try {
    const { changed, cannot } = slotgate.reload(loadConfig(file))
    log.info({ file, changed, cannot }, 'the config was read again')
  } catch (error) {
    const problems = error instanceof SlotgateError ? error.facts.problems : undefined
    log.error({ file, problems }, `the config was not taken over, the running one stays: ${messageOf(error)}`)
  }
}
