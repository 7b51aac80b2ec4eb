// Every key of the config: its kind, its default and what it is for. The docs are tested against this table.
import { ENV } from '../contract.ts'
import { type Code, ERRORS } from '../errors.ts'
import { Complaint } from './complaint.ts'
import { defaulted, list, map, named, nested, optional, orOff, required } from './kinds.ts'
import { judgeFieldName, judgeServiceName } from './names.ts'
import {
  action,
  block,
  count,
  cpus,
  duration,
  endpoint,
  fieldValue,
  filePath,
  firstRelease,
  hostName,
  internalAddress,
  keyId,
  listenAddress,
  oneOf,
  onOffOrShare,
  onOrOff,
  pathPrefix,
  pathWithin,
  publicAddress,
  secretVariable,
  share,
  size,
  text,
  threads,
  urlPath,
  volume,
  word,
} from './scalars.ts'

const GIVEN_AT_BOOT: readonly string[] = Object.values(ENV)

function judgeVariable(name: string): Complaint | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return new Complaint('is not the name of a variable')
  if (GIVEN_AT_BOOT.includes(name)) return new Complaint('is set by slotgate at each boot', 'take it out')
}

const ADMIN_KEY = map({
  id: required(keyId, 'the name of the key in calls and in the journal'),
  algorithm: required(oneOf('ed25519', 'hmac-sha256'), 'how calls are signed with it'),
  public_key: optional(word, 'ed25519: the public key, raw or SPKI in base64, or PEM'),
  secret_file: optional(
    filePath('file'),
    'hmac-sha256: a file with the secret in base64, readable by its owner alone',
  ),
  secret: optional(
    secretVariable,
    `hmac-sha256: the secret in base64, from the environment, as in "\${NAME}"`,
  ),
  allow: required(list(action, { atLeast: 1 }), 'what calls signed with it may do'),
})

const ADMIN = map({
  listen: defaulted(
    listenAddress,
    '127.0.0.1:8081',
    'where the admin API listens; beyond this machine it needs `tls`',
  ),
  tls: optional(
    map({
      cert: required(filePath('file'), 'the certificate chain, PEM'),
      key: required(filePath('file'), 'its private key, PEM'),
    }),
    'the certificate of the admin API',
  ),
  keys: defaulted(list(ADMIN_KEY), [], 'who may call the admin API'),
})

/** Far above what one machine holds; it keeps a slip of the hand from meaning no limit. */
const MANY = 1_000_000

// The numbers of HTTP.md §3.3, with reasons where it leaves a choice.
const RELAY = map({
  trusted_proxies: defaulted(list(block), [], 'whose forwarded fields are believed'),
  proxy_protocol: defaulted(
    onOrOff,
    'off',
    'whether each connection begins with a PROXY protocol header, which only `trusted_proxies` may send',
  ),
  forwarded: defaulted(
    oneOf('x-forwarded', 'forwarded', 'both'),
    'x-forwarded',
    'which forwarded fields the app gets',
  ),
  // A request line of 8000 bytes has to pass (RFC 9112 §3), and cookies beside it.
  head_limit: defaulted(
    size({ atLeastBytes: 1024, atMostBytes: 1024 * 1024 }),
    '16KiB',
    'the largest head of a request or a response',
  ),
  target_limit: optional(
    size({ atLeastBytes: 256, atMostBytes: 1024 * 1024 }),
    'the longest target of a request; not given: 8KiB, or `head_limit` where that is less',
  ),
  field_limit: defaulted(count(10, 1000), '100', 'the most fields in one head'),
  body_limit: defaulted(orOff(size()), 'off', 'the largest body of a request'),
  // More than this would end uploads over lines that are only slow.
  body_rate: defaulted(
    orOff(size({ atMostBytes: 1024 * 1024 })),
    '500B',
    'the least that the body of a request may bring per second, averaged over 30 s',
  ),
  head_timeout: defaulted(duration(), '10s', 'how long the head of a request may take to arrive'),
  // Longer than the 60 s after which most load balancers drop an idle connection: the one who sends has to be the one
  // who closes, or a request meets a connection that is just going away.
  keep_alive_timeout: defaulted(duration(), '65s', 'how long an idle connection of a client is kept'),
  requests_per_connection: defaulted(
    count(1, MANY),
    '1000',
    'how many requests one connection of a client may bring',
  ),
  connections: defaulted(
    orOff(count(1, MANY)),
    '10000',
    'the most open connections of clients, over all threads',
  ),
  connections_per_address: defaulted(
    orOff(count(1, MANY)),
    'off',
    'the most of them from one address of a client',
  ),
  // Between the 15 s for a body that arrives and the 60 s for one that is not taken: one number serves both ways.
  stall_timeout: defaulted(duration(), '30s', 'how long a body may stand still, in either direction'),
  connect_timeout: defaulted(duration(), '2s', 'how long connecting to the app may take'),
  upstream_timeout: defaulted(duration(), '60s', 'how long the app may take to begin its answer'),
  // Many app servers close an idle connection after 4 or 5 s; slotgate has to be the first to let go.
  upstream_idle: defaulted(duration(), '3500ms', 'how long an idle connection to the app is kept'),
  upstream_reuse: defaulted(
    onOrOff,
    'on',
    'whether connections to the app are used again; off: for an app that cannot be trusted with framing',
  ),
  tunnel_idle: defaulted(duration(), '5m', 'how long an upgraded connection may be silent both ways'),
  access_log: defaulted(
    onOffOrShare,
    'on',
    "how many requests get a line in the log; failures that are not the client's do in any case",
  ),
  access_log_omit: defaulted(list(oneOf('path', 'client')), [], 'what these lines do not tell'),
})

