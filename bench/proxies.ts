// The proxies that are measured: which version there is, what its config says, how it is started.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Child, PATH, startChild } from './children.ts'
import { openFilesLimit } from './machine.ts'
import { startSlotgate } from './slotgate.ts'

/** Where the app listens: two slots, each with a public side and an internal one. */
export interface BackendPorts {
  port: number
  internalPort: number
  otherPort: number
  otherInternalPort: number
}

/** What a proxy is started with. */
export interface Place {
  /** An empty folder of its own. */
  folder: string
  /** Where it is to listen, on 127.0.0.1. */
  port: number
  backend: BackendPorts
  /** Which cores it may use, as taskset writes them. */
  cores: string
  /** For slotgate: how many threads serve. */
  threads: number
}

export interface ProxySetup {
  name: string
  /** @returns null where it is not installed */
  version(): string | null
  /** What installs it. */
  from: string
  /** Whether it is another one with an access log, measured in few works. */
  isVariant: boolean
  /** What its setup is, in one sentence. */
  setup: string
  /** Resolves when it was started; it may not answer yet. */
  start(place: Place): Child | Promise<Child>
}

const BENCH = import.meta.dirname
/** Enough for the idle ones, and as many again to the app. */
const MOST_CONNECTIONS = 12_000

export const PROXIES: readonly ProxySetup[] = [
  nginx('nginx', 'off'),
  {
    name: 'haproxy',
    version: () => printed('haproxy', ['-v'], /version (\S+)/),
    from: 'apt-get install haproxy',
    isVariant: false,
    setup: 'one thread, its defaults otherwise, no log',
    start: (place) =>
      startWithFile('haproxy', ['-db', '-f'], { name: 'haproxy.cfg', text: haproxyConfig(place), place }),
  },
  {
    name: 'caddy',
    version: () => printed('caddy', ['version'], /v?(\d\S+)/),
    from: 'apt-get install caddy',
    isVariant: false,
    setup: 'its defaults, without TLS, admin API and log',
    start: (place) =>
      startWithFile('caddy', ['run', '--adapter', 'caddyfile', '--config'], {
        name: 'Caddyfile',
        text: caddyConfig(place),
        place,
      }),
  },
  onNode('http-proxy', 'node:http with a keep-alive agent'),
  onNode('@fastify/http-proxy', 'its defaults: fastify in front, undici behind', ['fastify', 'undici']),
  onNode('httpxy', 'node:http with a keep-alive agent'),
  slotgate('slotgate', false),
  nginx('nginx+log', 'access.log'),
  slotgate('slotgate+log', true),
]

function nginx(name: string, accessLog: string): ProxySetup {
  return {
    name,
    version: () => printed('nginx', ['-v'], /nginx\/(\S+)/),
    from: 'apt-get install nginx',
    isVariant: accessLog !== 'off',
    setup:
      accessLog === 'off'
        ? 'its defaults with one worker, HTTP/1.1 and kept connections to the app, no access log'
        : 'as nginx, with an access log in a file',
    start: (place) =>
      startWithFile('nginx', ['-p', place.folder, '-e', 'stderr', '-c'], {
        name: 'nginx.conf',
        text: nginxConfig(place, accessLog),
        place,
      }),
  }
}

function slotgate(name: string, accessLog: boolean): ProxySetup {
  return {
    name,
    version: () => JSON.parse(readFileSync(join(BENCH, '../package.json'), 'utf8')).version,
    from: '',
    isVariant: accessLog,
    setup: accessLog
      ? 'as slotgate, with its access log in a file'
      : 'one thread, slots, `schema: off`, no access log',
    start: (place) => startSlotgate(place, { accessLog }),
  }
}

/** @param on packages whose versions count as much as its own */
function onNode(name: string, setup: string, on: readonly string[] = []): ProxySetup {
  const file = join(BENCH, 'peers', `${name.replace('@', '').replace('/', '-')}.mjs`)
  return {
    name,
    version: () => versionsOf(name, on),
    from: 'npm ci in bench/',
    isVariant: false,
    setup,
    start: ({ folder, cores, port, backend }) =>
      startChild(process.execPath, [file, String(port), String(backend.port)], {
        cores,
        cwd: folder,
        logFile: join(folder, 'output.log'),
        env: { NODE_ENV: 'production' },
      }),
  }
}

interface FileToStart {
  name: string
  text: string
  place: Place
}

/** Writes a config and starts what reads it, with the file as the last argument. */
function startWithFile(command: string, args: readonly string[], { name, text, place }: FileToStart): Child {
  const { folder, cores } = place
  const file = join(folder, name)
  writeFileSync(file, text)
  mkdirSync(join(folder, 'temp'), { recursive: true })
  // Caddy keeps files in the home of its user otherwise.
  const env = { XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  return startChild(command, [...args, file], {
    cores,
    cwd: folder,
    logFile: join(folder, 'output.log'),
    env,
  })
}

function nginxConfig({ folder, port, backend, threads }: Place, accessLog: string): string {
  const openFiles = Math.min(MOST_CONNECTIONS, openFilesLimit())
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `
daemon off;
worker_processes ${threads};
worker_rlimit_nofile ${openFiles};
pid ${folder}/nginx.pid;
error_log stderr error;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections ${openFiles}; }
http {
  access_log ${accessLog};
  ${temp.map((name) => `${name}_temp_path ${folder}/temp/${name};`).join('\n  ')}
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream app {
    server 127.0.0.1:${backend.port};
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096${threads > 1 ? ' reuseport' : ''};
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
    }
  }
}
`
}

function haproxyConfig({ port, backend }: Place): string {
  return `
global
  nbthread 1
  maxconn ${Math.min(MOST_CONNECTIONS, openFilesLimit()) / 2 - 100}
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout tunnel 1h
frontend door
  bind 127.0.0.1:${port} backlog 4096
  default_backend app
backend app
  server app 127.0.0.1:${backend.port}
`
}

function caddyConfig({ port, backend }: Place): string {
  return `
{
  admin off
  auto_https off
}
http://:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${backend.port}
}
`
}

/** @returns what the pattern finds in what a command prints; null where there is no such command */
function printed(command: string, args: readonly string[], pattern: RegExp): string | null {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, PATH } })
  return pattern.exec(`${stdout}${stderr}`)?.[1] ?? null
}

/** @returns the version, and in parentheses those of what it stands on; null where it is not installed */
function versionsOf(name: string, on: readonly string[]): string | null {
  const beneath = on.map((other) => `${other} ${installedVersion(other)}`).join(', ')
  const version = installedVersion(name)
  return version && beneath ? `${version} (${beneath})` : version
}

function installedVersion(name: string): string | null {
  try {
    return JSON.parse(readFileSync(join(BENCH, 'node_modules', name, 'package.json'), 'utf8')).version
  } catch {
    return null
  }
}
