// Boots releases as processes: fresh ports for each boot, a process group of its own, its output in the log. What an
// earlier slotgate had booted is taken over as it runs.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { closeSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import type { Address, HealthConfig, RunConfig } from '../../config/types.ts'
import { ENV, type SlotName } from '../../contract.ts'
import { type Facts, messageOf, SlotgateError } from '../../errors.ts'
import type { Journal } from '../../journal/file.ts'
import type { EventName } from '../../journal/record.ts'
import type { Logger } from '../../log.ts'
import { listeningPortsOf } from '../../ports.ts'
import { NO_SECRETS, readSecrets, type Secrets } from '../env-file.ts'
import { freePorts } from '../free-ports.ts'
import { waitHealthy } from '../health.ts'
import { Output } from '../output.ts'
import {
  endProcesses,
  findByEnvironment,
  isSameBoot,
  membersOf,
  signalGroup,
  startTimeOf,
  whenGone,
} from '../proc.ts'
import type { BootRequest, Driver, Instance } from './driver.ts'
import { type Source, withRelease } from './source.ts'

/** The groups that run now. However this process ends, short of a kill -9, none of them outlives it. */
const groups = new Set<number>()
process.on('exit', () => {
  for (const pid of groups) signalGroup(pid, 'SIGKILL')
})

const LOOPBACK = '127.0.0.1'
/** Only a parent is told how a process ended. */
const UNSEEN_END = 'an exit code that nobody saw, since an earlier slotgate had booted it'

export interface ProcessSettings {
  health: HealthConfig
  /** How long a process may take to end after SIGTERM. */
  stopWithinMs: number
}

export interface ProcessDriverOptions {
  service: string
  releases: RunConfig
  /** Where the files of a release are. */
  source: Source
  /** Read at each boot, since a reload may change them. */
  settings(): ProcessSettings
  stateDir: string
  journal: Journal
  log: Logger
}

/** A process and what is known of it. */
interface Running {
  pid: number
  startedAt: Date
  takenOver: boolean
  output: Output
  exited: Promise<string>
  /** How it ended; null while it runs. */
  ended(): string | null
  letGo(): void
}

export function createProcessDriver(options: ProcessDriverOptions): Driver {
  return {
    boots: true,
    isFixed: false,
    identify: (name) => options.source.identify(name),
    boot: (request) => boot(options, request),
    find: (release, slot) => find(options, release, slot),
  }
}

/** One boot, top to bottom; whatever fails leaves nothing running. */
async function boot(options: ProcessDriverOptions, request: BootRequest): Promise<Instance> {
  const { release, signal } = request
  const secrets = await readSecrets(options.releases.envFile, release)
  const cwd = await options.source.prepare(
    release,
    (folder) => setUp(options, request, folder, secrets),
    signal,
  )
  const bootId = randomUUID()
  const [port, internalPort] = await freePorts()
  const facts = { bootId, port, internalPort }
  const env = { ...environmentOf(options, request, secrets), ...bootVariables(options, request, facts) }
  const running = await start(options, request, { id: bootId, cwd, env, secrets })
  const { pid } = running
  try {
    const start_time = await startTimeOf(pid)
    await note(options, request, bootId, 'booting', { pid, start_time, port, internal_port: internalPort })
    const instance = toInstance(options, release, running, facts)
    await becomeHealthy(options.settings(), request, running, instance)
    await note(options, request, bootId, 'booted', { pid })
    return instance
  } catch (error) {
    await end(running, options.settings().stopWithinMs)
    await note(options, request, bootId, 'boot_failed', { detail: messageOf(error) })
    throw error
  }
}

/** The process that the journal says is in the slot, if it is the very same. */
async function find(
  options: ProcessDriverOptions,
  release: string,
  slot: SlotName,
): Promise<Instance | null> {
  const { services, open } = options.journal.state
  const { bootId = '' } = services[options.service]?.boots[slot] ?? {}
  const boot = open[bootId]
  if (!boot?.booted || boot.release !== release) return null
  const { pid, startTime, port, internalPort, since } = boot
  if (pid === null || startTime === null || port === null || internalPort === null) return null
  if (!(await isSameBoot({ pid, startTime }, bootId))) return null
  // Only for what it writes from here on; that it cannot be read now is told at the next boot.
  const secrets = await readSecrets(options.releases.envFile, release).catch(() => NO_SECRETS)
  const startedAt = new Date(since)
  const running = takeOver(options, { release, slot, bootId, pid, startTime, startedAt, secrets })
  return toInstance(options, release, running, { bootId, port, internalPort })
}

interface Found {
  release: string
  slot: SlotName
  bootId: string
  pid: number
  startTime: string
  startedAt: Date
  secrets: Secrets
}

