// The check of a config: from text to a frozen Config, or to every problem at once. It acts on nothing.
import { dirname, join, resolve } from 'node:path'
import { sameAddress } from './addresses.ts'
import { readErrorPages, readKeys, readTls } from './material.ts'
import { type ConfigProblem, Reading, type Surroundings } from './reading.ts'
import { RULES } from './rules.ts'
import { CONFIG, type ConfigDraft, type ServiceDraft } from './schema.ts'
import type {
  Address,
  AdminConfig,
  Config,
  DockerReleases,
  LimitsConfig,
  RelayConfig,
  Releases,
  RunConfig,
  ServiceConfig,
  SlotAddresses,
  Variables,
} from './types.ts'

/**
 * Checks a config.
 *
 * @param text the YAML document
 * @param from the name of its file, the environment, and how files that it names are read
 * @returns the frozen config, or every problem in the order of the file; never both
 * @see DESIGN.md §8b
 */
export function checkConfig(
  text: string,
  from: Surroundings,
): { config?: Config; problems: ConfigProblem[] } {
  const reading = new Reading(text, from)
  const draft = reading.problems.length === 0 ? CONFIG.read(reading, '', reading.root) : undefined
  if (draft === undefined) return { problems: inOrder(reading.problems) }
  for (const rule of RULES) rule(reading, draft)
  const keys = readKeys(reading, draft)
  const tls = readTls(reading, draft)
  const pages = readErrorPages(reading, draft)
  if (reading.problems.length > 0) return { problems: inOrder(reading.problems) }
  // Undefined always comes with a problem, and there is none.
  const whole = draft as Complete<ConfigDraft>
  return {
    config: freeze(build(whole, from.file, { keys, tls, pages, withheld: [...reading.secretNames] })),
    problems: [],
  }
}

type Complete<T> = T extends string | number | boolean | null
  ? T
  : { [Name in keyof T]: Complete<Exclude<T[Name], undefined>> }

type Whole = Complete<ConfigDraft>
type ErrorPages = ServiceConfig['errorPages']
type WholeService = Complete<ServiceDraft>

const inOrder = (problems: ConfigProblem[]): ConfigProblem[] =>
  problems.toSorted((a, b) => a.line - b.line || a.column - b.column)

/** What was read from the files that the config names. */
interface Material {
  keys: AdminConfig['keys']
  tls: AdminConfig['tls']
  /** By service. */
  pages: ReadonlyMap<string, ErrorPages>
  withheld: Config['withheld']
}

function build(whole: Whole, file: string, { keys, tls, pages, withheld }: Material): Config {
  return {
    file,
    listen: whole.listen,
    threads: whole.threads,
    admin: { listen: whole.admin.listen, keys, ...(tls && { tls }) },
    ...(whole.metrics && { metrics: whole.metrics }),
    stateDir: whole.state_dir,
    ...(whole.tracing && {
      tracing: { endpoint: whole.tracing.endpoint, headers: Object.fromEntries(whole.tracing.headers) },
    }),
    relay: buildRelay(whole.relay, whole.tracing),
    services: whole.services.map(([name, service]) =>
      buildService(name, service, dirname(resolve(file)), pages.get(name) ?? {}),
    ),
    withheld,
  }
}

/** A request line of 8000 bytes ought to pass (RFC 9112 §3); never more than the head may have. */
const TARGET_LIMIT_BYTES = 8 * 1024

const limitOf = (limit: number | 'off'): number => (limit === 'off' ? 0 : limit)

const buildRelay = (relay: Whole['relay'], tracing: Whole['tracing']): RelayConfig => ({
  trustedProxies: relay.trusted_proxies,
  proxyProtocol: relay.proxy_protocol,
  forwarded: relay.forwarded,
  headLimitBytes: relay.head_limit,
  targetLimitBytes: relay.target_limit ?? Math.min(TARGET_LIMIT_BYTES, relay.head_limit),
  fieldLimit: relay.field_limit,
  bodyLimitBytes: limitOf(relay.body_limit),
  bodyRateBytes: limitOf(relay.body_rate),
  headTimeoutMs: relay.head_timeout,
  keepAliveTimeoutMs: relay.keep_alive_timeout,
  requestsPerConnection: relay.requests_per_connection,
  connectionLimit: limitOf(relay.connections),
  connectionsPerAddress: limitOf(relay.connections_per_address),
  stallTimeoutMs: relay.stall_timeout,
  connectTimeoutMs: relay.connect_timeout,
  upstreamTimeoutMs: relay.upstream_timeout,
  upstreamIdleMs: relay.upstream_idle,
  upstreamReuse: relay.upstream_reuse,
  tunnelIdleMs: relay.tunnel_idle,
  accessLog: relay.access_log,
  accessLogOmit: relay.access_log_omit,
  traceShare: tracing?.sample ?? null,
})

