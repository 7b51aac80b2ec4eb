// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the variables of a config.
// What the check of a config says: every kind of problem with its place, and what comes out when there is none.
import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { checkConfig } from '../../src/config/check.ts'
import type { ConfigProblem, ReadFile } from '../../src/config/reading.ts'
import type { Config } from '../../src/config/types.ts'

const newPublicKey = () => {
  const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
  return String(x)
}
const PUBLIC_KEY = newPublicKey()
const OTHER_PUBLIC_KEY = newPublicKey()
const SECRET = Buffer.alloc(32, 7).toString('base64')

const env = { DATABASE_URL: 'postgres://db/app', SECRET, SHORT: 'c2hvcnQ=', EMPTY: '' }

const files: Record<string, { content: string; mode: number }> = {
  '/etc/slotgate/ops.secret': { content: `${SECRET}\n`, mode: 0o100600 },
  '/etc/slotgate/open.secret': { content: SECRET, mode: 0o100640 },
  '/etc/slotgate/not.pem': { content: 'not a certificate', mode: 0o100600 },
}
const readFile: ReadFile = (path) => {
  const file = files[path]
  if (file === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`)
  return file
}

const check = (text: string) => checkConfig(text, { file: '/etc/slotgate/proxy.config.yaml', env, readFile })

const line = ({ line, column, key, sentence, hint }: ConfigProblem) =>
  `${line}:${column} ${key}: ${[sentence, hint].filter(Boolean).join('; ')}`

const problemsOf = (text: string) => check(text).problems.map(line)

function configOf(text: string): Config {
  const { config, problems } = check(text)
  if (config === undefined) throw new Error(problems.map(line).join('\n'))
  return config
}

/** A service that needs no admin key, so that a test's config holds what the test is about. */
const SERVICE = `services:
  app:
    releases: { command: [node, server.js] }
    first: r1
`
const SLOTS = (blue: string, green: string, more = '') => `services:
  app:
    slots:
      blue: ${blue}
      green: ${green}
    first: blue
${more}`
const BLUE = '{ public: "http://127.0.0.1:3001", internal: "http://127.0.0.1:3901" }'
const GREEN = '{ public: "http://127.0.0.1:3002", internal: "unix:run/green.sock" }'

const key = (fields: string) => `${SERVICE}admin:\n  keys:\n    - { ${fields} }\n`
const keys = (...entries: string[]) =>
  `${SERVICE}admin:\n  keys:\n${entries.map((entry) => `    - { ${entry} }\n`).join('')}`
const ops = `id: ops, algorithm: ed25519, public_key: "${PUBLIC_KEY}", allow: [read]`

/** Each wrong config with all that must be said of it. */
const WRONG: [title: string, text: string, problems: string[]][] = [
  ['an empty file', '', ['1:1 : must be a map of keys; got nothing']],
  ['a list', '- a\n- b\n', ['1:1 : must be a map of keys; got a list or a map']],
  [
    'a tab',
    'listen: :80\nadmin:\n\tlisten: :81\n',
    ['3:1 : is not YAML that can be read here: Tabs are not allowed as indentation; indent with spaces'],
  ],
  [
    'an IPv6 address without quotes',
    'listen: [::1]:8080\n',
    [
      '1:14 : is not YAML that can be read here: Unexpected scalar at node end; text that begins with [ { " \' & * ! % @ or ` must stand in quotes, as in "[::1]:8080"',
    ],
  ],
  [
    'a tag',
    `${SERVICE}state_dir: !secret x\n`,
    [
      '5:12 : is not YAML that can be read here: Unresolved tag: !secret; tags are not read here; put the text in quotes',
    ],
  ],
  [
    'an unknown key',
    `${SERVICE}    helth: {}\n`,
    ['5:5 services.app.helth: unknown key; did you mean "health"?'],
  ],
  [
    'an unknown key in another spelling',
    `${SERVICE}    pathPrefix: /\n`,
    ['5:5 services.app.pathPrefix: unknown key; did you mean "path_prefix"?'],
  ],
  [
    'an unknown key like no other',
    `${SERVICE}frobnicate: 1\n`,
    [
      '5:1 frobnicate: unknown key; known here: listen, threads, admin, metrics, tracing, state_dir, relay, services',
    ],
  ],
  ['a key given twice', `${SERVICE}listen: :1\nlisten: :2\n`, ['6:1 listen: is given twice']],
  [
    'a merge key',
    `x: &x {}\n${SERVICE}    <<: *x\n`,
    [
      '1:1 x: unknown key; known here: listen, threads, admin, metrics, tracing, state_dir, relay, services',
      '6:5 services.app."<<": merge keys are not read; use an alias for a whole value',
    ],
  ],
  [
    'an alias to nowhere',
    `listen: *nope\n${SERVICE}`,
    [
      '1:1 listen: there is no anchor &nope before this alias',
      '1:1 listen: must be one text value; got nothing',
    ],
  ],
  [
    'no services',
    'listen: :80\n',
    ['1:1 services: is missing; it is the apps behind the front door, by name'],
  ],
  ['an empty map of services', 'services: {}\n', ['1:1 services: must name at least one service']],
  [
    'a service name that is none',
    `services:\n  My App:\n    releases: { command: [x] }\n    first: r1\n`,
    ['2:3 services."My App": a service name is 1 to 63 small letters, digits, dashes and underscores'],
  ],
  [
    'a service name that every object has',
    `services:\n  constructor:\n    releases: { command: [x] }\n    first: r1\n`,
    ['2:3 services.constructor: this name is reserved; choose another one'],
  ],
  [
    'a missing variable',
    `${SERVICE}state_dir: "a/\${NOPE}"\n`,
    ['5:12 state_dir: the environment has no NOPE; set NOPE, or write $${NOPE} for the text itself'],
  ],
  [
    'a variable without a name',
    `${SERVICE}state_dir: "\${}"\n`,
    ['5:12 state_dir: has "${" without a name and "}" after it; write $${ for the two characters'],
  ],
  ['a map for a text', `${SERVICE}listen: {}\n`, ['5:1 listen: must be one text value; got a list or a map']],
  [
    'a text for a list',
    `${SERVICE}    hosts: a.test\n`,
    ['5:12 services.app.hosts: must be a list; got "a.test"'],
  ],
  [
    'a duration without unit',
    `${SERVICE}    health: { within: 30 }\n`,
    ['5:23 services.app.health.within: needs a unit; got "30"; write 30ms, 30s, 30m or 30h'],
  ],
  [
    'a duration that is none',
    `${SERVICE}    health: { within: soon }\n`,
    ['5:23 services.app.health.within: must be a duration such as 250ms, 2s, 5m or 1h; got "soon"'],
  ],
  [
    'a duration too short',
    `${SERVICE}    health: { interval: 1ms }\n`,
    ['5:25 services.app.health.interval: must be at least 10ms; got "1ms"'],
  ],
  [
    'a duration that a timer cannot hold',
    `${SERVICE}    drain: { tunnels_within: 600h }\n`,
    ['5:30 services.app.drain.tunnels_within: must be at most 24h; got "600h"'],
  ],
  [
    'a size without unit',
    `${SERVICE}relay: { head_limit: 16384 }\n`,
    ['5:22 relay.head_limit: needs a unit; got "16384"; write 16384B, 16384KiB or 16384MiB'],
  ],
  [
    'a size out of bounds',
    `${SERVICE}relay: { head_limit: 1GiB }\n`,
    ['5:22 relay.head_limit: must be between 1024B and 1048576B; got "1GiB"'],
  ],
  [
    'a number out of bounds',
    `${SERVICE}relay: { field_limit: 3 }\n`,
    ['5:23 relay.field_limit: must be a whole number from 10 to 1000; got "3"'],
  ],
  [
    'a trusted proxy that is no block',
    `${SERVICE}relay: { trusted_proxies: [10.0.0.0/33] }\n`,
    ['5:28 relay.trusted_proxies[0]: must be an address or a block such as 10.0.0.0/8; got "10.0.0.0/33"'],
  ],
  [
    'a word that is not among the choices',
    `${SERVICE}    previous: kep\n`,
    ['5:15 services.app.previous: must be keep or stop; got "kep"; did you mean "keep"?'],
  ],
  [
    'a share that is none',
    `${SERVICE}    bake: { max_error_ratio: 2% }\n`,
    ['5:30 services.app.bake.max_error_ratio: must be a share from 0 to below 1, such as 0.02; got "2%"'],
  ],
  [
    'more threads than are of use',
    `${SERVICE}threads: 65\n`,
    ['5:10 threads: must be auto or a whole number from 0 to 64; got "65"'],
  ],
  [
    'threads that are no number',
    `${SERVICE}threads: 1.5\n`,
    ['5:10 threads: must be auto or a whole number from 0 to 64; got "1.5"'],
  ],
  [
    'a switch that is neither on nor off',
    `${SERVICE}relay: { access_log: true, upstream_reuse: onn }\n`,
    [
      '5:22 relay.access_log: must be on, off or a share below 1, such as 0.1; got "true"',
      '5:44 relay.upstream_reuse: must be on or off; got "onn"; did you mean "on"?',
    ],
  ],
  [
    'the PROXY protocol from nobody',
    `${SERVICE}relay:\n  proxy_protocol: on\n`,
    [
      '6:19 relay.proxy_protocol: is on, and there are no trusted_proxies: every connection would be closed; name the load balancer in relay.trusted_proxies',
    ],
  ],
  [
    'the PROXY protocol from a proxy that is none',
    `${SERVICE}relay: { proxy_protocol: on, trusted_proxies: [lb] }\n`,
    ['5:48 relay.trusted_proxies[0]: must be an address or a block such as 10.0.0.0/8; got "lb"'],
  ],
  [
    'a target longer than its head',
    `${SERVICE}relay: { head_limit: 4KiB, target_limit: 8KiB }\n`,
    [
      '5:42 relay.target_limit: is more (8192B) than head_limit (4096B): the target is a part of the head; raise head_limit, or lower this',
    ],
  ],
  [
    'a target longer than the head is by default',
    `${SERVICE}relay: { target_limit: 17KiB }\n`,
    [
      '5:24 relay.target_limit: is more (17408B) than head_limit (16384B): the target is a part of the head; raise head_limit, or lower this',
    ],
  ],
  [
    'a target too short for anything',
    `${SERVICE}relay: { target_limit: 0B }\n`,
    ['5:24 relay.target_limit: must be between 256B and 1048576B; got "0B"'],
  ],
  [
    'a rate that few lines reach',
    `${SERVICE}relay: { body_rate: 1GB }\n`,
    ['5:21 relay.body_rate: must be between 1B and 1048576B; got "1GB"'],
  ],
  [
    'connections that carry nothing',
    `${SERVICE}relay: { requests_per_connection: 0, connections: 0, connections_per_address: none }\n`,
    [
      '5:35 relay.requests_per_connection: must be a whole number from 1 to 1000000; got "0"',
      '5:51 relay.connections: must be a whole number from 1 to 1000000; got "0"',
      '5:79 relay.connections_per_address: must be a whole number from 1 to 1000000; got "none"',
    ],
  ],
  [
    'more connections from one address than from all',
    `${SERVICE}relay: { connections_per_address: 10001 }\n`,
    [
      '5:35 relay.connections_per_address: is more (10001) than connections (10000): it would never be reached; lower it, or write off',
    ],
  ],
  [
    'a bare port',
    `${SERVICE}listen: 8080\n`,
    [
      '5:9 listen: must be an address such as 127.0.0.1:8080, :8080 or "[::1]:8080"; got "8080"; write 127.0.0.1:8080, or :8080 for every interface',
    ],
  ],
  [
    'a port above all ports',
    `${SERVICE}listen: :65536\n`,
    ['5:9 listen: has a port above 65535; got ":65536"'],
  ],
  [
    'a host that is none',
    `${SERVICE}listen: a b:80\n`,
    ['5:9 listen: has a host that is none; got "a b:80"'],
  ],
  [
    'an empty command',
    'services:\n  app:\n    releases: { command: [] }\n    first: r1\n',
    ['3:26 services.app.releases.command: must not be empty'],
  ],
  [
    'no command',
    'services:\n  app:\n    releases: { cwd: x }\n    first: r1\n',
    ['3:5 services.app.releases.command: is missing; it is the program and its arguments'],
  ],
  [
    'an argument with a NUL',
    'services:\n  app:\n    releases: { command: [node, "a\\0b"] }\n    first: r1\n',
    ['3:33 services.app.releases.command[1]: must not contain a NUL character; got "a\\u0000b"'],
  ],
  [
    'a variable that slotgate sets',
    'services:\n  app:\n    releases: { command: [x], env: { PORT: 1, "A B": 2 } }\n    first: r1\n',
    [
      '3:38 services.app.releases.env.PORT: is set by slotgate at each boot; take it out',
      '3:47 services.app.releases.env."A B": is not the name of a variable',
    ],
  ],
  [
    'keys of git where releases are folders, and the other way round',
    'services:\n  app:\n    releases: { command: [x], repo: ., keep: 1, shared: [data] }\n    first: r1\n  two:\n    hosts: [a.test]\n    releases: { driver: git, command: [x], cwd: x }\n    first: r1\n  three:\n    hosts: [b.test]\n    releases: { driver: docker, image: x, setup: [x] }\n    first: r1\n',
    [
      '3:37 services.app.releases.repo: is for `driver: git`: here a release is a folder that is there already; take it out',
      '3:46 services.app.releases.keep: is for `driver: git`: here a release is a folder that is there already; take it out',
      '3:57 services.app.releases.shared: is for `driver: git`: here a release is a folder that is there already; take it out',
      '7:49 services.two.releases.cwd: is for `driver: process`: here a release is a commit, which runs in its checkout; take it out',
      '11:50 services.three.releases.setup: is for `driver: process` or `driver: git`: here a release is an image, which is built elsewhere; take it out',
    ],
  ],
  [
    'no image',
    'services:\n  app:\n    releases: { driver: docker, command: [x] }\n    first: r1\n',
    ['3:5 services.app.releases.image: is missing; it is the image of a release, such as "shop:{release}"'],
  ],
  [
    'what a container cannot have',
    'services:\n  app:\n    releases: { driver: docker, image: x, volumes: [data, "data:x"], memory: 1MiB, cpus: 0 }\n    first: r1\n',
    [
      '3:53 services.app.releases.volumes[0]: must be a folder or volume and a path, such as ./data:/data or data:/data:ro; got "data"',
      '3:59 services.app.releases.volumes[1]: must be a folder or volume and a path, such as ./data:/data or data:/data:ro; got "data:x"',
      '3:78 services.app.releases.memory: must be between 6291456B and 9007199254740991B; got "1MiB"',
      '3:90 services.app.releases.cpus: must be a number of CPUs, such as 2 or 0.5; got "0"',
    ],
  ],
  [
    'shared paths that leave the release',
    'services:\n  app:\n    releases: { driver: git, command: [x], shared: [../data, /data, .git/hooks, a/./b] }\n    first: r1\n',
    [
      '3:53 services.app.releases.shared[0]: must be a path within the release, such as data or var/uploads; got "../data"',
      '3:62 services.app.releases.shared[1]: must be a path within the release, such as data or var/uploads; got "/data"',
      '3:69 services.app.releases.shared[2]: is what git keeps of the checkout; got ".git/hooks"',
      '3:81 services.app.releases.shared[3]: must be a path within the release, such as data or var/uploads; got "a/./b"',
    ],
  ],
  [
    'shared paths that meet',
    'services:\n  app:\n    releases: { driver: git, command: [x], shared: [data/a, data/, data, database] }\n    first: main\n',
    [
      '3:53 services.app.releases.shared[0]: lies within data, which is shared as a whole; take it out',
      '3:68 services.app.releases.shared[2]: is there twice; take it out',
    ],
  ],
  [
    'no checkouts to keep',
    'services:\n  app:\n    releases: { driver: git, command: [x], keep: 0 }\n    first: main\n',
    ['3:50 services.app.releases.keep: must be a whole number from 1 to 1000; got "0"'],
  ],
  [
    'neither releases nor slots',
    'services:\n  app: { first: r1 }\n',
    [
      '2:3 services.app: has neither releases nor slots; say how slotgate boots releases, or where the slots are',
    ],
  ],
  [
    'both releases and slots',
    SLOTS(BLUE, GREEN, '    releases: { command: [x] }\n'),
    [
      '3:5 services.app.slots: stands beside releases; keep one: slotgate boots releases, or something else runs the slots',
    ],
  ],
  [
    'a first release where slots are given',
    SLOTS(BLUE, GREEN).replace('first: blue', 'first: r1'),
    ['6:12 services.app.first: must be blue or green: with `slots`, the first to be promoted is a slot'],
  ],
  [
    'a first release that is no release id',
    SERVICE.replace('r1', '../r1'),
    [
      '4:12 services.app.first: must be 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or digit; got "../r1"',
    ],
  ],
  [
    'slots that slotgate should stop',
    SLOTS(BLUE, GREEN, '    previous: stop\n'),
    ['7:15 services.app.previous: cannot be stop: slotgate does not run what is in `slots`; write keep'],
  ],
  [
    'tunnels that drain before requests',
    `${SERVICE}    drain: { within: 10m }\n`,
    [
      '5:5 services.app.drain.tunnels_within: is shorter (300000 ms) than drain.within (600000 ms); tunnels get at least the time of requests',
    ],
  ],
  [
    'hosts that are none',
    `${SERVICE}    hosts: ["*.a.test", "a.test:80", "a b", büro.test, "[zz"]\n`,
    [
      '5:13 services.app.hosts[0]: is a wildcard: only whole names are supported; got "*.a.test"; omit `hosts` for any host',
      '5:25 services.app.hosts[1]: must be without a port; got "a.test:80"; the port is that of `listen`',
      '5:38 services.app.hosts[2]: must be a host name such as shop.example.com; got "a b"',
      '5:45 services.app.hosts[3]: must be a host name such as shop.example.com; got "büro.test"; write xn--bro-hoa.test',
      '5:56 services.app.hosts[4]: must be a host name such as shop.example.com; got "[zz"',
    ],
  ],
  [
    'paths that are none',
    `${SERVICE}    path_prefix: api\n    health: { path: /a?b }\n    schema: { path: "/a b" }\n`,
    [
      '5:18 services.app.path_prefix: must begin with /; got "api"',
      '6:21 services.app.health.path: must be a path, without ? and #; got "/a?b"',
      '7:21 services.app.schema.path: must be visible ASCII characters without spaces; got "/a b"',
    ],
  ],
  [
    'a path prefix that requests are not matched by',
    `${SERVICE}    path_prefix: /a/../b\n`,
    [
      '5:18 services.app.path_prefix: must be without %, \\, // and dot segments: requests are matched as they are written; got "/a/../b"',
    ],
  ],
  [
    'two services that claim the same host and path',
    `${SERVICE}    hosts: [A.test]\n    path_prefix: /api\n  shop:\n    releases: { command: [x] }\n    first: r1\n    hosts: [b.test, a.TEST]\n    path_prefix: /api/\n`,
    [
      '10:12 services.shop.hosts: a.test with path /api is claimed by service app already; give one of them another host or path_prefix',
    ],
  ],
  [
    'two services that claim everything',
    `${SERVICE}  shop:\n    releases: { command: [x] }\n    first: r1\n`,
    [
      '5:3 services.shop.path_prefix: any host with path / is claimed by service app already; give one of them another host or path_prefix',
    ],
  ],
  [
    'a host twice',
    `${SERVICE}    hosts: [a.test, A.test]\n`,
    ['5:12 services.app.hosts: names a.test twice'],
  ],
  [
    'one public address for both slots',
    SLOTS(BLUE, '{ public: "http://localhost:3001/", internal: "http://127.0.0.1:3902" }'),
    ['5:24 services.app.slots.green.public: is also blue.public: both slots would be the same process'],
  ],
  [
    'one internal address for both slots',
    SLOTS(BLUE, '{ public: "http://127.0.0.1:3002", internal: "http://127.0.0.1:3901" }'),
    [
      '5:59 services.app.slots.green.internal: is also blue.internal: the gate would ask the same process for both slots',
    ],
  ],
  [
    "a public address that is the other slot's internal one",
    SLOTS(BLUE, '{ public: "http://127.1:3901", internal: "http://127.0.0.1:3902" }'),
    [
      '5:24 services.app.slots.green.public: is also blue.internal: the front door would reach an internal address',
    ],
  ],
  [
    "a public address that is another service's internal one",
    SLOTS(
      BLUE,
      GREEN,
      `  shop:\n    hosts: [shop.test]\n    first: blue\n    slots:\n      blue: { public: "http://127.0.0.1:3901", internal: "http://127.0.0.1:3905" }\n      green: { public: "http://127.0.0.1:3006", internal: "http://127.0.0.1:3906" }\n`,
    ),
    [
      "11:23 services.shop.slots.blue.public: is also service app's blue.internal: the front door would reach an internal address",
    ],
  ],
  [
    'slots at the addresses of slotgate itself',
    SLOTS(
      '{ public: "http://127.0.0.1:8080", internal: "http://127.0.0.1:8081" }',
      '{ public: "http://app.test:8080", internal: "http://app.test:8081" }',
    ),
    [
      '4:23 services.app.slots.blue.public: is the address of the front door itself',
      '4:58 services.app.slots.blue.internal: is the address of the admin API itself',
    ],
  ],
  [
    'slots at the address of a front door on every interface',
    `listen: :3001\n${SLOTS(BLUE, GREEN)}`,
    ['5:23 services.app.slots.blue.public: is the address of the front door itself'],
  ],
  [
    'addresses that are none',
    SLOTS(
      '{ public: "https://a.test", internal: "http://a.test/x" }',
      '{ public: "unix:/run/a.sock", internal: "http://a.test:0" }',
    ),
    [
      '4:23 services.app.slots.blue.public: must be http: TLS to a slot is not spoken; got "https://a.test"',
      '4:51 services.app.slots.blue.internal: must be a URL such as http://127.0.0.1:3901, or unix:/run/app.sock, without a path; got "http://a.test/x"',
      '5:24 services.app.slots.green.public: must be http: only the internal address may be a Unix socket; got "unix:/run/a.sock"',
      '5:54 services.app.slots.green.internal: must have a port from 1 to 65535; got "http://a.test:0"',
    ],
  ],
  [
    'a socket path that is too long',
    SLOTS(BLUE, `{ public: "http://a.test", internal: "unix:/${'s'.repeat(107)}" }`),
    [
      `5:51 services.app.slots.green.internal: is a socket path longer than 107 bytes; got "unix:/${'s'.repeat(54)}…"`,
    ],
  ],
  [
    'an admin listener beyond loopback without TLS',
    `${SERVICE}admin: { listen: "0.0.0.0:8081" }\n`,
    [
      '5:18 admin.listen: 0.0.0.0 is not loopback, and there is no admin.tls; listen on 127.0.0.1, or set admin.tls',
    ],
  ],
  [
    'an admin listener on every interface without TLS',
    `${SERVICE}admin: { listen: ":8081" }\n`,
    [
      '5:18 admin.listen: every interface is not loopback, and there is no admin.tls; listen on 127.0.0.1, or set admin.tls',
    ],
  ],
  [
    'one address for both listeners',
    `${SERVICE}listen: :9000\nadmin: { listen: "localhost:9000" }\n`,
    ['6:18 admin.listen: is the address of the front door (listen); give it another port'],
  ],
  [
    'metrics where the admin API is',
    `${SERVICE}metrics: { listen: "127.0.0.1:8081" }\n`,
    ['5:20 metrics.listen: is the address of the admin API (admin.listen); give it another port'],
  ],
  [
    'a slot where the metrics are',
    `services:
  app:
    slots:
      blue: { public: "http://127.0.0.1:9464", internal: "http://127.0.0.1:4001" }
      green: { public: "http://127.0.0.1:4002", internal: "http://127.0.0.1:4003" }
    first: blue
metrics: { listen: ":9464" }
`,
    ['4:23 services.app.slots.blue.public: is the address of the listener for metrics itself'],
  ],
  [
    'a collector that is nowhere',
    `${SERVICE}tracing: { endpoint: "127.0.0.1:4318", sample: 1.5 }\n`,
    [
      '5:22 tracing.endpoint: must be a URL such as http://127.0.0.1:4318; got "127.0.0.1:4318"',
      '5:48 tracing.sample: must be on, off or a share below 1, such as 0.1; got "1.5"',
    ],
  ],
  [
    'fields for a collector that no request can have',
    `${SERVICE}tracing:
  endpoint: "http://127.0.0.1:4318"
  headers: { Content-Type: text/plain, "a b": x, authorization: "Bearer s\u00e9cret", x-key: "\${NOWHERE}", x-list: [] }
`,
    [
      '7:14 tracing.headers.Content-Type: is set by slotgate itself; take it out',
      '7:40 tracing.headers."a b": is not the name of a field',
      '7:65 tracing.headers.authorization: must be visible ASCII characters in one line',
      '7:89 tracing.headers.x-key: the environment has no NOWHERE; set NOWHERE, or write $${NOWHERE} for the text itself',
      '7:111 tracing.headers.x-list: must be visible ASCII characters in one line',
    ],
  ],
  [
    'TLS files that cannot be used',
    `${SERVICE}admin: { listen: ":8081", tls: { cert: not.pem, key: nowhere.pem } }\n`,
    [
      '5:40 admin.tls.cert: is not PEM that can be read: error:0480006C:PEM routines::no start line',
      "5:54 admin.tls.key: cannot be read: ENOENT: no such file or directory, open '/etc/slotgate/nowhere.pem'",
    ],
  ],
  [
    'nothing that could ever be promoted',
    'services:\n  app:\n    releases: { command: [x] }\nadmin: { keys: [] }\n',
    [
      '4:16 admin.keys: there is no key, and no `first` for app: nothing could ever be promoted; make one: slotgate keys generate --id ops',
    ],
  ],
  [
    "a key by slotgate's own name",
    key(`id: slotgate, algorithm: ed25519, public_key: "${PUBLIC_KEY}", allow: [read]`),
    ['7:13 admin.keys[0].id: is what the journal calls slotgate itself; got "slotgate"; choose another id'],
  ],
  [
    'a key that may do nothing',
    key(ops.replace('[read]', '[]')),
    ['7:104 admin.keys[0].allow: must not be empty'],
  ],
  [
    'a key that may do something unknown',
    key(ops.replace('read', 'promot')),
    [
      '7:105 admin.keys[0].allow[0]: must be read, stage, promote, rollback or traffic; got "promot"; did you mean "promote"?',
    ],
  ],
  [
    'a public key that is none',
    key('id: ops, algorithm: ed25519, public_key: "abc", allow: [read]'),
    [
      '7:50 admin.keys[0].public_key: is not an Ed25519 public key; slotgate keys generate prints what belongs here',
    ],
  ],
  [
    'a public key of low order',
    key(`id: ops, algorithm: ed25519, public_key: "${'A'.repeat(43)}=", allow: [read]`),
    ['7:50 admin.keys[0].public_key: the key is a point of low order: anybody could sign for it'],
  ],
  [
    'a key without material',
    key('id: ops, algorithm: ed25519, allow: [read]'),
    ['7:7 admin.keys[0]: public_key is missing'],
  ],
  [
    'material of the other algorithm',
    key(`id: ops, algorithm: hmac-sha256, public_key: "${PUBLIC_KEY}", allow: [read]`),
    ['7:54 admin.keys[0].public_key: is not for hmac-sha256; give its secret_file or secret'],
  ],
  [
    'a secret from two sources',
    key('id: ops, algorithm: hmac-sha256, secret: "${SECRET}", secret_file: ops.secret, allow: [read]'),
    ['7:7 admin.keys[0]: gives both secret_file and secret: one is enough'],
  ],
  [
    'a secret that stands in the config',
    key(`id: ops, algorithm: hmac-sha256, secret: "${SECRET}", allow: [read]`),
    ['7:50 admin.keys[0].secret: must come from the environment; write "${NAME}", or use secret_file'],
  ],
  [
    'a secret that is too short',
    key('id: ops, algorithm: hmac-sha256, secret: "${SHORT}", allow: [read]'),
    ['7:50 admin.keys[0].secret: an HMAC secret needs at least 32 random bytes, this one has 5'],
  ],
  [
    'a secret that is empty',
    key('id: ops, algorithm: hmac-sha256, secret: "${EMPTY}", allow: [read]'),
    ['7:50 admin.keys[0].secret: is not base64; slotgate keys generate prints what belongs here'],
  ],
  [
    'a secret file that others can read',
    key('id: ops, algorithm: hmac-sha256, secret_file: open.secret, allow: [read]'),
    [
      '7:55 admin.keys[0].secret_file: /etc/slotgate/open.secret can be read by others than its owner; chmod 600 /etc/slotgate/open.secret',
    ],
  ],
  [
    'a key id twice',
    keys(ops, ops.replace(PUBLIC_KEY, OTHER_PUBLIC_KEY)),
    ['8:13 admin.keys[1].id: is the id of admin.keys[0] too'],
  ],
  [
    'a key twice under two ids',
    keys(ops, ops.replace('id: ops', 'id: agent')),
    ['8:7 admin.keys[1]: is the same key as admin.keys[0]; give each holder a key of their own'],
  ],
]