/** An engine refuses less. */
const LEAST_MEMORY_BYTES = 6 * 1024 * 1024

const RELEASES = map({
  driver: defaulted(
    oneOf('process', 'git', 'docker'),
    'process',
    'what a release is: a folder that is there, a commit that slotgate checks out, or an image',
  ),
  command: optional(
    list(word, { atLeast: 1 }),
    "the program and its arguments; `{release}` stands for the release id; docker: not given: the image's own",
  ),
  cwd: optional(
    filePath('folder'),
    'process: where it runs, `{release}` as above; not given: `releases/{release}`',
  ),
  repo: optional(filePath('folder'), 'git: the repository; not given: the folder of the config'),
  keep: optional(count(1, 1000), 'git: how many checkouts stay, besides those that are needed; not given: 5'),
  shared: optional(list(pathWithin), 'git: paths that all releases share, as links into `state_dir`'),
  setup: optional(
    list(word, { atLeast: 1 }),
    'process, git: a command to run there once, before the first boot of a release',
  ),
  setup_within: optional(
    duration(),
    'process, git: how long `setup` may take, and before it the checkout; not given: 15m',
  ),
  image: optional(word, 'docker: the image, `{release}` as above; needed there'),
  engine: optional(internalAddress, "docker: the engine's API; not given: `unix:/var/run/docker.sock`"),
  volumes: optional(list(volume), 'docker: what is mounted into the container, `{release}` as above'),
  network: optional(word, "docker: the network of the container; not given: the engine's own"),
  memory: optional(
    size({ atLeastBytes: LEAST_MEMORY_BYTES }),
    'docker: the most memory of the container; not given: no limit',
  ),
  cpus: optional(cpus, 'docker: how many CPUs the container may use; not given: all'),
  env: defaulted(named(text, judgeVariable), {}, 'variables for it; `{release}` as above'),
  env_file: optional(
    filePath('file'),
    'more variables for it, as lines of NAME=value: for secrets, read at each boot, never shown',
  ),
})

const ERROR_STATUS = /^[45]\d\d$/

/** What may come out at the front door. */
const isRelayCode = (name: string): boolean =>
  Object.hasOwn(ERRORS, name) && ERRORS[name as Code].stage === 'relay' && ERRORS[name as Code].status !== 0

function judgeErrorPage(name: string): Complaint | undefined {
  if (ERROR_STATUS.test(name) || isRelayCode(name)) return
  return new Complaint(
    'is no status from 400 to 599, and no code that the front door answers with',
    'docs/errors.md has them all: those of the stage relay',
  )
}

const SLOT = map({
  public: required(publicAddress, 'where requests go'),
  internal: required(internalAddress, 'where health and schema status are asked'),
})