const buildService = (
  name: string,
  service: WholeService,
  folder: string,
  errorPages: ErrorPages,
): ServiceConfig => ({
  name,
  hosts: service.hosts,
  pathPrefix: service.path_prefix,
  stripPrefix: service.strip_prefix,
  limits: buildLimits(service.limits),
  errorPages,
  ...(service.preview && { preview: service.preview }),
  ...(service.releases && { releases: buildReleases(service.releases, folder) }),
  ...(service.slots && { slots: service.slots }),
  health: {
    path: service.health.path,
    intervalMs: service.health.interval,
    timeoutMs: service.health.timeout,
    withinMs: service.health.within,
  },
  schema: service.schema === 'off' ? 'off' : buildSchema(service.schema),
  drain: { withinMs: service.drain.within, tunnelsWithinMs: service.drain.tunnels_within },
  hold: {
    withinMs: service.hold.within,
    requests: service.hold.requests,
    nothingLive: service.hold.nothing_live,
  },
  ...(service.first !== null && { first: service.first }),
  ...(service.bake && { bake: buildBake(service.bake) }),
  previous: service.previous,
  hiddenPaths: hiddenPathsOf(service),
})

const buildLimits = (limits: WholeService['limits']): LimitsConfig => ({
  ...(limits.body_limit !== null && { bodyLimitBytes: limitOf(limits.body_limit) }),
  ...(limits.upstream_timeout !== null && { upstreamTimeoutMs: limits.upstream_timeout }),
  openRequests: limitOf(limits.open_requests),
})

const buildBake = (bake: NonNullable<WholeService['bake']>) => ({
  forMs: bake.for,
  maxErrorRatio: bake.max_error_ratio,
  minRequests: bake.min_requests,
})

const buildSchema = ({ path, within, interval }: Exclude<WholeService['schema'], 'off'>) => ({
  path,
  withinMs: within,
  intervalMs: interval,
})

type WholeReleases = NonNullable<WholeService['releases']>

const KEPT_CHECKOUTS = 5
/** Enough for what has to be compiled; whoever waits for more has mostly been forgotten. */
const SETUP_WITHIN_MS = 15 * 60_000
/** Where an engine listens that nobody has set up otherwise. */
const ENGINE: Address = { kind: 'unix', path: '/var/run/docker.sock' }

/** @param folder of the config, where the defaults of paths start from */
function buildReleases(releases: WholeReleases, folder: string): Releases {
  const { driver, cwd, repo, keep, shared } = releases
  if (driver === 'docker') return buildDocker(releases)
  const withinMs = releases.setup_within ?? SETUP_WITHIN_MS
  const run = buildRun(releases, withinMs)
  if (driver === 'process') return { driver, ...run, cwd: cwd ?? join(folder, 'releases', '{release}') }
  const kept = { keep: keep ?? KEPT_CHECKOUTS, shared: shared ?? [] }
  return { driver, ...run, repo: repo ?? folder, checkoutWithinMs: withinMs, ...kept }
}

const buildVariables = ({ env, env_file: envFile }: WholeReleases): Variables => ({
  env: Object.fromEntries(env),
  ...(envFile !== null && { envFile }),
})

// A rule has seen to it that there is a command here, and an image there.
const buildRun = (releases: WholeReleases, setupWithinMs: number): RunConfig => ({
  command: releases.command ?? [],
  ...(releases.setup && { setup: { command: releases.setup, withinMs: setupWithinMs } }),
  ...buildVariables(releases),
})

const buildDocker = (releases: WholeReleases): DockerReleases => ({
  driver: 'docker',
  image: releases.image ?? '',
  engine: releases.engine ?? ENGINE,
  ...(releases.command && { command: releases.command }),
  volumes: releases.volumes ?? [],
  ...(releases.network !== null && { network: releases.network }),
  ...(releases.memory !== null && { memoryBytes: releases.memory }),
  ...(releases.cpus !== null && { cpus: releases.cpus }),
  ...buildVariables(releases),
})

/** Where an app that uses the kit runs its migrations. */
const MIGRATIONS_PATH = '/migrations/run'

/** A slot with one address for both sides would show its internal paths to the world (DESIGN §7). */
function hiddenPathsOf({ slots, health, schema }: WholeService): string[] {
  const shared =
    slots !== null &&
    Object.values<SlotAddresses>(slots).some((slot) => sameAddress(slot.public, slot.internal))
  if (!shared) return []
  return [health.path, ...(schema === 'off' ? [] : [schema.path]), MIGRATIONS_PATH]
}

/** Freezes all the way down; bytes cannot be frozen and are left. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  for (const inner of Object.values(value)) freeze(inner)
  return Object.freeze(value)
}
