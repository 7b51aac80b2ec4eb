// One boot, whatever the release runs in: started, written down so that the next slotgate finds it again, asked until it is
// healthy; whatever fails leaves nothing running.
import { randomUUID } from 'node:crypto'
import type { Address, HealthConfig, Variables } from '../../config/types.ts'
import { ENV, type SlotName } from '../../contract.ts'
import { type Facts, messageOf, SlotgateError } from '../../errors.ts'
import type { Journal } from '../../journal/file.ts'
import type { EventName, OpenBoot } from '../../journal/record.ts'
import type { Logger } from '../../log.ts'
import type { Secrets } from '../env-file.ts'
import { freePorts } from '../free-ports.ts'
import { waitForOnePort, waitHealthy } from '../health.ts'
import type { OutputLinesOptions } from '../output-lines.ts'
import type { BootRequest, Instance } from './driver.ts'
import { withRelease } from './source.ts'

/** Where what slotgate boots is reached. */
export const LOOPBACK = '127.0.0.1'
export const loopback = (port: number): Address => ({ kind: 'tcp', host: LOOPBACK, port })

export interface BootSettings {
  health: HealthConfig
  /** How long what was booted may take to end after SIGTERM. */
  stopWithinMs: number
  /** The variables of slotgate's own that it does not get where it inherits them. */
  withheld: readonly string[]
}

/** What every driver that boots is given. */
export interface BootOptions {
  service: string
  /** Read at each boot, since a reload may change them. */
  settings(): BootSettings
  stateDir: string
  journal: Journal
  log: Logger
}

/** What a boot is known by, and where it is to listen. */
export interface BootFacts {
  bootId: string
  port: number
  internalPort: number
}

/** Something that was started and has yet to become healthy. */
export interface Started {
  instance: Instance
  /** What the journal keeps of it beside the ports, so that the next slotgate finds it again. */
  identity: Facts
  /** On which ports it listens, as far as the system tells: it may have taken others than it was given. */
  listeningPorts(): Promise<number[]>
  /**
   * Where something else accepts connections in its place before it listens itself.
   *
   * @returns null once it listens on its public port, or nobody can tell; why it does not when the time is over
   */
  whenListening?(health: HealthConfig, signal: AbortSignal): Promise<string | null>
}

/**
 * @param start starts the release; what it throws ends the boot before anything is written down
 * @throws SlotgateError `target_boot_failed`, what `start` throws, or the signal's own reason where that is one
 */
export async function boot(
  options: BootOptions,
  request: BootRequest,
  start: (facts: BootFacts) => Promise<Started>,
): Promise<Instance> {
  const bootId = randomUUID()
  const [port, internalPort] = await freePorts()
  const started = await start({ bootId, port, internalPort })
  const { instance, identity } = started
  await note(options, request, bootId, 'booting', { ...identity, port, internal_port: internalPort })
  const { problem, internal } = await becomeHealthy(options.settings(), request, started)
  if (problem === null) {
    await note(options, request, bootId, 'booted', { pid: instance.pid })
    return { ...instance, internal }
  }
  await instance.stop(options.settings().stopWithinMs)
  const error = bootError(request, problem, instance.output())
  await note(options, request, bootId, 'boot_failed', { detail: messageOf(error) })
  throw error
}

export const NOT_WANTED = 'it is not wanted any more'

/** The signal's own reason comes first: slotgate is stopping, say. */
export const bootError = (
  { release, signal }: Pick<BootRequest, 'release' | 'signal'>,
  detail: string,
  output: string[] = [],
): SlotgateError =>
  signal.reason instanceof SlotgateError
    ? signal.reason
    : new SlotgateError('target_boot_failed', { release, detail, output })

/** A disk that is full must not keep a dead release from being started again; a switch needs the journal anyway. */
async function note(
  { service, journal, log }: BootOptions,
  { release, slot, rehearsal }: BootRequest,
  bootId: string,
  event: EventName,
  facts: Facts,
): Promise<void> {
  await journal
    .append({ ...facts, event, service, actor: 'slotgate', slot, release, boot_id: bootId, rehearsal })
    .catch((error) => log.error({ service, release, err: error }, 'the journal could not be written'))
}

