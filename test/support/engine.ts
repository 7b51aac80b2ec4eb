// An engine that runs containers for one test file, with an image of nothing but what Node needs: the engine that DOCKER_HOST
// names, or else a `dockerd` of its own, in a folder of its own, which leaves the system's firewall alone.
import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Test } from 'tap'
import { Client } from 'undici'
import { messageOf } from '../../src/errors.ts'
import { type Engine, engineAt } from '../../src/slots/drivers/engine.ts'

const run = promisify(execFile)
const STARTS_WITHIN_MS = 30_000

export interface TestEngine extends Engine {
  /** As the config and DOCKER_HOST name it. */
  host: string
  /** Runs Node in the folder /app, once Node is mounted. */
  image: string
  /** The volume with Node: so large that copying it into an image takes longer than all of its containers. */
  node: string
  /** A network whose containers' ports can be published. */
  network: string
}

/** @returns the engine, which ends with the test file; or why none can run here */
export async function openEngine(t: Pick<Test, 'teardown'>): Promise<TestEngine | string> {
  const host = await findEngine(t)
  if (!host.startsWith('unix://')) return host
  const engine = engineOf(host)
  const name = `slotgate-test-${randomUUID().slice(0, 8)}`
  const image = `${name}:node`
  t.teardown(() => removeAll(engine, name))
  await engine.ask({ method: 'POST', path: '/networks/create', body: { Name: name } })
  const [program, ...libraries] = await filesOf(process.execPath)
  const changes = ['WORKDIR /app', 'ENTRYPOINT ["/usr/bin/node"]']
  await importImage(host, { image, files: ['-h', ...libraries], changes })
  return { ...engine, host, image, node: `${program}:/usr/bin/node:ro`, network: name }
}

const engineOf = (host: string): Engine => engineAt({ kind: 'unix', path: host.slice('unix://'.length) })

/** @returns where an engine listens, as `unix://…`; or why there is none */
async function findEngine(t: Pick<Test, 'teardown'>): Promise<string> {
  const { DOCKER_HOST: given } = process.env
  if (given === undefined) return startEngine(t)
  if (!given.startsWith('unix://')) return `DOCKER_HOST is ${given}, and no local socket`
  const problem = await engineOf(given)
    .ask({ method: 'GET', path: '/version' })
    .then(() => null, messageOf)
  return problem ?? given
}

/** Leaves the engine, and the bridges of this machine, as they were, also after a test that failed. */
async function removeAll(engine: Engine, name: string): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ ancestor: [`${name}:node`] }))
  const path = `/containers/json?all=1&filters=${filters}`
  const containers = (await engine.ask({ method: 'GET', path })) as { Id: string }[]
  for (const { Id } of containers)
    await engine.ask({ method: 'DELETE', path: `/containers/${Id}?force=1&v=1` })
  await engine.ask({ method: 'DELETE', path: `/networks/${name}` })
  await engine.ask({ method: 'DELETE', path: `/images/${name}:node?force=1` })
}

/** @returns where it listens, or why it does not */
export async function startEngine(t: Pick<Test, 'teardown'>): Promise<string> {
  if (process.getuid?.() !== 0)
    return 'dockerd has to be started by root, and DOCKER_HOST names no other engine'
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-engine-'))
  t.teardown(() => removeFolder(folder))
  const host = `unix://${folder}/engine.sock`
  const args = ['--host', host, '--data-root', `${folder}/data`, '--exec-root', `${folder}/run`]
  // Without a bridge of its own it does not meet the one of an engine that is there already.
  const quiet = ['--pidfile', `${folder}/pid`, '--bridge=none', '--iptables=false', '--log-level=error']
  const log = createWriteStream(`${folder}/log`)
  // What it starts for each container is gone before collecting its garbage is worth the time that it takes.
  const env = { ...process.env, GOGC: 'off', GOMEMLIMIT: '512MiB' }
  const child = spawn('dockerd', [...args, ...quiet], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  child.stderr.pipe(log)
  const ended = new Promise<string>((resolve) => {
    child.once('error', () => resolve('there is no dockerd'))
    child.once('exit', () => resolve(lastLineOf(`${folder}/log`)))
  })
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const late = pause(STARTS_WITHIN_MS, `dockerd was not up within ${STARTS_WITHIN_MS} ms`, { ref: false })
  const over = new AbortController()
  return Promise.race([answers(host, over.signal), ended, late]).finally(() => over.abort())
}

async function answers(host: string, over: AbortSignal): Promise<string> {
  const engine = engineOf(host)
  while (!over.aborted) {
    const isUp = await engine.ask({ method: 'GET', path: '/version' }).then(
      () => true,
      () => false,
    )
    if (isUp) return host
    await pause(50)
  }
  return ''
}

const lastLineOf = async (file: string): Promise<string> =>
  `dockerd ended: ${(await readFile(file, 'utf8').catch(() => '')).trim().split('\n').at(-1)}`

/** An engine leaves the network of the machine mounted in its folder. */
async function removeFolder(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '')
  for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse())
    await run('umount', [mount])
  await rm(folder, { recursive: true, force: true })
}

/** The program and the libraries it needs, by their paths on this machine. */
export async function filesOf(program: string): Promise<string[]> {
  const { stdout } = await run('ldd', [program]).catch(() => ({ stdout: '' }))
  return [program, ...[...stdout.matchAll(/\/\S+/g)].map(([path]) => path)]
}

export interface Import {
  /** With its tag. */
  image: string
  /** What `tar` is told to put into the image. */
  files: string[]
  /** As in a Dockerfile. */
  changes: string[]
}

/** Brings in an image from files of this machine: no registry has to be reached. */
export async function importImage(host: string, { image, files, changes }: Import): Promise<void> {
  const tar = spawn('tar', ['-cP', ...files], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [, repo = '', tag = ''] = /^(.+):([^:]+)$/.exec(image) ?? []
  const query = new URLSearchParams([
    ['fromSrc', '-'],
    ['repo', repo],
    ['tag', tag],
  ])
  for (const change of changes) query.append('changes', change)
  const connect = { socketPath: host.slice('unix://'.length) }
  const client = new Client('http://localhost', { connect, headersTimeout: 60_000 })
  const { statusCode, body } = await client.request({
    method: 'POST',
    path: `/v1.41/images/create?${query}`,
    headers: { 'content-type': 'application/x-tar' },
    body: tar.stdout,
  })
  const said = await body.text()
  await client.close()
  if (statusCode !== 200 || said.includes('"error"')) throw new Error(`the image was not taken: ${said}`)
}
