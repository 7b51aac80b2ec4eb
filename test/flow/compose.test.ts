// `docker compose up`, on a real engine and from the very files that people use: the images are built, the example is
// played through from outside, and slotgate ends as it should. Only what the images begin with is made here.
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { freePorts } from '../../src/slots/free-ports.ts'
import { importBaseImages } from '../support/base-images.ts'
import { startEngine } from '../support/engine.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '..', '..')
const REFUSED = 3

/** @returns where an engine listens that may have images of these names; or why there is none */
async function engineOf(t: Test): Promise<string> {
  if (process.env.DOCKER_HOST !== undefined)
    return 'it brings in images by well-known names, and the engine at DOCKER_HOST may have others'
  const { stdout: rules } = await run('iptables', ['-S', 'FORWARD']).catch(() => ({ stdout: '' }))
  if (rules.includes('-P FORWARD DROP'))
    return 'the firewall of this machine lets no container speak to another'
  const isThere = await run('docker-compose', ['--version']).then(
    () => true,
    () => false,
  )
  return isThere ? startEngine(t) : 'there is no docker-compose'
}

async function waitFor(look: () => Promise<boolean>, what: string): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await pause(100))
    if (await look()) return
  throw new Error(`${what}: not within 60 s`)
}

interface Ran {
  code: number
  said: string
}

const tried = (running: Promise<{ stdout: string; stderr: string }>): Promise<Ran> =>
  running.then(
    ({ stdout, stderr }) => ({ code: 0, said: stdout + stderr }),
    ({ code, stdout, stderr }) => ({ code, said: stdout + stderr }),
  )

const host = await engineOf(t)
const skip = host.startsWith('unix://') ? false : `no engine can run here: ${host}`

t.test('the example in two slots, from `docker compose up` to the end of slotgate', { skip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-compose-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [port] = await freePorts()
  const env = { ...process.env, DOCKER_HOST: host, COMPOSE_DOCKER_CLI_BUILD: '0', PORT: String(port) }
  const compose = (args: string[], more: NodeJS.ProcessEnv = {}) => {
    const whole = ['--project-name', 'slotgate-test', ...args]
    const options = { cwd: root, env: { ...env, ...more } }
    return tried(run('docker-compose', whole, options))
  }
  const up = async (more: NodeJS.ProcessEnv, ...args: string[]) => {
    const { code, said } = await compose(['up', '--detach', ...args], more)
    t.equal(code, 0, said)
  }
  const docker = async (...args: string[]) => (await run('docker', args, { env })).stdout.trim()
  /** What `docker ps` says of the container of a service. */
  const shown = (service: string, field: string) =>
    docker(
      ...['ps', '--all', '--filter', `label=com.docker.compose.service=${service}`],
      ...['--format', `{{.${field}}}`],
    )
  const inside = async (service: string, ...command: string[]) =>
    tried(run('docker', ['exec', await shown(service, 'ID'), ...command], { env }))
  const slotgate = (...args: string[]) => inside('slotgate', 'slotgate', ...args)
  const migrate = async (service: string) => {
    const call =
      "fetch('http://127.0.0.1:3900/migrations/run', { method: 'POST' }).then((it) => process.exit(it.ok ? 0 : 1))"
    t.equal((await inside(service, 'node', '--eval', call)).code, 0)
  }
  const live = async () => {
    const { body } = await request(`http://127.0.0.1:${port}/`, { reset: true }).catch(() => ({ body: null }))
    return />(r\d) in /.exec((await body?.text()) ?? '')?.[1]
  }

  const names = { node: 'node:26.10.0-bookworm-slim', postgres: 'postgres:18-bookworm' }
  await importBaseImages({ host, folder, root, ...names })
  // The engine is this test's own, and so is all that it has.
  t.teardown(async () => {
    const containers = (await docker('ps', '--all', '--quiet')).split('\n').filter(Boolean)
    if (containers.length > 0) await docker('rm', '--force', '--volumes', ...containers)
    await docker('network', 'prune', '--force')
  })
  await up({}, '--build')
  await waitFor(async () => (await live()) === 'r1', 'r1 is live, once it is migrated')

  const tooEarly = await slotgate('deploy', 'r2')
  t.match(tooEarly, { code: REFUSED, said: /schema_behind_code/ })
  t.equal(await live(), 'r1')
  await migrate('green')
  t.match(await slotgate('promote'), { code: 0 })
  t.equal(await live(), 'r2')

  await up({ BLUE: 'r3' }, 'blue')
  t.match(await slotgate('deploy', 'r3'), { code: 0 })
  await migrate('blue')
  t.match(await slotgate('rollback'), { code: REFUSED, said: /schema_ahead_of_code/ })
  t.equal(await live(), 'r3')

  t.match(await inside('slotgate', 'id', '-u'), { said: /^1000\b/ })
  t.match(await inside('slotgate', 'sh', '-c', ': > /anywhere'), { said: /Read-only file system/ })
  t.match(await inside('slotgate', 'git', '--version'), { code: 0 })
  await waitFor(async () => /\(healthy\)/.test(await shown('slotgate', 'Status')), 'it is healthy')
  t.match(await compose(['stop', 'slotgate']), { code: 0 })
  t.match(await shown('slotgate', 'Status'), /^Exited \(0\)/, 'by itself, on SIGTERM')
  t.match(await docker('logs', await shown('slotgate', 'ID')), /slotgate has stopped/)
})