t.test('each problem is told with its line, column and key', async (t) => {
  for (const [title, text, problems] of WRONG) t.strictSame(problemsOf(text), problems, title)
})

t.test('a config with a problem yields no config', async (t) => {
  for (const [title, text] of WRONG) t.equal(check(text).config, undefined, title)
})

t.test('all problems are told at once, in the order of the file', async (t) => {
  const text = `listen: 8080
admin: { listen: "0.0.0.0:8081" }
services:
  app:
    relases: {}
    health: { within: 30 }
  shop:
    releases: { command: [] }
    first: r1
`
  t.strictSame(
    check(text).problems.map(({ line, column, key }) => `${line}:${column} ${key}`),
    [
      '1:9 listen',
      '2:1 admin.keys',
      '2:18 admin.listen',
      '4:3 services.app',
      '5:5 services.app.relases',
      '6:23 services.app.health.within',
      '7:3 services.shop.path_prefix',
      '8:26 services.shop.releases.command',
    ],
  )
})

t.test('a problem never repeats the value of a variable', async (t) => {
  const [problem] = problemsOf(`${SERVICE}listen: "\${DATABASE_URL}"\n`)
  t.match(problem, /got "\$\{DATABASE_URL\}"$/)
})

t.test('what is not written has its default', async (t) => {
  t.strictSame(configOf(SERVICE), {
    file: '/etc/slotgate/proxy.config.yaml',
    listen: { host: '127.0.0.1', port: 8080 },
    threads: 'auto',
    admin: { listen: { host: '127.0.0.1', port: 8081 }, keys: [] },
    stateDir: '/etc/slotgate/.slotgate',
    relay: {
      trustedProxies: [],
      proxyProtocol: false,
      forwarded: 'x-forwarded',
      headLimitBytes: 16_384,
      targetLimitBytes: 8_192,
      fieldLimit: 100,
      bodyLimitBytes: 0,
      bodyRateBytes: 500,
      headTimeoutMs: 10_000,
      keepAliveTimeoutMs: 65_000,
      requestsPerConnection: 1_000,
      connectionLimit: 10_000,
      connectionsPerAddress: 0,
      stallTimeoutMs: 30_000,
      connectTimeoutMs: 2_000,
      upstreamTimeoutMs: 60_000,
      upstreamIdleMs: 3_500,
      upstreamReuse: true,
      tunnelIdleMs: 300_000,
      accessLog: 1,
      accessLogOmit: [],
      traceShare: null,
    },
    services: [
      {
        name: 'app',
        hosts: [],
        pathPrefix: '/',
        stripPrefix: false,
        limits: { openRequests: 0 },
        errorPages: {},
        releases: {
          driver: 'process',
          command: ['node', 'server.js'],
          cwd: '/etc/slotgate/releases/{release}',
          env: {},
        },
        health: { path: '/healthz', intervalMs: 250, timeoutMs: 2_000, withinMs: 30_000 },
        schema: { path: '/schema/status', withinMs: 3_000, intervalMs: 5_000 },
        drain: { withinMs: 30_000, tunnelsWithinMs: 300_000 },
        hold: { withinMs: 10_000, requests: 1_000, nothingLive: false },
        first: 'r1',
        previous: 'keep',
        hiddenPaths: [],
      },
    ],
    withheld: [],
  })
})

