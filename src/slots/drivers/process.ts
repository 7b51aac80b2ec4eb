// Boots releases as processes: fresh ports for each boot, a process group of its own, its output in the log.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { Address, HealthConfig, ProcessReleases } from '../../config/types.ts'
import { ENV } from '../../contract.ts'
import { type Facts, messageOf, SlotgateError } from '../../errors.ts'
import type { Journal } from '../../journal/file.ts'
import type { EventName } from '../../journal/record.ts'
import type { Logger } from '../../log.ts'
import { listeningPortsOf } from '../../ports.ts'
import { waitHealthy } from '../health.ts'
import { Output } from '../output.ts'
import { endProcesses, findByEnvironment, membersOf, signalGroup, startTimeOf } from '../proc.ts'
import type { BootRequest, Driver, Instance } from './driver.ts'

/** The groups that run now. However this process ends, short of a kill -9, none of them outlives it. */
const groups = new Set<number>()
process.on('exit', () => {
  for (const pid of groups) signalGroup(pid, 'SIGKILL')
})

const LOOPBACK = '127.0.0.1'
/** A boot that failed may still have lines in its pipes. */
const LAST_LINES_WITHIN_MS = 500

export interface ProcessSettings {
  health: HealthConfig
  /** How long a process may take to end after SIGTERM. */
  stopWithinMs: number
}

export interface ProcessDriverOptions {
  service: string
  releases: ProcessReleases
  /** Read at each boot, since a reload may change them. */
  settings(): ProcessSettings
  stateDir: string
  journal: Journal
  log: Logger
}

/** A child and what is known of it. */
interface Running {
  pid: number
  output: Output
  exited: Promise<string>
  /** Resolves when the last line was read. */
  closed: Promise<void>
  /** How it ended; null while it runs. */
  ended(): string | null
}

export function createProcessDriver(options: ProcessDriverOptions): Driver {
  return { boots: true, boot: (request) => boot(options, request) }
}

/** One boot, top to bottom; whatever fails leaves nothing running. */
async function boot(options: ProcessDriverOptions, request: BootRequest): Promise<Instance> {
  const { release } = request
  const cwd = await findFolder(options, release)
  await setUpOnce(options, request, cwd)
  const bootId = randomUUID()
  const [port, internalPort] = await freePorts()
  const facts = { bootId, port, internalPort }
  const running = await start(options, request, cwd, bootEnvironment(options, request, facts))
  const { pid } = running
  try {
    const start_time = await startTimeOf(pid)
    await note(options, request, bootId, 'booting', { pid, start_time, port, internal_port: internalPort })
    const instance = toInstance(options, request, running, facts)
    await becomeHealthy(options.settings(), request, running, instance)
    await note(options, request, bootId, 'booted', { pid })
    return instance
  } catch (error) {
    await end(running, options.settings().stopWithinMs)
    await note(options, request, bootId, 'boot_failed', { detail: messageOf(error) })
    throw error
  }
}

/** A disk that is full must not keep a dead release from being started again; a switch needs the journal anyway. */
async function note(
  { service, journal, log }: ProcessDriverOptions,
  { release, slot, rehearsal }: BootRequest,
  bootId: string,
  event: EventName,
  facts: Facts,
): Promise<void> {
  await journal
    .append({ ...facts, event, service, actor: 'slotgate', slot, release, boot_id: bootId, rehearsal })
    .catch((error) => log.error({ service, release, err: error }, 'the journal could not be written'))
}

const withRelease = (text: string, release: string): string => text.replaceAll('{release}', release)

async function findFolder({ releases }: ProcessDriverOptions, release: string): Promise<string> {
  const cwd = withRelease(releases.cwd, release)
  const found = await stat(cwd).catch(() => null)
  if (!found?.isDirectory()) {
    throw new SlotgateError('unknown_release', { release, detail: `${cwd} is not a folder` })
  }
  return cwd
}

/** Runs `setup` before the first boot of a release; a failed one runs again at the next attempt. */
async function setUpOnce(options: ProcessDriverOptions, request: BootRequest, cwd: string): Promise<void> {
  const { service, releases, journal, stateDir } = options
  const { release } = request
  if (!releases.setup || journal.state.services[service]?.setUp.includes(release)) return
  const env = {
    ...inheritedEnvironment(),
    ...configuredEnvironment(releases, release),
    [ENV.stateDir]: stateDir,
  }
  const running = await start(options, request, cwd, env, releases.setup)
  const stopIt = () => void end(running, options.settings().stopWithinMs)
  request.signal.addEventListener('abort', stopIt, { once: true })
  if (request.signal.aborted) stopIt()
  const ended = await running.exited
  request.signal.removeEventListener('abort', stopIt)
  // What it left behind in its group ends with it, and its id may soon be another's.
  await end(running, 0)
  await within(running.closed, LAST_LINES_WITHIN_MS)
  if (request.signal.aborted && request.signal.reason instanceof SlotgateError) throw request.signal.reason
  if (ended !== 'exit code 0') {
    throw new SlotgateError('setup_failed', {
      release,
      detail: `${releases.setup.join(' ')}: ${ended}`,
      output: running.output.lines,
    })
  }
  await journal.append({ event: 'setup_done', service, actor: 'slotgate', release })
}

