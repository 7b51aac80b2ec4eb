// `slotgate init` in real repositories: what it finds, what it writes, and that what is there already stays as it is.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { checkConfig } from '../../src/config/check.ts'
import type { Config } from '../../src/config/types.ts'
import { Repository } from '../support/repository.ts'
import { newFolder, run } from './terminal.ts'

const BIN = join(import.meta.dirname, '..', '..', 'src', 'bin.ts')
const APP = join(import.meta.dirname, '..', 'support', 'app.ts')

async function createRepository(t: Test, files: Record<string, string> = {}): Promise<Repository> {
  const repository = await Repository.create(join(newFolder(t), 'My Shop'))
  for (const [path, content] of Object.entries(files)) await repository.write(path, content)
  return repository
}

const init = ({ folder }: Repository, ...more: string[]) =>
  run(['init', '--config', join(folder, 'proxy.config.yaml'), ...more])

const textOf = ({ folder }: Repository, file: string): string => readFileSync(join(folder, file), 'utf8')

/** The config that was written, which has no problems. */
function configOf(t: Test, repository: Repository): Config {
  const file = join(repository.folder, 'proxy.config.yaml')
  const { config, problems } = checkConfig(readFileSync(file, 'utf8'), { file, env: {} })
  t.same(problems, [])
  if (!config) throw new Error('the config has problems')
  return config
}

const PACKAGE = '{ "name": "@acme/shop", "scripts": { "start": "node server.js" } }'

const FOUND: [what: string, files: Record<string, string>, setup: string[], command: string[]][] = [
  ['npm', { 'package-lock.json': '{}', 'package.json': PACKAGE }, ['npm', 'ci'], ['npm', 'start']],
  [
    'npm without a start script',
    { 'package-lock.json': '{}', 'package.json': '{ "main": "src/app.js" }', 'src/app.js': '' },
    ['npm', 'ci'],
    ['node', 'src/app.js'],
  ],
  [
    'bun',
    { 'bun.lock': '', 'package.json': PACKAGE },
    ['bun', 'install', '--frozen-lockfile'],
    ['bun', 'run', 'start'],
  ],
  [
    'uv',
    { 'uv.lock': '', 'app.py': '' },
    ['uv', 'sync', '--frozen'],
    ['uv', 'run', '--no-sync', 'python', 'app.py'],
  ],
  [
    'Bundler',
    { 'Gemfile.lock': '', 'config/puma.rb': '' },
    ['bundle', 'install'],
    ['bundle', 'exec', 'puma', '-C', 'config/puma.rb'],
  ],
  ['Go', { 'go.mod': '', 'main.go': '' }, ['go', 'build', '-o', 'bin/app', '.'], ['bin/app']],
  [
    'Go with its program in cmd',
    { 'go.mod': '', 'cmd/shop/main.go': '' },
    ['go', 'build', '-o', 'bin/app', './cmd/shop'],
    ['bin/app'],
  ],
  [
    'Bundler and npm',
    { 'Gemfile.lock': '', 'config/puma.rb': '', 'package-lock.json': '{}' },
    ['sh', '-c', 'bundle install && npm ci'],
    ['bundle', 'exec', 'puma', '-C', 'config/puma.rb'],
  ],
]

for (const [what, files, setup, command] of FOUND) {
  t.test(`a repository with ${what} gets a config that has no problems`, async (t) => {
    const repository = await createRepository(t, files)
    const { code, stdout, stderr } = await init(repository)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' })
    t.match(stdout, `Found ${what.split(' ')[0]} (`)
    const { services, stateDir } = configOf(t, repository)
    const releases = { driver: 'git', repo: repository.folder, keep: 5, setup: { command: setup }, command }
    t.match(services, [{ releases }])
    t.equal(stateDir, join(repository.folder, '.slotgate'))
    t.notMatch(textOf(repository, 'proxy.config.yaml'), 'A GUESS')
  })
}