t.test('it is noted which variables secrets came from', async (t) => {
  const given = `services: { app: { releases: { command: [x], env: { URL: "\${DATABASE_URL}" } }, first: r1 } }\n`
  t.strictSame(configOf(given).withheld, [])
  const headers = `{ a: "Bearer \${SHORT}", b: "$\${EMPTY}", c: "\${SHORT}" }`
  t.strictSame(
    configOf(`${given}tracing: { endpoint: "http://127.0.0.1:4318", headers: ${headers} }\n`).withheld,
    ['SHORT'],
  )
  const ops = `{ id: ops, algorithm: hmac-sha256, secret: "\${SECRET}", allow: [read] }`
  t.strictSame(configOf(`${given}admin: { keys: [${ops}] }\n`).withheld, ['SECRET'])
})

t.test('what is written is taken', async (t) => {
  const config = configOf(`listen: ":80"
threads: 0
state_dir: /var/lib/slotgate
admin:
  listen: "[::1]:0"
  keys:
    - { ${ops} }
    - { id: agent, algorithm: hmac-sha256, secret_file: ops.secret, allow: [read, promote] }
relay: { body_limit: 1MB, forwarded: both, trusted_proxies: [10.0.0.0/8, "::1"], stall_timeout: 1h }
services:
  app:
    hosts: [Shop.Test, "[0:0::1]"]
    path_prefix: /api/
    releases:
      command: [node, 042, "{release}"]
      cwd: ../app
      setup: [npm, ci]
      setup_within: 1h
      env: { DATABASE_URL: "\${DATABASE_URL}", LITERAL: "$\${DATABASE_URL}", ZERO: 007 }
    schema: off
    drain: { within: 0s, tunnels_within: 0s }
    hold: { within: 250ms, requests: 0, nothing_live: on }
    bake: { max_error_ratio: 0.1, min_requests: 20 }
    previous: stop
`)
  t.strictSame(config.listen, { host: '::', port: 80 })
  t.strictSame(config.admin.listen, { host: '::1', port: 0 })
  t.strictSame(
    config.admin.keys.map(({ id, allow, material }) => ({ id, allow, bytes: material.length })),
    [
      { id: 'ops', allow: ['read'], bytes: 32 },
      { id: 'agent', allow: ['read', 'promote'], bytes: 32 },
    ],
  )
  t.equal(config.threads, 0)
  t.equal(config.stateDir, '/var/lib/slotgate')
  t.match(config.relay, {
    bodyLimitBytes: 1_000_000,
    forwarded: 'both',
    trustedProxies: ['10.0.0.0/8', '::1'],
    stallTimeoutMs: 3_600_000,
  })
  t.match(config.services[0], {
    hosts: ['shop.test', '[::1]'],
    pathPrefix: '/api',
    releases: {
      command: ['node', '042', '{release}'],
      cwd: '/etc/app',
      setup: { command: ['npm', 'ci'], withinMs: 3_600_000 },
      env: { DATABASE_URL: 'postgres://db/app', LITERAL: '${DATABASE_URL}', ZERO: '007' },
    },
    schema: 'off',
    drain: { withinMs: 0, tunnelsWithinMs: 0 },
    hold: { withinMs: 250, requests: 0, nothingLive: true },
    bake: { forMs: 300_000, maxErrorRatio: 0.1, minRequests: 20 },
    previous: 'stop',
  })
})