/** slotgate's own environment without what only concerns slotgate, such as its CLI's key. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLOTGATE')))
}

const configuredEnvironment = ({ env }: ProcessReleases, release: string): Record<string, string> =>
  Object.fromEntries(Object.entries(env).map(([name, value]) => [name, withRelease(value, release)]))

interface BootFacts {
  bootId: string
  port: number
  internalPort: number
}

function bootEnvironment(
  { service, releases, stateDir }: ProcessDriverOptions,
  { release, slot, rehearsal }: BootRequest,
  { bootId, port, internalPort }: BootFacts,
): NodeJS.ProcessEnv {
  return {
    ...inheritedEnvironment(),
    ...configuredEnvironment(releases, release),
    [ENV.host]: LOOPBACK,
    [ENV.port]: String(port),
    [ENV.internalPort]: String(internalPort),
    [ENV.slotgate]: '1',
    [ENV.service]: service,
    [ENV.slot]: slot,
    [ENV.release]: release,
    [ENV.bootId]: bootId,
    [ENV.stateDir]: stateDir,
    ...(rehearsal && { [ENV.rehearsal]: '1' }),
  }
}

/** Two different free ports: both are held open until both are known. */
async function freePorts(): Promise<[number, number]> {
  const servers = [createServer(), createServer()]
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, LOOPBACK, () => {
            const address = server.address()
            resolve(typeof address === 'object' && address ? address.port : 0)
          })
        }),
    ),
  )
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return [ports[0] ?? 0, ports[1] ?? 0]
}

/** Spawns in a process group of its own, so that a stop reaches what the command started, too. */
async function start(
  { service, releases, log }: ProcessDriverOptions,
  { release, slot }: BootRequest,
  cwd: string,
  env: NodeJS.ProcessEnv,
  command: readonly string[] = releases.command,
): Promise<Running> {
  const [file = '', ...args] = command.map((part) => withRelease(part, release))
  const child = spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = new Output((line, stream) => log.info({ service, slot, release, stream }, line))
  if (child.stdout) output.follow(child.stdout, 'stdout')
  if (child.stderr) output.follow(child.stderr, 'stderr')
  let ended: string | null = null
  // 'exit' and not 'close': a grandchild may hold the pipes open, and a dead release must be noticed at once.
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = signal ? `signal ${signal}` : `exit code ${code}`
      resolve(ended)
    })
  })
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const failed = await new Promise<Error | null>((resolve) => {
    child.once('spawn', () => resolve(null))
    child.once('error', resolve)
  })
  if (failed || child.pid === undefined) {
    const detail = `${file} cannot be run in ${cwd} (${messageOf(failed)})`
    throw new SlotgateError('target_boot_failed', { release, detail, output: [] })
  }
  groups.add(child.pid)
  child.on('error', (error) => log.warn({ service, slot, release, err: error }, 'signalling failed'))
  return { pid: child.pid, output, exited, closed, ended: () => ended }
}

async function becomeHealthy(
  { health, stopWithinMs }: ProcessSettings,
  { release, rehearsal, signal }: BootRequest,
  running: Running,
  instance: Instance,
): Promise<void> {
  const stopAsking = new AbortController()
  const asking = waitHealthy(
    instance.internal,
    instance.publicAddresses[0] ?? instance.internal,
    health,
    rehearsal ? 'rehearsal' : 'idle',
    AbortSignal.any([signal, stopAsking.signal]),
  )
  const ended = running.exited.then((how) => `it ended with ${how} before it was healthy`)
  const problem = await Promise.race([asking, ended])
  stopAsking.abort()
  if (signal.aborted && signal.reason instanceof SlotgateError) throw signal.reason
  if (problem === null && !signal.aborted) return
  const detail = signal.aborted
    ? 'it is not wanted any more'
    : await explain(problem, health, running, instance)
  await end(running, stopWithinMs)
  await within(running.closed, LAST_LINES_WITHIN_MS)
  throw new SlotgateError('target_boot_failed', { release, detail, output: running.output.lines })
}

/** Adds what a person would look up next: on which ports the process listens instead of those it was given. */
async function explain(
  problem: string | null,
  health: HealthConfig,
  running: Running,
  { publicAddresses, internal }: Instance,
): Promise<string> {
  if (running.ended() !== null) return problem ?? ''
  const given = [...publicAddresses, internal].flatMap((address) =>
    address.kind === 'tcp' ? [address.port] : [],
  )
  const taken = (await listeningPortsOf(await membersOf(running.pid))).filter((port) => !given.includes(port))
  const wrong =
    taken.length > 0
      ? `; it listens on port ${taken.join(', ')} instead of the given ${given.join(' and ')}`
      : ''
  return `not healthy within ${health.withinMs} ms: ${problem}${wrong}`
}

function toInstance(
  { stateDir }: ProcessDriverOptions,
  { release }: BootRequest,
  running: Running,
  { bootId, port, internalPort }: BootFacts,
): Instance {
  const at = (number: number): Address => ({ kind: 'tcp', host: LOOPBACK, port: number })
  return {
    release,
    bootId,
    pid: running.pid,
    startedAt: new Date(),
    publicAddresses: [at(port)],
    internal: at(internalPort),
    exited: running.exited,
    output: () => running.output.lines,
    async stop(withinMs) {
      await end(running, withinMs)
      // What left the group, by setsid or a double fork, still carries the boot id.
      const escaped = (await findByEnvironment(stateDir)).filter((leftover) => leftover.bootId === bootId)
      await endProcesses(
        escaped.map(({ pid }) => pid),
        0,
      )
    },
  }
}

/** SIGTERM to the group, SIGKILL after the time; what the leader leaves behind in its group is ended with it. */
async function end({ pid, exited, ended }: Running, withinMs: number): Promise<void> {
  if (ended() === null) {
    signalGroup(pid, 'SIGTERM')
    await within(exited, withinMs)
  }
  signalGroup(pid, 'SIGKILL')
  await exited
  groups.delete(pid)
}

/** Waits for a promise, but not longer than this; the timer does not outlive it. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController()
  await Promise.race([promise, pause(ms, undefined, { signal: timer.signal }).catch(() => {})])
  timer.abort()
}