t.test('where nothing is known, the command is called a guess', async (t) => {
  const repository = await createRepository(t)
  t.match(await init(repository), { code: 0, stdout: /No lockfile that is known here/ })
  t.match(configOf(t, repository).services, [{ name: 'my-shop', releases: { command: ['./start'] } }])
  t.match(textOf(repository, 'proxy.config.yaml'), /command: \[\.\/start\] +# A GUESS/)
})

t.test('the key is for its owner alone, and git ignores it with all of the state', async (t) => {
  const repository = await createRepository(t, { '.gitignore': 'node_modules' })
  await init(repository)
  const key = join(repository.folder, '.slotgate', 'ops.key')
  t.equal(statSync(key).mode & 0o777, 0o600)
  t.equal(statSync(dirname(key)).mode & 0o777, 0o700)
  t.equal(textOf(repository, '.gitignore'), 'node_modules\n/.slotgate/\n')
  t.equal(
    await repository.git('status', '--porcelain', '--untracked-files=all'),
    '?? .gitignore\n?? proxy.config.yaml',
  )
  t.match(configOf(t, repository).admin.keys, [{ id: 'ops', algorithm: 'ed25519' }])
})

t.test('what is there already stays as it is, and is named', async (t) => {
  const repository = await createRepository(t)
  await init(repository)
  const files = ['proxy.config.yaml', '.slotgate/ops.key', '.gitignore']
  const before = files.map((file) => textOf(repository, file))
  const again = await init(repository)
  t.equal(again.code, 0)
  t.match(again.stdout, /kept \.gitignore/)
  t.match(again.stdout, /kept proxy\.config\.yaml/)
  t.same(
    files.map((file) => textOf(repository, file)),
    before,
  )

  await t.test('a key is used for a config that is missing', async (t) => {
    const { admin } = configOf(t, repository)
    const { stdout } = await run(['init', '--config', join(repository.folder, 'other.yaml'), '--json'])
    t.match(JSON.parse(stdout).steps, [
      { file: '.gitignore', done: 'kept' },
      { file: 'other.yaml', done: 'written' },
      { file: '.slotgate/ops.key', done: 'kept' },
    ])
    t.match(textOf(repository, 'other.yaml'), Buffer.from(admin.keys[0]?.material ?? '').toString('base64'))
  })
})

t.test('variables that git ignores are taken, and those that it does not are not', async (t) => {
  const ignored = await createRepository(t, { '.env': 'A=1', '.gitignore': '.env\n' })
  await init(ignored)
  t.match(configOf(t, ignored).services, [{ releases: { envFile: join(ignored.folder, '.env') } }])
  const tracked = await createRepository(t, { '.env': 'A=1' })
  await init(tracked)
  t.notHas(configOf(t, tracked).services[0]?.releases, { envFile: String })
})

t.test('what the app must still provide is told, with where the code speaks of it', async (t) => {
  const repository = await createRepository(t, {
    'server.js': 'listen(process.env.PORT)',
    'README.md': 'Answers /schema/status on INTERNAL_PORT.',
  })
  const { stdout } = await init(repository)
  t.match(stdout, /✓ listens on \$HOST:\$PORT, for the world: server\.js speaks of it/)
  for (const what of ['INTERNAL_PORT', '/healthz', '/schema/status']) {
    t.match(stdout, new RegExp(`\\? .*${what}.*: not found in the code`))
  }
  const { needs } = JSON.parse((await init(repository, '--json')).stdout)
  t.same(
    needs.map(({ seenIn }: { seenIn: string | null }) => seenIn),
    ['server.js', null, null, null],
  )
})

t.test('a folder that is no repository, or not its root, is refused, and nothing is written', async (t) => {
  const folder = newFolder(t)
  const outside = await run(['init', '--config', join(folder, 'proxy.config.yaml')])
  t.match(outside, { code: 2, stderr: /is not a work tree of git/ })
  const repository = await createRepository(t)
  mkdirSync(join(repository.folder, 'app'))
  const below = await run(['init', '--config', join(repository.folder, 'app', 'proxy.config.yaml')])
  t.match(below, { code: 2, stderr: /is not the root of its repository/ })
  t.match(below.stderr, `cd '${repository.folder}' && slotgate init`)
  t.equal(await repository.git('status', '--porcelain', '--ignored'), '')
})

t.test('from there it is three commands to a live release', async (t) => {
  const repository = await createRepository(t, {
    'package.json': `{ "name": "shop", "scripts": { "start": "exec '${process.execPath}' '${APP}'" } }`,
    'package-lock.json': '{ "name": "shop", "lockfileVersion": 3, "packages": { "": { "name": "shop" } } }',
    'schema.json': '{ "current": 42 }',
  })
  t.match(await init(repository), { code: 0 })
  const config = join(repository.folder, 'proxy.config.yaml')
  // The doors that are written may be taken on a machine that runs tests.
  writeFileSync(config, readFileSync(config, 'utf8').replace(/127\.0\.0\.1:808[01]/g, '127.0.0.1:0    '))
  const commit = await repository.commit({ min: 41, max: 43 })
  const served = spawn(process.execPath, [BIN, 'serve', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(async () => {
    served.kill('SIGTERM')
    await once(served, 'exit')
  })
  const doors = await new Promise<{ front_door: string; admin: string }>((resolve) => {
    createInterface(served.stdout).on('line', (line) => {
      if (line.includes('slotgate is up')) resolve(JSON.parse(line))
    })
  })
  const env = {
    ...process.env,
    SLOTGATE_ADMIN: doors.admin,
    SLOTGATE_KEY: join(repository.folder, '.slotgate', 'ops.key'),
  }
  const { stdout } = await promisify(execFile)(process.execPath, [BIN, 'deploy', 'HEAD'], { env })
  t.match(stdout, `shop: ${commit.slice(0, 12)} is live in blue (generation 1`)
  t.notMatch(stdout, commit, 'people read the first digits')
  const answer = await fetch(doors.front_door)
  t.equal(answer.headers.get('x-release'), commit)
})