t.test('releases from git are taken, their first by any name that git knows', async (t) => {
  const [service, other] = configOf(`services:
  app:
    releases:
      driver: git
      repo: ../app.git
      command: [node, server.ts]
      keep: 2
      shared: [data, var/uploads/]
      env_file: .env
    first: origin/main~1
  other:
    hosts: [other.test]
    releases: { driver: git, command: [x] }
    first: main
`).services
  t.strictSame(service?.releases, {
    driver: 'git',
    repo: '/etc/app.git',
    checkoutWithinMs: 900_000,
    command: ['node', 'server.ts'],
    keep: 2,
    shared: ['data', 'var/uploads'],
    env: {},
    envFile: '/etc/slotgate/.env',
  })
  t.equal(service?.first, 'origin/main~1')
  t.match(other?.releases, { repo: '/etc/slotgate', keep: 5, shared: [] })
})

t.test('releases that are images are taken, with what their containers get', async (t) => {
  const [service, other] = configOf(`services:
  app:
    releases:
      driver: docker
      image: "registry.test:5000/shop:{release}"
      engine: unix:///run/engine.sock
      command: [server, "{release}"]
      volumes: [./data:/data, /etc/ssl:/etc/ssl:ro, "uploads:/up"]
      network: shop
      memory: 512MiB
      cpus: 0.5
      env: { COLOUR: "{release}" }
    first: r1
  other:
    hosts: [other.test]
    releases: { driver: docker, image: shop }
    first: r1
`).services
  t.strictSame(service?.releases, {
    driver: 'docker',
    image: 'registry.test:5000/shop:{release}',
    engine: { kind: 'unix', path: '/run/engine.sock' },
    command: ['server', '{release}'],
    volumes: ['/etc/slotgate/data:/data', '/etc/ssl:/etc/ssl:ro', 'uploads:/up'],
    network: 'shop',
    memoryBytes: 536_870_912,
    cpus: 0.5,
    env: { COLOUR: '{release}' },
  })
  t.strictSame(other?.releases, {
    driver: 'docker',
    image: 'shop',
    engine: { kind: 'unix', path: '/var/run/docker.sock' },
    volumes: [],
    env: {},
  })
})

