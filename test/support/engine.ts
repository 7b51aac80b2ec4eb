// An engine that runs containers for one test file, with an image of nothing but Node: the engine that DOCKER_HOST names, or
// else a `dockerd` of its own, in a folder of its own, which leaves the system's firewall alone.
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
import { type Engine, engineAt } from '../../src/slots/drivers/engine.ts'

const run = promisify(execFile)
const STARTS_WITHIN_MS = 30_000

export interface TestEngine extends Engine {
  /** As the config and DOCKER_HOST name it. */
  host: string
  /** Runs Node in the folder /app. */
  image: string
  /** A network whose containers' ports can be published. */
  network: string
}

/** @returns the engine, which ends with the test file; or why none can run here */
export async function openEngine(t: Pick<Test, 'teardown'>): Promise<TestEngine | string> {
  const { DOCKER_HOST: given } = process.env
  if (given !== undefined && !given.startsWith('unix://'))
    return `DOCKER_HOST is ${given}, and no local socket`
  const host = given ?? (await startEngine(t))
  if (!host.startsWith('unix://')) return host
  const socket = host.slice('unix://'.length)
  const engine = engineAt({ kind: 'unix', path: socket })
  const name = `slotgate-test-${randomUUID().slice(0, 8)}`
  await engine.ask({ method: 'POST', path: '/networks/create', body: { Name: name } })
  await importImage(socket, `${name}:node`)
  t.teardown(async () => {
    await engine.ask({ method: 'DELETE', path: `/networks/${name}` })
    await engine.ask({ method: 'DELETE', path: `/images/${name}:node?force=1` })
  })
  return { ...engine, host, image: `${name}:node`, network: name }
}

/** @returns where it listens, or why it does not */
async function startEngine(t: Pick<Test, 'teardown'>): Promise<string> {
  if (process.getuid?.() !== 0)
    return 'dockerd has to be started by root, and DOCKER_HOST names no other engine'
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-engine-'))
  t.teardown(() => removeFolder(folder))
  const host = `unix://${folder}/engine.sock`
  const args = ['--host', host, '--data-root', `${folder}/data`, '--exec-root', `${folder}/run`]
  // Without a bridge of its own it does not meet the one of an engine that is there already.
  const quiet = ['--pidfile', `${folder}/pid`, '--bridge=none', '--iptables=false', '--log-level=error']
  const log = createWriteStream(`${folder}/log`)
  const child = spawn('dockerd', [...args, ...quiet], { stdio: ['ignore', 'ignore', 'pipe'] })
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
  return Promise.race([answers(host), ended, late])
}

async function answers(host: string): Promise<string> {
  const engine = engineAt({ kind: 'unix', path: host.slice('unix://'.length) })
  for (;;) {
    const isUp = await engine.ask({ method: 'GET', path: '/version' }).then(
      () => true,
      () => false,
    )
    if (isUp) return host
    await pause(50, undefined, { ref: false })
  }
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

/** Brings in an image made of this very Node and the libraries it needs: no registry has to be reached. */
async function importImage(socket: string, image: string): Promise<void> {
  const { stdout } = await run('ldd', [process.execPath])
  const libraries = [...stdout.matchAll(/\/\S+/g)].map(([path]) => path)
  const rename = `s,^${process.execPath}$,/usr/bin/node,`
  const tar = spawn('tar', ['-chP', '--transform', rename, process.execPath, ...libraries])
  const [repository, tag] = image.split(':')
  const query = new URLSearchParams({ fromSrc: '-', repo: `${repository}`, tag: `${tag}` })
  for (const change of ['WORKDIR /app', 'ENTRYPOINT ["/usr/bin/node"]']) query.append('changes', change)
  const client = new Client('http://localhost', { connect: { socketPath: socket }, headersTimeout: 60_000 })
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
