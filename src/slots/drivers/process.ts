// Boots releases as processes: fresh ports for each boot, a process group of its own, its output in the log. What an
// earlier slotgate had booted is taken over as it runs.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { closeSync } from 'node:fs'
import type { RunConfig } from '../../config/types.ts'
import { ENV, type SlotName } from '../../contract.ts'
import { messageOf, SlotgateError } from '../../errors.ts'
import { listeningPortsOf } from '../../ports.ts'
import { within } from '../../wait.ts'
import { maskFor, readSecrets, type Secrets } from '../env-file.ts'
import { Output } from '../output.ts'
import {
  endGroup,
  endProcesses,
  environmentOf,
  findByEnvironment,
  isSameBoot,
  membersOf,
  signalGroup,
  startTimeOf,
  whenGone,
} from '../proc.ts'
import {
  type BootFacts,
  type BootOptions,
  boot,
  bootInSlot,
  bootVariables,
  configured,
  LOOPBACK,
  logOf,
  loopback,
} from './boot.ts'
import type { BootRequest, Driver, Instance } from './driver.ts'
import { differWithRelease, type Source, withRelease } from './source.ts'

/** The groups that run now. However this process ends, short of a kill -9, none of them outlives it. */
const groups = new Set<number>()
process.on('exit', () => {
  for (const pid of groups) signalGroup(pid, 'SIGKILL')
})

/** Only a parent is told how a process ended. */
const UNSEEN_END = 'an exit code that nobody saw, since an earlier slotgate had booted it'

export interface ProcessDriverOptions extends BootOptions {
  releases: RunConfig
  /** Where the files of a release are. */
  source: Source
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
    bootsEarlier: options.source.hasOwnFolders || differWithRelease(options.releases.command),
    isFixed: false,
    identify: (name) => options.source.identify(name),
    boot: (request) => bootProcess(options, request),
    find: (release, slot) => find(options, release, slot),
  }
}

async function bootProcess(options: ProcessDriverOptions, request: BootRequest): Promise<Instance> {
  const { release, signal } = request
  const secrets = await readSecrets(options.releases.envFile, release)
  const cwd = await options.source.prepare(
    release,
    (folder) => setUp(options, request, folder, secrets),
    signal,
  )
  return boot(options, request, async (facts) => {
    const given = bootVariables(options, request, facts, LOOPBACK)
    const env = { ...environmentFor(options, request, secrets), ...given }
    const { command } = options.releases
    const spawned = { from: 'boot', command, id: facts.bootId, cwd, env, secrets } as const
    const running = await start(options, request, spawned)
    const { pid } = running
    return {
      instance: toInstance(options, release, running, facts),
      identity: { pid, start_time: await startTimeOf(pid), secrets: Object.keys(secrets.variables) },
      listeningPorts: async () => listeningPortsOf(await membersOf(pid)),
    }
  })
}

/** The process that the journal says is in the slot, if it is the very same. */
async function find(
  options: ProcessDriverOptions,
  release: string,
  slot: SlotName,
): Promise<Instance | null> {
  const found = bootInSlot(options, release, slot)
  if (!found) return null
  const { bootId, pid, startTime, port, internalPort, since, secrets } = found
  if (pid === null || startTime === null || port === null || internalPort === null) return null
  if (!(await isSameBoot({ pid, startTime }, bootId))) return null
  const mask = await maskFor(options.releases.envFile, release, secrets, await environmentOf(pid))
  const startedAt = new Date(since)
  const running = takeOver(options, { release, slot, bootId, pid, startTime, startedAt, mask })
  return toInstance(options, release, running, { bootId, port, internalPort })
}

interface Found {
  release: string
  slot: SlotName
  bootId: string
  pid: number
  startTime: string
  startedAt: Date
  mask: Secrets['mask']
}