t.test('what is written for the front door is taken', async (t) => {
  const config = configOf(`${SERVICE}threads: 64
relay:
  trusted_proxies: [10.0.0.0/8]
  proxy_protocol: on
  head_limit: 32KiB
  target_limit: 32KiB
  body_rate: off
  requests_per_connection: 1
  connections: off
  connections_per_address: 1000000
  upstream_reuse: off
  access_log: 0.25
  access_log_omit: [client]
`)
  t.equal(config.threads, 64)
  t.match(config.relay, {
    proxyProtocol: true,
    targetLimitBytes: 32_768,
    bodyRateBytes: 0,
    requestsPerConnection: 1,
    connectionLimit: 0,
    connectionsPerAddress: 1_000_000,
    upstreamReuse: false,
    accessLog: 0.25,
    accessLogOmit: ['client'],
  })
})

t.test('a target that is not limited itself is limited by a small head', async (t) => {
  t.equal(configOf(`${SERVICE}relay: { head_limit: 2KiB }\n`).relay.targetLimitBytes, 2_048)
  t.equal(configOf(`${SERVICE}relay: { head_limit: 64KiB }\n`).relay.targetLimitBytes, 8_192)
})

t.test('slots are taken with their addresses, sockets from the folder of the config', async (t) => {
  const [service] = configOf(SLOTS(BLUE, GREEN)).services
  t.strictSame(service?.slots, {
    blue: {
      public: { kind: 'tcp', host: '127.0.0.1', port: 3001 },
      internal: { kind: 'tcp', host: '127.0.0.1', port: 3901 },
    },
    green: {
      public: { kind: 'tcp', host: '127.0.0.1', port: 3002 },
      internal: { kind: 'unix', path: '/etc/slotgate/run/green.sock' },
    },
  })
  t.strictSame(service?.hiddenPaths, [])
})

