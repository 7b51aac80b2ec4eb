// The shape of a checked, frozen config. Durations are milliseconds, sizes are bytes.
import type { SlotName } from '../contract.ts'

export interface ListenAddress {
  host: string
  /** 0 lets the system choose. */
  port: number
}

/** What a key may do (DESIGN §8). */
export const ACTIONS = ['read', 'stage', 'promote', 'rollback', 'traffic'] as const
export type Action = (typeof ACTIONS)[number]

export interface AdminKey {
  id: string
  algorithm: 'ed25519' | 'hmac-sha256'
  /** Ed25519: the 32 raw bytes of the public key. HMAC: the shared secret, at least 32 bytes. */
  material: Uint8Array
  allow: readonly Action[]
}

export interface AdminConfig {
  listen: ListenAddress
  /** PEM files' contents; needed when `listen` is not loopback. */
  tls?: { cert: string; key: string }
  keys: readonly AdminKey[]
}

/** Where a release is reached: an origin, or a Unix socket with a path of its own. */
export type Address = { kind: 'tcp'; host: string; port: number } | { kind: 'unix'; path: string }

/** What a release finds in its environment beside what slotgate sets. */
export interface Variables {
  env: Readonly<Record<string, string>>
  /** Absolute; read at each boot, so that its values are in no config and no memory longer than needed. */
  envFile?: string
}

/** How a release is set up and run as a process, wherever its files come from. */
export interface RunConfig extends Variables {
  command: readonly string[]
  setup?: { command: readonly string[]; withinMs: number }
}

/** Releases are folders that somebody puts there. */
export interface ProcessReleases extends RunConfig {
  driver: 'process'
  /** Absolute; may contain `{release}`. */
  cwd: string
}

/** Releases are commits, which slotgate checks out. */
export interface GitReleases extends RunConfig {
  driver: 'git'
  /** Absolute; a work tree or a bare repository. */
  repo: string
  checkoutWithinMs: number
  /** How many checkouts stay, besides those that are needed. */
  keep: number
  /** Paths in a checkout that all releases share. */
  shared: readonly string[]
}

/** Releases are images, which an engine runs in containers. */
export interface DockerReleases extends Variables {
  driver: 'docker'
  /** May contain `{release}`. */
  image: string
  /** Where the engine's API is. */
  engine: Address
  /** Not given: the image's own. */
  command?: readonly string[]
  /** `source:path` or `source:path:mode`, the source absolute or the name of a volume; may contain `{release}`. */
  volumes: readonly string[]
  /** Not given: the engine's own. */
  network?: string
  memoryBytes?: number
  cpus?: number
}

export type Releases = ProcessReleases | GitReleases | DockerReleases

export interface SlotAddresses {
  public: Address
  internal: Address
}

export interface HealthConfig {
  path: string
  intervalMs: number
  timeoutMs: number
  withinMs: number
  /**
   * Which port of what slotgate boots is asked; absent: the internal one. `public`: the app has no other, and need not know
   * the path either. `either`: what it turns out to have. Only who develops has a reason to make do with one.
   */
  port?: 'public' | 'either'
}

/** The trial of a release that was promoted. */
export interface BakeConfig {
  forMs: number
  /** From 0 to below 1. */
  maxErrorRatio: number
  minRequests: number
}

/** Requests that wait until the service takes them. */
export interface HoldConfig {
  withinMs: number
  /** How many at once, over all threads. */
  requests: number
  /** Whether they also wait while nothing is live yet, not only while the service is paused. */
  nothingLive: boolean
}

/** What a service has otherwise than the rest of the front door. */
export interface LimitsConfig {
  /** Absent: as for all; 0: no limit. */
  bodyLimitBytes?: number
  /** Absent: as for all. */
  upstreamTimeoutMs?: number
  /** Requests that its live release answers at once, over all threads; 0: no limit. */
  openRequests: number
}

export interface ServiceConfig {
  name: string
  /** Lower case, without port; empty: any host. */
  hosts: readonly string[]
  pathPrefix: string
  /** Whether the app gets its paths without the prefix. */
  stripPrefix: boolean
  limits: LimitsConfig
  /** Own pages for slotgate's answers, by their code or their status. */
  errorPages: Readonly<Record<string, string>>
  /** Who may see what is in the idle slot: whoever names one of these hosts, or has a pass; absent: nobody. */
  preview?: { hosts: readonly string[] }
  /** Exactly one of `releases` and `slots` is set. */
  releases?: Releases
  slots?: Readonly<Record<SlotName, SlotAddresses>>
  health: HealthConfig
  schema: { path: string; withinMs: number; intervalMs: number } | 'off'
  drain: { withinMs: number; tunnelsWithinMs: number }
  hold: HoldConfig
  first?: string
  bake?: BakeConfig
  previous: 'keep' | 'stop'
  /** Paths that the front door answers with 404, because public and internal origin are the same. */
  hiddenPaths: readonly string[]
}

export interface RelayConfig {
  /** CIDR blocks or addresses whose forwarded fields are believed. */
  trustedProxies: readonly string[]
  /** Each connection begins with a PROXY protocol header, and only trusted proxies may connect. */
  proxyProtocol: boolean
  forwarded: 'x-forwarded' | 'forwarded' | 'both'
  headLimitBytes: number
  /** Never above `headLimitBytes`. */
  targetLimitBytes: number
  fieldLimit: number
  /** 0: no limit. */
  bodyLimitBytes: number
  /** The least per second that the body of a request may bring, averaged over 30 s; 0: any. */
  bodyRateBytes: number
  /** Instead of these 30 s; nobody but a test has a reason. */
  bodyRateWindowMs?: number
  headTimeoutMs: number
  keepAliveTimeoutMs: number
  requestsPerConnection: number
  /** Open connections of clients, over all threads; 0: no limit. */
  connectionLimit: number
  /** 0: no limit. */
  connectionsPerAddress: number
  /** A body must make progress at least this often, in both directions. */
  stallTimeoutMs: number
  connectTimeoutMs: number
  upstreamTimeoutMs: number
  upstreamIdleMs: number
  upstreamReuse: boolean
  tunnelIdleMs: number
  /** Which share of the requests gets a line in the log, from 0 to 1. */
  accessLog: number
  accessLogOmit: readonly ('path' | 'client')[]
  /** Of the traces that begin here, which share is sampled; null: traces are none of its business. */
  traceShare: number | null
}

export interface Config {
  /** The file it was read from, for messages. */
  file: string
  listen: ListenAddress
  /** Worker threads of the front door; 0: it is served by the main thread. */
  threads: 'auto' | number
  admin: AdminConfig
  /** Where the metrics are without a signature. */
  metrics?: { listen: ListenAddress }
  /** Where spans are sent, without the path, and the fields that go with them; their values may be secrets. */
  tracing?: { endpoint: string; headers: Readonly<Record<string, string>> }
  /** Absolute. */
  stateDir: string
  relay: RelayConfig
  services: readonly ServiceConfig[]
  /** The variables that secrets of slotgate's own came from: no release gets them. */
  withheld: readonly string[]
}
