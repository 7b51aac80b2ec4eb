// Installs the packages of the lockfile, one process at a time, and leaves a stamp when all of them are there.
// Started by scripts/run, under whatever Node the system has (20 or newer), with nothing installed yet.
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const lock = '.installing'
const lockfile = 'package-lock.json'
const pinnedNode = 'node_modules/node/bin/node'
const stamp = process.argv[2]

/** Two commands started together in a fresh clone must not both run `npm ci`: the second waits, then finds the stamp. */
async function main() {
  await takeLock()
  try {
    if (isInstalled()) return
    const begunAt = Date.now()
    console.error('Installing the packages of the lockfile (only the first time) …')
    await install()
    copyFileSync(lockfile, stamp)
    console.error(`Installed in ${Math.round((Date.now() - begunAt) / 1000)} s.`)
  } finally {
    rmSync(lock, { force: true })
  }
}

function isInstalled() {
  return existsSync(stamp) && existsSync(pinnedNode) && readFileSync(stamp).equals(readFileSync(lockfile))
}

async function takeLock() {
  for (let saidSo = false; ; await delay(200)) {
    try {
      return writeFileSync(lock, String(process.pid), { flag: 'wx' })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const holder = Number(read(lock))
    if (holder > 0 && !isAlive(holder)) rmSync(lock, { force: true })
    else if (!saidSo) {
      console.error(`Waiting for the install that process ${holder} has begun (its lock: ${lock}) …`)
      saidSo = true
    }
  }
}

/** `''` when the file has just gone: then the lock is free. */
function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

async function install() {
  // NODE_ENV=production or `omit` in somebody's npm config would leave out the pinned Node and the platform's binaries.
  await npm(
    'ci',
    '--include=dev',
    '--include=optional',
    '--no-audit',
    '--no-fund',
    '--no-update-notifier',
    '--loglevel=error',
  )
  if (existsSync(pinnedNode)) return
  // npm was told to run no install scripts, or refuses to by itself. Two packages cannot do without theirs.
  console.error('npm ran no install scripts; running those of the pinned Node and of PostgreSQL …')
  await npm('rebuild', '--ignore-scripts=false', '--loglevel=error', ...packagesWithScripts())
  if (!existsSync(pinnedNode)) throw new Failure(`${pinnedNode} is missing after the install.`)
}

/** The entries of `allowScripts` that are installed on this platform. */
function packagesWithScripts() {
  const { allowScripts } = JSON.parse(readFileSync('package.json', 'utf8'))
  return Object.keys(allowScripts).filter((name) => existsSync(join('node_modules', name)))
}

async function npm(...args) {
  const cache = temporaryCache()
  if (cache) args.push(`--cache=${cache}`)
  try {
    const ended = await run(args)
    if (ended !== 0) throw new Failure(`npm ${args[0]} ended with ${ended}.`)
  } finally {
    if (cache) rmSync(cache, { recursive: true, force: true })
  }
}

/** npm cannot work without a cache; where its own is not writable (no home directory, say), one that is thrown away will do. */
function temporaryCache() {
  try {
    const usual = process.env.npm_config_cache ?? join(homedir(), '.npm')
    mkdirSync(usual, { recursive: true })
    accessSync(usual, constants.W_OK)
    return undefined
  } catch {
    return mkdtempSync(join(tmpdir(), 'slotgate-npm-'))
  }
}

/** Resolves to npm's exit code, or the signal that ended it. */
function run(args) {
  const [command, ...first] = npmCommand()
  // npm's own stdout ("added 290 packages") is not what was asked for; its progress and errors go to stderr.
  // A group of its own, since npm takes half a minute to undo its work when interrupted, and the next install undoes it anyhow.
  const child = spawn(command, [...first, ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  })
  return new Promise((resolve, reject) => {
    const interrupt = (reason) => {
      clearInterval(watch)
      if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL')
      reject(new Failure(`Interrupted by ${reason}.`))
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, interrupt)
    // A shell that is told to end does so without telling us: an install nobody waits for any more ends, too.
    const parent = process.ppid
    const watch = setInterval(() => process.ppid !== parent && interrupt('its caller'), 500)
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearInterval(watch)
      resolve(code ?? signal)
    })
  })
}

/** The npm that runs this, if one does; else the one on the path. */
function npmCommand() {
  const running = process.env.npm_execpath ?? ''
  return basename(running) === 'npm-cli.js' ? [process.execPath, running] : ['npm']
}

class Failure extends Error {}

main().catch((error) => {
  const reason = error instanceof Failure ? error.message : error.stack
  console.error(`
The packages could not be installed. ${reason}
If npm says why above (network, proxy, disk, who owns node_modules), mend that; then type the same command again:
it starts over. By hand: rm -rf node_modules .installing, then npm ci.`)
  process.exitCode = 1
})