t.test(
  'where public and internal side of a slot are one origin, the internal paths are hidden',
  async (t) => {
    const shared = '{ public: "http://127.0.0.1:3002", internal: "http://localhost:3002" }'
    const hidden = (more: string) => configOf(SLOTS(BLUE, shared, more)).services[0]?.hiddenPaths
    t.strictSame(hidden(''), ['/healthz', '/schema/status', '/migrations/run'])
    t.strictSame(hidden('    schema: off\n    health: { path: /up }\n'), ['/up', '/migrations/run'])
  },
)

t.test('an alias stands for a whole value', async (t) => {
  const config = configOf(`${SERVICE}    health: &health { within: 5s }
  shop:
    hosts: [shop.test]
    health: *health
    releases: { command: [x] }
    first: r1
`)
  t.strictSame(
    config.services.map(({ health }) => health.withinMs),
    [5_000, 5_000],
  )
})

t.test('aliases, size and depth have limits', async (t) => {
  const aliases = `${SERVICE}    hosts: [&a a.test${', *a'.repeat(101)}]\n`
  t.match(problemsOf(aliases).join('\n'), 'is alias number 101; 100 are the limit')
  t.match(problemsOf('#'.repeat(300_000)), ['1:1 : has 300000 characters; 262144 are the limit'])
  t.match(problemsOf('['.repeat(100_000))[0], 'is not YAML that can be read here')
})

