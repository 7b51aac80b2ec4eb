// Releases that are images: each boot is a container of an engine, on fresh ports of this machine's loopback. What an earlier
// slotgate had booted is taken over as it runs; other people's containers are never touched.
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { DockerReleases } from '../../config/types.ts'
import type { SlotName } from '../../contract.ts'
import { messageOf, SlotgateError } from '../../errors.ts'
import { openPortsAround } from '../../ports.ts'
import { maskFor, readSecrets, type Secrets } from '../env-file.ts'
import {
  type BootFacts,
  type BootOptions,
  boot,
  bootError,
  bootInSlot,
  bootVariables,
  configured,
  LOOPBACK,
  logOf,
  loopback,
  NOT_WANTED,
  type Started,
} from './boot.ts'
import { Container, type ContainerState, inspect, removeContainer, stopContainer } from './container.ts'
import type { BootRequest, Driver, Instance } from './driver.ts'
import { type Engine, EngineRefusal, engineAt, isGone } from './engine.ts'
import { differWithRelease, identifyByName, withRelease } from './source.ts'

/** A leftover serves nobody any more; it gets a moment to end what it does. */
const END_WITHIN_MS = 5_000
/** An engine that pulls tells of each piece; one whose registry hangs would keep the service's lock for ever. */
const PULL_SILENT_MS = 5 * 60_000
/** How much is kept of what the engine tells of a pull. */
const LAST_WORDS = 16 * 1024
/** What the engine keeps of a container's output; what matters of it is in the log of slotgate. */
const LOGS = { Type: 'json-file', Config: { 'max-size': '8m', 'max-file': '2' } }
/** Within a network of its own, a container listens wherever the engine looks for it. */
const EVERY_INTERFACE = '0.0.0.0'
/** The network of the machine itself. */
const HOST_NETWORK = 'host'

const LABEL = {
  /** Which state folder it belongs to. */
  state: 'slotgate.state',
  /** Which run of slotgate booted it. */
  run: 'slotgate.run',
  service: 'slotgate.service',
  release: 'slotgate.release',
  slot: 'slotgate.slot',
  boot: 'slotgate.boot',
} as const
const RUN = randomUUID()

export interface DockerDriverOptions extends BootOptions {
  releases: DockerReleases
}

export function createDockerDriver(options: DockerDriverOptions): Driver {
  const engine = engineAt(options.releases.engine)
  /** What an engine that was away at the start has still to be asked for. */
  let keep: ReadonlySet<string> | null = null

  async function endLeftovers(): Promise<void> {
    if (keep === null) return
    await removeLeftovers(options, engine, keep)
    keep = null
  }

  const { image, command = [], volumes } = options.releases

  return {
    boots: true,
    bootsEarlier: differWithRelease([image, ...command, ...volumes]),
    isFixed: false,
    identify: identifyByName,
    async boot(request) {
      await endLeftovers()
      return bootContainer(options, engine, request)
    },
    find: (release, slot) => find(options, engine, release, slot),
    async endLeftovers(booted) {
      keep = booted
      const { service, log } = options
      await endLeftovers().catch((error) =>
        log.warn(
          { service, err: error },
          `what an earlier slotgate left over is ended later: ${messageOf(error)}`,
        ),
      )
    },
  }
}

async function bootContainer(
  options: DockerDriverOptions,
  engine: Engine,
  request: BootRequest,
): Promise<Instance> {
  const { release, signal } = request
  const secrets = await readSecrets(options.releases.envFile, release)
  const image = withTag(withRelease(options.releases.image, release))
  await pullIfMissing(engine, { release, image, signal })
  const state = await identityOf(options.stateDir)
  return boot(options, request, (facts) =>
    start(options, engine, request, { ...facts, image, state, secrets }),
  )
}

interface Pull {
  release: string
  image: string
  signal: AbortSignal
}

/** @throws SlotgateError `image_unavailable`, `engine_unusable`, or what the signal ends the boot with */
async function pullIfMissing(engine: Engine, { release, image, signal }: Pull): Promise<void> {
  const name = encodeURIComponent(image)
  try {
    if (await exists(engine, `/images/${name}/json`)) return
    const path = `/images/create?fromImage=${name}`
    const limits = { withinMs: PULL_SILENT_MS, silentMs: PULL_SILENT_MS, signal }
    const problem = await problemOfPull(engine.follow({ method: 'POST', path, ...limits }))
    if (problem !== null) throw new EngineRefusal(500, problem)
  } catch (error) {
    if (signal.aborted) throw bootError({ release, signal }, NOT_WANTED)
    if (!(error instanceof EngineRefusal)) throw error
    throw new SlotgateError('image_unavailable', { release, image, detail: error.message }, { cause: error })
  }
}