const SERVICE = map({
  hosts: defaulted(list(hostName), [], 'the hosts it answers to; none: any host'),
  path_prefix: defaulted(pathPrefix, '/', 'the paths it answers to'),
  strip_prefix: defaulted(
    onOrOff,
    'off',
    'whether the app gets its paths without `path_prefix`; it is told of it in `X-Forwarded-Prefix`',
  ),
  releases: optional(RELEASES, 'slotgate boots the releases …'),
  slots: optional(
    map({ blue: required(SLOT, 'the slot blue'), green: required(SLOT, 'the slot green') }),
    '… or something else runs the two slots',
  ),
  health: nested(
    map({
      path: defaulted(urlPath, '/healthz', 'answers 200 on the internal port when the release is ready'),
      // Below this a health check is a load of its own.
      interval: defaulted(
        duration({ atLeastMs: 10 }),
        '250ms',
        'how often it is asked while a release boots',
      ),
      timeout: defaulted(duration(), '2s', 'how long one answer may take'),
      within: defaulted(duration(), '30s', 'how long a release may take to become healthy'),
    }),
    'when a release counts as healthy',
  ),
  schema: nested(
    orOff(
      map({
        path: defaulted(urlPath, '/schema/status', 'answers the schema status on the internal port'),
        within: defaulted(duration(), '3s', 'how long one whole answer may take'),
        interval: defaulted(
          duration({ atLeastMs: 10 }),
          '5s',
          'how often the live release, and the former one while it runs, are asked between switches',
        ),
      }),
    ),
    'how a release is asked for its schema; `off` for an app without a database',
  ),
  drain: nested(
    map({
      within: defaulted(duration({ atLeastMs: 0 }), '30s', 'how long requests of the former slot may go on'),
      tunnels_within: defaulted(
        duration({ atLeastMs: 0 }),
        '5m',
        'how long its upgraded connections and event streams may go on',
      ),
    }),
    'what happens to open requests after a switch',
  ),
  hold: nested(
    map({
      within: defaulted(
        duration(),
        '10s',
        'how long a request waits while the service is paused, before it gets a 503',
      ),
      requests: defaulted(
        count(0, MANY),
        '1000',
        'how many wait at once; the next one gets a 503 right away',
      ),
      nothing_live: defaulted(onOrOff, 'off', 'whether requests also wait while nothing is live yet'),
    }),
    'what happens to requests while the service takes none',
  ),
  limits: nested(
    map({
      body_limit: optional(orOff(size()), 'the largest body of a request; not given: `relay.body_limit`'),
      upstream_timeout: optional(
        duration(),
        'how long the app may take to begin its answer; not given: `relay.upstream_timeout`',
      ),
      open_requests: defaulted(
        orOff(count(1, MANY)),
        'off',
        'how many requests a release answers at once, over all threads; the next one gets a 503',
      ),
    }),
    'what it has otherwise than the rest of the front door',
  ),
  error_pages: defaulted(
    named(filePath('file'), judgeErrorPage),
    {},
    "pages of its own for slotgate's answers, by code or status; not of the app's",
  ),
  preview: optional(
    map({
      hosts: defaulted(
        list(hostName),
        [],
        'requests with one of these hosts go there; none: only those with a pass from `slotgate preview`',
      ),
    }),
    'lets people see what is in the idle slot; not given: nobody reaches it; `{}`: whoever has a pass',
  ),
  first: optional(
    firstRelease,
    'on an empty journal, the release to boot (with `slots`: the slot) and promote, through the gate',
  ),
  bake: optional(
    map({
      for: defaulted(duration(), '5m', 'how long it is on trial'),
      max_error_ratio: defaulted(
        share,
        '0.02',
        'it goes back if more of its requests fail, and more than twice as many in a hundred as of the former one',
      ),
      min_requests: defaulted(count(1, MANY), '50', 'before so many requests nothing is concluded'),
    }),
    'a promoted release is on trial: one rollback by itself, through the gate, if too many of its requests fail',
  ),
  previous: defaulted(
    oneOf('keep', 'stop'),
    'keep',
    'whether the former release keeps running after the drain; what does not run cannot be switched back to by itself in the seconds after a flip',
  ),
})

export const CONFIG = map({
  listen: defaulted(listenAddress, '127.0.0.1:8080', 'where the front door listens'),
  threads: defaulted(
    threads,
    'auto',
    'worker threads that serve the front door; auto: one per core, 0: the main thread serves it',
  ),
  admin: nested(ADMIN, 'the admin API'),
  metrics: optional(
    map({
      listen: required(
        listenAddress,
        'where; whoever reaches it reads them: they name services and releases',
      ),
    }),
    'a listener of its own for the metrics, since Prometheus does not sign',
  ),
  tracing: optional(
    map({
      endpoint: required(endpoint, 'the collector, as http://127.0.0.1:4318; spans go to `/v1/traces` there'),
      headers: defaulted(
        named(fieldValue, judgeFieldName),
        {},
        `fields that it wants in each request, such as \`authorization: "Bearer \${SLOTGATE_COLLECTOR_TOKEN}"\``,
      ),
      sample: defaulted(onOffOrShare, 'on', 'how many of the traces that begin here are sent'),
    }),
    'a span for each request, over OTLP, and a place in its trace',
  ),
  state_dir: defaulted(filePath('folder'), '.slotgate', 'where the journal is kept'),
  relay: nested(RELAY, 'limits and times of the front door'),
  services: required(named(SERVICE, judgeServiceName), 'the apps behind the front door, by name'),
})

type DraftOf<K> = K extends { read(...args: never): infer T } ? NonNullable<T> : never

export type ConfigDraft = DraftOf<typeof CONFIG>
export type ServiceDraft = DraftOf<typeof SERVICE>
export type AdminKeyDraft = DraftOf<typeof ADMIN_KEY>