t.test('a checked config is frozen all the way down', async (t) => {
  const config = configOf(SLOTS(BLUE, GREEN))
  for (const part of [config, config.relay, config.services, config.services[0]?.slots?.blue.public]) {
    t.ok(Object.isFrozen(part))
  }
})

/** Made for this test, for `localhost`; it guards nothing. */
const selfSigned = {
  certificate: `-----BEGIN CERTIFICATE-----
MIIBWzCCAQ2gAwIBAgIUDyu1Ni2YGXBxZD5u0SEcoRvYGsEwBQYDK2VwMBQxEjAQ
BgNVBAMMCWxvY2FsaG9zdDAgFw0yNjExMjIyMjA0NDFaGA8yMTI2MTAyOTIyMDQ0
MVowFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEA2jrYxcNdoOzt6/rz
aObgWrNi8fsS02eWLQOUyNmjFmWjbzBtMB0GA1UdDgQWBBTVggW/uA4btSV8n5Uy
doePB7rz7zAfBgNVHSMEGDAWgBTVggW/uA4btSV8n5UydoePB7rz7zAPBgNVHRMB
Af8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAFBgMrZXADQQAL
UmDa+d2f7ddU9K2hWYFqoCiZCgk4YJF93p5C2fRbsDHmLRc+kJk3nNYabxrbe8Rr
hgdzppeHD8wbWDfLOQYK
-----END CERTIFICATE-----
`,
  privateKey: `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJk3e/7T3BMd7HlZT2/1yJ/aYW6/PINzTzatgnyqDa5Z
-----END PRIVATE KEY-----
`,
}