/** Follows a process that is no child of this one. */
function takeOver(
  options: ProcessDriverOptions,
  { bootId, pid, startTime, startedAt, ...told }: Found,
): Running {
  const output = Output.resume({ ...outputOf(options, told), id: bootId })
  const calledOff = new AbortController()
  let ended: string | null = null
  const exited = new Promise<string>((resolve) => {
    void whenGone(pid, startTime, calledOff.signal).then((gone) => {
      if (!gone) return
      ended = UNSEEN_END
      resolve(ended)
    })
  })
  groups.add(pid)
  const letGo = () => {
    calledOff.abort()
    groups.delete(pid)
    output.letGo()
  }
  return { pid, startedAt, takenOver: true, output, exited, ended: () => ended, letGo }
}

const outputOf = (
  { service, stateDir, log }: ProcessDriverOptions,
  { release, slot, secrets }: { release: string; slot: SlotName; secrets: Secrets },
) => ({
  stateDir,
  mask: secrets.mask,
  onLine: (line: string) => log.info({ service, slot, release }, line),
})

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

/** Runs `setup` before the first boot of a release; a failed one runs again at the next attempt. */
async function setUp(
  options: ProcessDriverOptions,
  request: BootRequest,
  cwd: string,
  secrets: Secrets,
): Promise<void> {
  const { service, releases, journal, stateDir } = options
  const { release } = request
  if (!releases.setup) return
  const env = { ...environmentOf(options, request, secrets), [ENV.stateDir]: stateDir }
  const running = await start(options, request, { id: randomUUID(), cwd, env, secrets }, releases.setup)
  const stopIt = () => void end(running, options.settings().stopWithinMs)
  request.signal.addEventListener('abort', stopIt, { once: true })
  if (request.signal.aborted) stopIt()
  const ended = await running.exited
  request.signal.removeEventListener('abort', stopIt)
  // What it left behind in its group ends with it, and its id may soon be another's.
  await end(running, 0)
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

/** What `setup` and the release have in common: slotgate's own, the secrets, and above both what the config says. */
const environmentOf = (
  { releases }: ProcessDriverOptions,
  { release }: BootRequest,
  { variables }: Secrets,
): NodeJS.ProcessEnv => ({
  ...inheritedEnvironment(),
  ...variables,
  ...Object.fromEntries(
    Object.entries(releases.env).map(([name, value]) => [name, withRelease(value, release)]),
  ),
})

interface BootFacts {
  bootId: string
  port: number
  internalPort: number
}

function bootVariables(
  { service, stateDir }: ProcessDriverOptions,
  { release, slot, rehearsal }: BootRequest,
  { bootId, port, internalPort }: BootFacts,
): NodeJS.ProcessEnv {
  return {
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

interface Spawn {
  /** Names its output. */
  id: string
  cwd: string
  env: NodeJS.ProcessEnv
  secrets: Secrets
}

/** Spawns in a process group of its own, so that a stop reaches what the command started, too. */
async function start(
  options: ProcessDriverOptions,
  { release, slot }: BootRequest,
  { id, cwd, env, secrets }: Spawn,
  command: readonly string[] = options.releases.command,
): Promise<Running> {
  const { service, log } = options
  const [file = '', ...args] = command.map((part) => withRelease(part, release))
  const { output, writeFd } = Output.create({ ...outputOf(options, { release, slot, secrets }), id })
  const sink = writeFd ?? 'ignore'
  const child = spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', sink, sink] })
  if (writeFd !== null) closeSync(writeFd)
  let ended: string | null = null
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = signal ? `signal ${signal}` : `exit code ${code}`
      resolve(ended)
    })
  })
  const failed = await new Promise<Error | null>((resolve) => {
    child.once('spawn', () => resolve(null))
    child.once('error', resolve)
  })
  const { pid } = child
  if (failed || pid === undefined) {
    output.close()
    const detail = `${file} cannot be run in ${cwd} (${messageOf(failed)})`
    throw new SlotgateError('target_boot_failed', { release, detail, output: [] })
  }
  groups.add(pid)
  child.on('error', (error) => log.warn({ service, slot, release, err: error }, 'signalling failed'))
  const letGo = () => {
    groups.delete(pid)
    output.letGo()
    child.unref()
  }
  return { pid, startedAt: new Date(), takenOver: false, output, exited, ended: () => ended, letGo }
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
  release: string,
  running: Running,
  { bootId, port, internalPort }: BootFacts,
): Instance {
  const at = (number: number): Address => ({ kind: 'tcp', host: LOOPBACK, port: number })
  return {
    release,
    bootId,
    pid: running.pid,
    startedAt: running.startedAt,
    takenOver: running.takenOver,
    publicAddresses: [at(port)],
    internal: at(internalPort),
    exited: running.exited,
    output: () => running.output.lines,
    letGo: running.letGo,
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
async function end({ pid, output, exited, ended }: Running, withinMs: number): Promise<void> {
  if (ended() === null) {
    signalGroup(pid, 'SIGTERM')
    await within(exited, withinMs)
  }
  signalGroup(pid, 'SIGKILL')
  await exited
  groups.delete(pid)
  output.close()
}

/** Waits for a promise, but not longer than this; the timer does not outlive it. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController()
  await Promise.race([promise, pause(ms, undefined, { signal: timer.signal }).catch(() => {})])
  timer.abort()
}