/** The engine tells of a pull as it goes, a line of JSON each; a failure is the last of them. */
async function problemOfPull(chunks: AsyncIterable<Buffer>): Promise<string | null> {
  let text = ''
  for await (const chunk of chunks) text = (text + chunk).slice(-LAST_WORDS)
  const last = text.trim().split('\n').at(-1)
  const { error } = JSON.parse(last || '{}') as { error?: string }
  return error ?? null
}

/** Without a tag, every one that there is would be pulled. */
const withTag = (image: string): string => (/[:@][^/]*$/.test(image) ? image : `${image}:latest`)

async function exists(engine: Engine, path: string): Promise<boolean> {
  try {
    await engine.ask({ method: 'GET', path })
    return true
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}

interface Start extends BootFacts {
  image: string
  state: string
  secrets: Secrets
}

async function start(
  options: DockerDriverOptions,
  engine: Engine,
  request: BootRequest,
  { image, state, secrets, ...facts }: Start,
): Promise<Started> {
  const { service, releases } = options
  const { release, slot } = request
  const isHost = releases.network === HOST_NETWORK
  const variables = {
    ...configured(releases, release, secrets),
    ...bootVariables(options, request, facts, isHost ? LOOPBACK : EVERY_INTERFACE),
  }
  const ports = [facts.port, facts.internalPort]
  const container = await run(engine, release, nameFor(service, release, facts.bootId), {
    Image: image,
    ...(releases.command && { Cmd: releases.command.map((part) => withRelease(part, release)) }),
    Env: Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    Labels: {
      [LABEL.state]: state,
      [LABEL.run]: RUN,
      [LABEL.service]: service,
      [LABEL.release]: release,
      [LABEL.slot]: slot,
      [LABEL.boot]: facts.bootId,
    },
    ...(!isHost && { ExposedPorts: Object.fromEntries(ports.map((port) => [`${port}/tcp`, {}])) }),
    HostConfig: {
      // Reaps what is left over and passes SIGTERM on: an app need not know that it is process 1.
      Init: true,
      LogConfig: LOGS,
      Binds: releases.volumes.map((volume) => withRelease(volume, release)),
      ...(releases.network && { NetworkMode: releases.network }),
      ...(!isHost && {
        PortBindings: Object.fromEntries(
          ports.map((port) => [`${port}/tcp`, [{ HostIp: LOOPBACK, HostPort: `${port}` }]]),
        ),
      }),
      // Without swap above it, the limit is the limit.
      ...(releases.memoryBytes && { Memory: releases.memoryBytes, MemorySwap: releases.memoryBytes }),
      ...(releases.cpus && { NanoCpus: Math.round(releases.cpus * 1e9) }),
    },
  })
  const { id, pid, startedAt } = container
  const sinceMs = performance.now()
  // In the network of the machine everybody's ports would be told, and outside of Linux none.
  const listeningPorts = async () => (isHost || pid === null ? [] : openPortsAround(pid))
  return {
    instance: follow(options, engine, {
      ...request,
      ...facts,
      container,
      mask: secrets.mask,
      takenOver: false,
    }),
    identity: { pid, container: id, start_time: startedAt, image, secrets: Object.keys(secrets.variables) },
    listeningPorts,
    whenListening: ({ withinMs, intervalMs }, signal) =>
      whenListed(facts.port, listeningPorts, { untilMs: sinceMs + withinMs, intervalMs, signal }),
  }
}

const nameFor = (service: string, release: string, bootId: string): string =>
  `slotgate-${service}-${release}-${bootId.slice(0, 8)}`

interface Waiting {
  untilMs: number
  intervalMs: number
  signal: AbortSignal
}

/** The engine accepts connections to a published port whether anybody listens within the container or not. */
async function whenListed(
  port: number,
  listeningPorts: () => Promise<number[]>,
  { untilMs, intervalMs, signal }: Waiting,
): Promise<string | null> {
  for (;;) {
    const ports = await listeningPorts()
    if (ports.length === 0 || ports.includes(port) || signal.aborted) return null
    if (performance.now() >= untilMs) return 'it is healthy, but its public port accepts no connections'
    await pause(intervalMs)
  }
}

/** @throws SlotgateError `target_boot_failed` with what the engine says; nothing is left of the container then */
async function run(engine: Engine, release: string, name: string, config: object): Promise<ContainerState> {
  let id: string | undefined
  try {
    const create = { method: 'POST', path: `/containers/create?name=${name}`, body: config } as const
    id = ((await engine.ask(create)) as { Id: string }).Id
    await engine.ask({ method: 'POST', path: `/containers/${id}/start` })
    const state = await inspect(engine, id)
    if (state === null) throw new EngineRefusal(404, 'it was removed at once')
    return state
  } catch (error) {
    if (id !== undefined) await removeContainer(engine, id).catch(() => {})
    if (!(error instanceof EngineRefusal)) throw error
    const detail = `its container cannot be started (${error.message})`
    throw new SlotgateError('target_boot_failed', { release, detail, output: [] }, { cause: error })
  }
}

/** The container that the journal says is in the slot, if it is the very same, since the same start. */
async function find(
  options: DockerDriverOptions,
  engine: Engine,
  release: string,
  slot: SlotName,
): Promise<Instance | null> {
  const found = bootInSlot(options, release, slot)
  if (!found) return null
  const { bootId, container: id, startTime, port, internalPort, secrets } = found
  if (id === null || port === null || internalPort === null) return null
  const { service, log } = options
  const container = await inspect(engine, id).catch((error) => {
    log.warn({ service, slot, release, err: error }, `${release} is not taken over: ${messageOf(error)}`)
    return null
  })
  if (!container?.running || container.startedAt !== startTime) return null
  const mask = await maskFor(options.releases.envFile, release, secrets, container.environment)
  return follow(options, engine, {
    container,
    release,
    slot,
    mask,
    takenOver: true,
    bootId,
    port,
    internalPort,
  })
}

interface Followed extends BootFacts {
  container: ContainerState
  release: string
  slot: SlotName
  mask: Secrets['mask']
  takenOver: boolean
  onLine?: BootRequest['onLine']
}

function follow(
  options: DockerDriverOptions,
  engine: Engine,
  { container: state, release, slot, mask, takenOver, onLine, bootId, port, internalPort }: Followed,
): Instance {
  const { stateDir, log } = options
  const tell = onLine && ((line: string) => onLine('boot', line))
  const told = logOf(options, { release, slot, mask }, tell)
  const container = new Container({ ...told, engine, container: state, bootId, stateDir, log })
  return {
    release,
    bootId,
    pid: state.pid,
    startedAt: new Date(state.startedAt),
    takenOver,
    publicAddresses: [loopback(port)],
    internal: loopback(internalPort),
    exited: container.exited,
    output: () => container.lines,
    stop: (withinMs) => container.stop(withinMs),
    letGo: () => container.letGo(),
  }
}

/** What tells the containers of this state folder from those of any other, also on another machine or within a container. */
async function identityOf(stateDir: string): Promise<string> {
  const file = join(stateDir, 'id')
  await writeFile(file, randomUUID(), { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  return readFile(file, 'utf8')
}

/** Ends and removes the containers of this state folder that an earlier slotgate booted, but for those taken over. */
async function removeLeftovers(
  { service, stateDir, log }: DockerDriverOptions,
  engine: Engine,
  keep: ReadonlySet<string>,
): Promise<void> {
  const filters = encodeURIComponent(
    JSON.stringify({ label: [`${LABEL.state}=${await identityOf(stateDir)}`] }),
  )
  const path = `/containers/json?all=1&filters=${filters}`
  const labelled = (await engine.ask({ method: 'GET', path })) as Listed[]
  const leftovers = labelled.filter((container) => isLeftover(container, keep))
  if (leftovers.length > 0)
    log.warn(
      { service, containers: leftovers.map(({ Id }) => Id) },
      `stopping ${leftovers.length} containers that an earlier slotgate left over`,
    )
  for (const { Id } of leftovers) {
    await stopContainer(engine, Id, END_WITHIN_MS)
    await removeContainer(engine, Id)
  }
}

interface Listed {
  Id: string
  Names: string[]
  Labels: Record<string, string>
}

/** An image that somebody made of a container has its labels, and so has what runs from that; the name is of this one alone. */
function isLeftover({ Names, Labels }: Listed, keep: ReadonlySet<string>): boolean {
  const { [LABEL.service]: service = '', [LABEL.release]: release = '', [LABEL.boot]: boot = '' } = Labels
  return Names.includes(`/${nameFor(service, release, boot)}`) && Labels[LABEL.run] !== RUN && !keep.has(boot)
}