t.test('the certificate of the admin API opens it to other machines', async (t) => {
  const { certificate, privateKey } = selfSigned
  files['/etc/slotgate/cert.pem'] = { content: certificate, mode: 0o100644 }
  files['/etc/slotgate/key.pem'] = { content: privateKey, mode: 0o100600 }
  const other = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  files['/etc/slotgate/other.pem'] = { content: other, mode: 0o100600 }
  const text = `${SERVICE}admin: { listen: ":8081", tls: { cert: cert.pem, key: key.pem } }\n`
  t.strictSame(configOf(text).admin.tls, { cert: certificate, key: privateKey })
  t.strictSame(problemsOf(text.replace(' key.pem', ' other.pem')), [
    '5:55 admin.tls.key: is not the private key of the certificate in admin.tls.cert',
  ])
})

const words = [
  ...[
    'listen',
    'admin',
    'services',
    'app',
    'slots',
    'blue',
    'public',
    'keys',
    'relay',
    'schema',
    'off',
    '30s',
  ],
  ...[
    ': ',
    ':\n',
    '\n  ',
    '\n',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '"',
    '&a ',
    '*a',
    '<<',
    '!!x ',
    '${',
    '}',
    '#',
    '\t',
    '|',
    '~',
  ],
]

t.test('no text makes the check throw', async (t) => {
  const fragments = fc.array(fc.constantFrom(...words), { maxLength: 60 }).map((parts) => parts.join(''))
  const check = (text: string) => {
    const { config, problems } = checkConfig(text, { file: 'x.yaml', env: {} })
    return (config === undefined) === problems.length > 0
  }
  fc.assert(fc.property(fc.string(), check), { numRuns: 300 })
  fc.assert(fc.property(fragments, check), { numRuns: 700 })
  fc.assert(
    fc.property(fragments, (more) => check(`${SERVICE}${more}`)),
    { numRuns: 700 },
  )
  t.pass('every text was either taken or refused with a reason')
})

t.test('a service may have limits, error pages and previews of its own', async (t) => {
  const readFile = (path: string) => ({ content: `page ${path}`, mode: 0o644 })
  const { config } = checkConfig(
    `${SERVICE}    path_prefix: /app
    strip_prefix: on
    limits: { body_limit: off, upstream_timeout: 5s, open_requests: 20 }
    error_pages: { 503: busy.html, upstream_refused: /pages/down.html }
    preview: { hosts: [Preview.test] }
`,
    { file: '/etc/slotgate/proxy.config.yaml', env, readFile },
  )
  t.match(config?.services[0], {
    stripPrefix: true,
    limits: { bodyLimitBytes: 0, upstreamTimeoutMs: 5_000, openRequests: 20 },
    errorPages: { 503: 'page /etc/slotgate/busy.html', upstream_refused: 'page /pages/down.html' },
    preview: { hosts: ['preview.test'] },
  })
})

t.test('error pages that would never be shown, or cost too much, are problems', async (t) => {
  const of = (pages: string, content = 'page') =>
    checkConfig(`${SERVICE}    error_pages: { ${pages} }\n`, {
      file: 'x.yaml',
      env,
      readFile: () => ({ content, mode: 0o644 }),
    }).problems.map(line)
  t.match(of('200: a.html, schema_dirty: a.html, constructor: a.html, worker_died: a.html'), [
    /error_pages\.200: is no status from 400 to 599/,
    /error_pages\.schema_dirty: is no status/,
    /error_pages\.constructor: is no status/,
    /error_pages\.worker_died: is no status/,
  ])
  t.same(of('503: a.html', 'x'.repeat(65_536)), [])
  t.match(of('503: a.html', 'ä'.repeat(32_769)), [/has 65538 bytes; 65536 are the limit/])
  t.match(problemsOf(`${SERVICE}    error_pages: { 503: none.html }\n`), [/error_pages\.503: cannot be read/])
})

t.test('a prefix that is not there cannot be taken off', async (t) => {
  t.match(problemsOf(`${SERVICE}    strip_prefix: on\n`), [
    /strip_prefix: is on, and there is no path_prefix/,
  ])
})

t.test('a host of a preview is claimed like any other', async (t) => {
  t.match(problemsOf(`${SERVICE}    hosts: [a.test]\n    preview: { hosts: [a.test] }\n`), [
    /preview\.hosts: names a\.test twice/,
  ])
})
