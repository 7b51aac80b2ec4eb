// The config of a dev session: that of a command alone, or the one of a file with what differs while somebody develops.
import { join } from 'node:path'
import { type DevOptions, EXIT, Failure } from '../cli/call.ts'
import { serviceNameOf } from '../cli/init/stacks.ts'
import { checkConfig } from '../config/check.ts'
import { loadConfig } from '../config/load.ts'
import type {
  AdminKey,
  Config,
  ListenAddress,
  ProcessReleases,
  Releases,
  ServiceConfig,
} from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { mustBeFree } from '../relay/sharing.ts'
import type { Session } from './session.ts'

/** How often a boot is looked at: half of this is what a change waits for on average. */
const HEALTH_INTERVAL_MS = 10
/** A migration that somebody runs by hand is seen so soon. */
const SCHEMA_INTERVAL_MS = 1_000
const HOLD = { withinMs: 10_000, requests: 1_000, nothingLive: true }
/** Whoever keeps a connection open, to be told of changes say, is to ask the new code. */
const TUNNELS_WITHIN_MS = 0
/** How many ports are looked at before that is given up. */
const PORTS = 100

export interface DevConfig {
  config: Config
  /** Why the front door is not where it was expected; null: it is. */
  moved: SlotgateError | null
}

/**
 * @param folder absolute, where the session runs
 * @throws SlotgateError `config_unreadable`, `config_invalid`, `port_in_use`, `listen_failed`; Failure for a service that
 *   cannot be run from a folder
 */
export async function devConfig(options: DevOptions, folder: string, session: Session): Promise<DevConfig> {
  const { command, config: file, listen: asked } = options
  const base =
    file === undefined
      ? configOf(folder, command, session.key)
      : loadConfig(file, process.env, { bringsKey: true })
  if (command.length > 0 && base.services.length > 1) {
    throw new Failure(EXIT.usage, `${file} has ${base.services.length} services, and the command is one app.`)
  }
  const { metrics: _metrics, tracing: _tracing, ...kept } = base
  const { listen, moved } = asked ? { listen: asked, moved: null } : await nextFree(base.listen)
  const { tls: _tls, ...admin } = base.admin
  const door = { host: '127.0.0.1', port: admin.listen.port }
  return {
    moved,
    config: {
      ...kept,
      listen,
      // One thread is enough for one person, and quickest to agree with.
      threads: 0,
      admin: {
        ...admin,
        listen: (await nextFree(door, listen.port)).listen,
        keys: [...admin.keys.filter(({ id }) => id !== session.key.id), session.key],
      },
      stateDir: session.stateDir,
      // The terminal shows what fails, and has no room for the rest.
      relay: { ...kept.relay, accessLog: 0 },
      services: base.services.map((service) => devService(service, command, folder)),
    },
  }
}

/** With the defaults of any config, by the same check. */
function configOf(folder: string, command: readonly string[], { material, ...key }: AdminKey): Config {
  const written = {
    admin: { keys: [{ ...key, public_key: Buffer.from(material).toString('base64') }] },
    services: { [serviceNameOf(folder)]: { releases: { command, cwd: folder } } },
  }
  // JSON is YAML; only what would be a variable has to be escaped.
  const text = JSON.stringify(written).replaceAll('${', '$${')
  const file = join(folder, 'slotgate-dev')
  const { config, problems } = checkConfig(text, { file, env: {} })
  if (config) return config
  throw new SlotgateError('config_invalid', { file, count: problems.length, problems })
}

function devService(service: ServiceConfig, command: readonly string[], folder: string): ServiceConfig {
  const { first: _first, bake: _bake, slots: _slots, releases, ...kept } = service
  return {
    ...kept,
    releases: devReleases(service.name, releases, command, folder),
    ...(kept.schema !== 'off' && { schema: { ...kept.schema, intervalMs: SCHEMA_INTERVAL_MS } }),
    health: { ...kept.health, intervalMs: HEALTH_INTERVAL_MS, port: 'either' },
    drain: { ...kept.drain, tunnelsWithinMs: TUNNELS_WITHIN_MS },
    hold: HOLD,
    previous: 'keep',
  }
}

/** The code as it is in the folder, whatever a release is made of elsewhere; what it needs is installed already. */
function devReleases(
  service: string,
  releases: Releases | undefined,
  asked: readonly string[],
  folder: string,
): ProcessReleases {
  const { command = [], env = {}, envFile } = releases ?? {}
  const own = releases?.driver === 'docker' ? [] : command
  const words = asked.length > 0 ? asked : own
  if (words.length === 0) {
    throw new Failure(EXIT.usage, `The config does not say how the app of ${service} is started here.`, [
      'Say it behind two dashes: slotgate dev --config FILE -- COMMAND …',
    ])
  }
  const cwd = cwdOf(releases, folder)
  return { driver: 'process', command: words, cwd, env, ...(envFile !== undefined && { envFile }) }
}

function cwdOf(releases: Releases | undefined, folder: string): string {
  if (releases?.driver === 'git') return releases.repo
  return releases?.driver === 'process' && !releases.cwd.includes('{release}') ? releases.cwd : folder
}

/** @returns the address with the next port on which nothing listens, and why it is not the first one */
async function nextFree(
  { host, port: first }: ListenAddress,
  taken?: number,
): Promise<{ listen: ListenAddress; moved: SlotgateError | null }> {
  let moved: SlotgateError | null = null
  for (let port = first; ; port++) {
    const listen = { host, port }
    try {
      if (port === 0 || port !== taken) {
        await mustBeFree(listen)
        return { listen, moved }
      }
    } catch (error) {
      const isTaken = error instanceof SlotgateError && error.code === 'port_in_use'
      if (!isTaken || port - first >= PORTS) throw error
      moved ??= error
    }
  }
}