/** Follows a process that is no child of this one. */
function takeOver(
  options: ProcessDriverOptions,
  { bootId, pid, startTime, startedAt, ...told }: Found,
): Running {
  const output = Output.resume({ ...logOf(options, told), stateDir: options.stateDir, id: bootId })
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

/** Runs `setup` before the first boot of a release; one that fails or takes too long runs again at the next attempt. */
async function setUp(
  options: ProcessDriverOptions,
  request: BootRequest,
  cwd: string,
  secrets: Secrets,
): Promise<void> {
  const { service, releases, journal } = options
  const { release } = request
  if (!releases.setup) return
  const { command, withinMs } = releases.setup
  const { stopWithinMs } = options.settings()
  const env = environmentFor(options, request, secrets)
  const spawned = { from: 'setup', command, id: randomUUID(), cwd, env, secrets } as const
  const running = await start(options, request, spawned)
  const { promise: calledOff, resolve: callOff } = Promise.withResolvers<unknown>()
  request.signal.addEventListener('abort', callOff, { once: true })
  if (!request.signal.aborted) await within(Promise.race([running.exited, calledOff]), withinMs)
  request.signal.removeEventListener('abort', callOff)
  const isLate = running.ended() === null && !request.signal.aborted
  // What it left behind in its group ends with it, and its id may soon be another's.
  await end(running, stopWithinMs)
  if (request.signal.aborted && request.signal.reason instanceof SlotgateError) throw request.signal.reason
  const output = running.output.lines
  const typed = command.join(' ')
  if (isLate) {
    throw new SlotgateError('setup_timeout', { release, command: typed, within_ms: withinMs, output })
  }
  if (running.ended() !== 'exit code 0') {
    throw new SlotgateError('setup_failed', {
      release,
      detail: `${typed}: ${running.ended() ?? 'it does not end'}`,
      output,
    })
  }
  await journal.append({ event: 'setup_done', service, actor: 'slotgate', release })
}

/** slotgate's own environment without what only concerns slotgate, such as its CLI's key and the secrets of its config. */
function inheritedEnvironment(withheld: readonly string[]): NodeJS.ProcessEnv {
  const isInherited = (name: string) => !name.startsWith('SLOTGATE') && !withheld.includes(name)
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => isInherited(name)))
}

/** What `setup` and the release have in common: slotgate's own, and above it what the config says. */
const environmentFor = (
  { releases, stateDir, settings }: ProcessDriverOptions,
  { release }: BootRequest,
  secrets: Secrets,
): NodeJS.ProcessEnv => ({
  ...inheritedEnvironment(settings().withheld),
  ...configured(releases, release, secrets),
  [ENV.stateDir]: stateDir,
})

interface Spawn {
  from: 'setup' | 'boot'
  command: readonly string[]
  /** Names its output. */
  id: string
  cwd: string
  env: NodeJS.ProcessEnv
  secrets: Secrets
}

/** Spawns in a process group of its own, so that a stop reaches what the command started, too. */
async function start(
  options: ProcessDriverOptions,
  { release, slot, onLine }: BootRequest,
  { from, command, id, cwd, env, secrets }: Spawn,
): Promise<Running> {
  const { service, stateDir, log } = options
  const [file = '', ...args] = command.map((part) => withRelease(part, release))
  const tell = onLine && ((line: string) => onLine(from, line))
  const told = logOf(options, { release, slot, mask: secrets.mask }, tell)
  const { output, writeFd } = Output.create({ ...told, stateDir, id })
  const sink = writeFd ?? 'ignore'
  const failure = (detail: unknown): SlotgateError => {
    output.close()
    const said = `${file} cannot be run in ${cwd} (${messageOf(detail)})`
    return new SlotgateError('target_boot_failed', { release, detail: said, output: [] })
  }
  let child: ChildProcess
  try {
    child = spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', sink, sink] })
  } catch (error) {
    // Some faults it throws, such as an environment that is too large; others come as an event.
    throw failure(error)
  } finally {
    if (writeFd !== null) closeSync(writeFd)
  }
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
  if (failed || pid === undefined) throw failure(failed)
  groups.add(pid)
  child.on('error', (error) => log.warn({ service, slot, release, err: error }, 'signalling failed'))
  const letGo = () => {
    groups.delete(pid)
    output.letGo()
    child.unref()
  }
  return { pid, startedAt: new Date(), takenOver: false, output, exited, ended: () => ended, letGo }
}

function toInstance(
  { stateDir }: ProcessDriverOptions,
  release: string,
  running: Running,
  { bootId, port, internalPort }: BootFacts,
): Instance {
  return {
    release,
    bootId,
    pid: running.pid,
    startedAt: running.startedAt,
    takenOver: running.takenOver,
    publicAddresses: [loopback(port)],
    internal: loopback(internalPort),
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
      // As long as it runs, however long that is, it is in the journal, and its files stay.
      await running.exited
    },
  }
}

async function end({ pid, output, exited }: Running, withinMs: number): Promise<void> {
  await endGroup(pid, exited, withinMs)
  void exited.then(() => groups.delete(pid))
  output.close()
}
