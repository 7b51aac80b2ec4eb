// What the pages of the docs find when their first command is typed: a slotgate with something live, an app, a repository.
import { once } from 'node:events'
import { symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import type { Test } from 'tap'
import { generateKey, writeKeyFile } from '../../src/cli/keyfile.ts'
import { createTestDatabase } from './postgres.ts'
import { Repository } from './repository.ts'
import { APP, World } from './world.ts'

export interface Scene {
  env?: NodeJS.ProcessEnv
  /** What the page calls something, and what it is here. */
  here?: Record<string, string>
  /** Typed before the page. */
  first?: string
}

/** @param folder where the page is typed */
export type MakeScene = (t: Test, folder: string) => Promise<Scene>

const EXAMPLE = join(import.meta.dirname, '..', '..', 'example', 'releases', 'r1', 'app.ts')
const FITS = { min: 41, max: 43 }

/** A slotgate that runs, with its config and its state where somebody would look for them, and a key in `docs.key`. */
async function startWorld(t: Test, folder: string, world: World): Promise<NodeJS.ProcessEnv> {
  const { content, publicKey } = generateKey('ed25519')
  writeKeyFile(join(folder, 'docs.key'), content)
  world.keys.push(
    `{ id: docs, algorithm: ed25519, public_key: "${publicKey}", allow: [read, stage, promote, rollback, traffic] }`,
  )
  await world.start(t)
  await symlink(await world.writeConfig(), join(folder, 'proxy.config.yaml'))
  await symlink(world.stateDir, join(folder, '.slotgate'))
  return { SLOTGATE_ADMIN: world.adminUrl, SLOTGATE_KEY: join(folder, 'docs.key') }
}

/** r42 is live. @param releases that could follow */
const live =
  (releases: readonly string[] = [], here: Record<string, string> = {}): MakeScene =>
  async (t, folder) => {
    const world = await World.create(t)
    for (const release of ['r42', ...releases]) await world.addRelease(release, FITS)
    const env = await startWorld(t, folder, world)
    await world.deploy('r42')
    return { env, here }
  }

/** A service from git: the first commit is live, the second is on main. */
async function repositoryIn(
  world: World,
): Promise<{ repository: Repository; service: string[]; first: string }> {
  const repository = await Repository.create(join(world.folder, 'repo'))
  const first = await repository.commit(FITS)
  await repository.commit(FITS)
  const service = [
    '  shop:',
    `    releases: { driver: git, repo: repo, command: ${JSON.stringify([process.execPath, APP])}, env: { WORLD: ${world.folder} } }`,
    `    health: ${world.health}`,
  ]
  return { repository, service, first }
}

/** A commit is on main, and an older one, which the page names by a part of its hash. */
const commits: MakeScene = async (t, folder) => {
  const world = await World.create(t)
  const { repository, service, first } = await repositoryIn(world)
  await repository.git('tag', 'v1.4.2')
  world.services = service
  return { env: await startWorld(t, folder, world), here: { '3f2a9c1': first.slice(0, 7) } }
}

/** The example's first release as `./app`, started before the page is typed or by the page itself. */
const app =
  (first: string): MakeScene =>
  async (t, folder) => {
    const { url } = await createTestDatabase(t)
    const lines = ['#!/bin/sh', `export DATABASE_URL='${url}'`, `exec '${process.execPath}' '${EXAMPLE}'`, '']
    await writeFile(join(folder, 'app'), lines.join('\n'), { mode: 0o755 })
    return { first }
  }

const STARTED = [
  'PORT=3001 INTERNAL_PORT=3901 HOST=127.0.0.1 ./app > app.log 2>&1 &',
  'until curl --fail http://127.0.0.1:3901/healthz 2> waiting; do sleep 0.05; done',
].join('\n')

/** Two services: one whose slots somebody else runs, and one from git; and the app of the last step. */
const adopting: MakeScene = async (t, folder) => {
  const world = await World.create(t)
  const { service, first } = await repositoryIn(world)
  const [blue, green] = await Promise.all([listening(t), listening(t)])
  world.services = [
    '  proxied:',
    '    hosts: [proxied.localhost]',
    '    schema: off',
    '    slots:',
    `      blue: { public: ${blue}, internal: ${blue} }`,
    `      green: { public: ${green}, internal: ${green} }`,
    ...service,
  ]
  const env = await startWorld(t, folder, world)
  await world.call('POST', '/v1/services/shop/deploy', { release: first })
  const { first: typed = '' } = await app(':')(t, folder)
  const proxied = ['slotgate stage v1', 'slotgate promote', 'slotgate status']
  const fromGit = ['slotgate deploy main', 'slotgate rollback']
  const told = [...proxied.map((call) => [call, 'proxied']), ...fromGit.map((call) => [call, 'shop'])]
  return {
    env,
    first: typed,
    here: Object.fromEntries(told.map(([call = '', name]) => [call, `${call} --service ${name}`])),
  }
}

/** An app that somebody else runs. @returns its address, in quotes */
async function listening(t: Test): Promise<string> {
  const server = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  return `"http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}"`
}

/** A page without one begins in an empty folder. */
export const SCENES: Readonly<Record<string, MakeScene>> = {
  'docs/adopting.md': adopting,
  'docs/cli.md': live(['r44'], { '--if-generation 17': '--if-generation 2' }),
  'docs/contract.md': app(STARTED),
  'docs/operations.md': live(),
  'docs/recipes/agents.md': live(),
  'docs/releases.md': commits,
  'docs/running.md': live(['2026-11-23.1']),
}