interface Health {
  /** null once it is healthy, else why it is not, or that nobody waits for it any more. */
  problem: string | null
  /** Where it was asked, and is from now on. */
  internal: Address
}

async function becomeHealthy(
  { health }: BootSettings,
  { rehearsal, signal }: BootRequest,
  started: Started,
): Promise<Health> {
  const { internal, publicAddresses, exited } = started.instance
  const [publicAddress = internal] = publicAddresses
  const role = rehearsal ? 'rehearsal' : 'idle'
  let asked = health.port === 'public' ? publicAddress : internal
  const stopAsking = new AbortController()
  const until = AbortSignal.any([signal, stopAsking.signal])
  // Where it may leave the port closed, anybody may take it.
  const isOthers = async () => health.port === 'either' && (await leavesInternalClosed(started))
  const asking = waitHealthy(asked, publicAddress, health, role, until, isOthers).then(
    (problem) => problem ?? started.whenListening?.(health, until) ?? null,
  )
  const hasOnePort = async () => {
    await waitForOnePort(internal, publicAddress, health, role, until, isOthers)
    asked = publicAddress
    return null
  }
  let end: string | undefined
  const ended = exited.then((how) => (end = `it ended with ${how} before it was healthy`))
  const problem = await Promise.race([asking, ended, health.port === 'either' ? hasOnePort() : asking])
  stopAsking.abort()
  if (signal.aborted) return { problem: NOT_WANTED, internal }
  const late = problem && `not healthy within ${health.withinMs} ms: ${problem}${await wrongPorts(started)}`
  return { problem: end ?? late, internal: asked }
}

/** Whether it listens, and not on its internal port. Where the system does not tell, whoever answers there is taken for it. */
async function leavesInternalClosed({ instance: { internal }, listeningPorts }: Started): Promise<boolean> {
  const ports = await listeningPorts()
  return internal.kind === 'tcp' && ports.length > 0 && !ports.includes(internal.port)
}

/** What a person would look up next. */
async function wrongPorts({ instance, listeningPorts }: Started): Promise<string> {
  const given = [...instance.publicAddresses, instance.internal].flatMap((address) =>
    address.kind === 'tcp' ? [address.port] : [],
  )
  const taken = (await listeningPorts()).filter((port) => !given.includes(port))
  return taken.length > 0
    ? `; it listens on port ${taken.join(', ')} instead of the given ${given.join(' and ')}`
    : ''
}

/** The boot that the journal says is in the slot, and that became healthy. */
export function bootInSlot(
  { service, journal }: BootOptions,
  release: string,
  slot: SlotName,
): (OpenBoot & { bootId: string }) | null {
  const { services, open } = journal.state
  const { bootId = '' } = services[service]?.boots[slot] ?? {}
  const found = open[bootId]
  return found?.booted && found.release === release ? { ...found, bootId } : null
}

/** What the config gives to a release: its secrets, and above them its variables. */
export const configured = (
  { env }: Variables,
  release: string,
  { variables }: Secrets,
): Record<string, string> => ({
  ...variables,
  ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, withRelease(value, release)])),
})

/** What slotgate gives to what it boots (docs/contract.md). */
export const bootVariables = (
  { service }: BootOptions,
  { release, slot, rehearsal }: BootRequest,
  { bootId, port, internalPort }: BootFacts,
  host: string,
): Record<string, string> => ({
  [ENV.host]: host,
  [ENV.port]: String(port),
  [ENV.internalPort]: String(internalPort),
  [ENV.slotgate]: '1',
  [ENV.service]: service,
  [ENV.slot]: slot,
  [ENV.release]: release,
  [ENV.bootId]: bootId,
  ...(rehearsal && { [ENV.rehearsal]: '1' }),
})

/**
 * Lines go to the log, each with whose it is, and marked as another's words.
 *
 * @param tell is given each of them, too
 */
export const logOf = (
  { service, log }: BootOptions,
  { release, slot, mask }: { release: string; slot: SlotName; mask: Secrets['mask'] },
  tell?: (line: string) => void,
): OutputLinesOptions => ({
  mask,
  onLine: (line) => {
    log.info({ service, slot, release, output: true }, line)
    tell?.(line)
  },
})
