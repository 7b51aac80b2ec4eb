// What loading a config file says when it cannot be used, and what may change while running.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { checkConfig } from '../../src/config/check.ts'
import { formatProblems, loadConfig } from '../../src/config/load.ts'
import { nearest } from '../../src/config/nearest.ts'
import type { ConfigProblem } from '../../src/config/reading.ts'
import { reloadable } from '../../src/config/reload.ts'
import type { Config } from '../../src/config/types.ts'
import { SlotgateError } from '../../src/errors.ts'

const TEXT = `listen: 127.0.0.1:0
services:
  app:
    releases: { command: [node, server.js] }
    first: r1
`

function refusal(file: string): { message: string; problems: ConfigProblem[] } {
  try {
    loadConfig(file, {})
  } catch (error) {
    if (!(error instanceof SlotgateError) || error.code !== 'config_invalid') throw error
    return { message: error.message, problems: error.facts.problems as ConfigProblem[] }
  }
  throw new Error('the config was taken')
}

t.test('a config file', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'slotgate-config-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'proxy.config.yaml')
  const write = (text: string) => writeFileSync(file, text)

  await t.test('is loaded, with paths from its own folder', async (t) => {
    write(TEXT)
    const config = loadConfig(file, {})
    t.equal(config.file, file)
    t.equal(config.stateDir, join(folder, '.slotgate'))
  })

  await t.test('that is not there is told by its name', async (t) => {
    t.throws(() => loadConfig(join(folder, 'nope.yaml'), {}), {
      code: 'config_unreadable',
      message: /nope\.yaml/,
    })
  })

  await t.test('with problems carries them all in its refusal', async (t) => {
    write(TEXT.replace('first:', 'frist:').replace(':0', ''))
    const { message, problems } = refusal(file)
    t.equal(message, `The config ${file} has 3 problems.`)
    t.strictSame(
      problems.map(({ line, key }) => `${line} ${key}`),
      ['1 admin.keys', '1 listen', '5 services.app.frist'],
    )
  })

  await t.test('names a secret file, which only its owner may read', async (t) => {
    const secret = join(folder, 'agent.secret')
    writeFileSync(secret, `${Buffer.alloc(32, 1).toString('base64')}\n`, { mode: 0o600 })
    write(
      `${TEXT}admin:\n  keys: [{ id: agent, algorithm: hmac-sha256, secret_file: agent.secret, allow: [read] }]\n`,
    )
    t.strictSame([...(loadConfig(file, {}).admin.keys[0]?.material ?? [])], Array(32).fill(1))
    chmodSync(secret, 0o644)
    t.match(refusal(file).problems, [{ key: 'admin.keys[0].secret_file', hint: `chmod 600 ${secret}` }])
  })
})

t.test('problems are printed one a line, as editors read them', async (t) => {
  const problems = [
    {
      line: 12,
      column: 5,
      key: 'services.invoices.helth',
      sentence: 'unknown key',
      hint: 'did you mean "health"?',
    },
    { line: 1, column: 1, key: '', sentence: 'is not YAML' },
  ]
  t.equal(
    formatProblems(problems, 'proxy.config.yaml'),
    `proxy.config.yaml:12:5  services.invoices.helth: unknown key; did you mean "health"?
proxy.config.yaml:1:1  is not YAML`,
  )
})

t.test('the nearest name is guessed only where it is near', async (t) => {
  const known = ['health', 'hosts', 'path_prefix', 'releases']
  t.equal(nearest('helth', known), 'health')
  t.equal(nearest('host', known), 'hosts')
  t.equal(nearest('pathPrefix', known), 'path_prefix')
  t.equal(nearest('hsots', known), 'hosts')
  t.equal(nearest('colour', known), undefined)
  t.equal(nearest('h'.repeat(1000), known), undefined)
})

t.test('reloading', async (t) => {
  const read = (text: string): Config => {
    const { config, problems } = checkConfig(text, { file: '/etc/proxy.config.yaml', env: {} })
    if (config === undefined) throw new Error(formatProblems(problems, 'proxy.config.yaml'))
    return config
  }
  const old = read(TEXT)

  await t.test('an unchanged config changes nothing', async (t) => {
    const { apply, changed, cannot } = reloadable(old, read(TEXT))
    t.strictSame({ changed, cannot }, { changed: [], cannot: [] })
    t.strictSame(apply, old)
  })

  await t.test('a bake is called off by a config without it', async (t) => {
    const baking = read(`${TEXT}    bake: { for: 1m }\n`)
    const { apply, changed } = reloadable(baking, read(TEXT))
    t.strictSame(changed, ['services.app.bake'])
    t.strictSame(apply, old)
  })

  await t.test('keys, health, schema, drain, bake and previous are taken over', async (t) => {
    const key = 'JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs'
    const next = read(`${TEXT}    health: { within: 5s }
    schema: off
    drain: { within: 1s }
    bake: { for: 1m }
    previous: stop
admin: { keys: [{ id: ops, algorithm: ed25519, public_key: ${key}, allow: [read] }] }
`)
    const { apply, changed, cannot } = reloadable(old, next)
    t.strictSame(changed, [
      'admin.keys',
      'services.app.health',
      'services.app.schema',
      'services.app.drain',
      'services.app.bake',
      'services.app.previous',
    ])
    t.strictSame(cannot, [])
    t.strictSame(apply, next)
    t.ok(Object.isFrozen(apply) && Object.isFrozen(apply.services[0]))
  })

  await t.test('what needs a restart is said and left as it is', async (t) => {
    const next = read(`listen: 127.0.0.1:9000
threads: 2
state_dir: elsewhere
admin: { listen: "127.0.0.1:9001" }
metrics: { listen: "127.0.0.1:9002" }
tracing: { endpoint: "http://127.0.0.1:4318" }
relay: { head_timeout: 1s }
services:
  app: { releases: { command: [other] }, hosts: [a.test], path_prefix: /a, first: r2 }
  new: { releases: { command: [x] }, first: r1 }
`)
    const { apply, changed, cannot } = reloadable(old, next)
    t.strictSame(apply, old)
    t.strictSame(changed, [])
    t.strictSame(cannot, [
      'listen changed; that takes a restart of slotgate.',
      'threads changed; that takes a restart of slotgate.',
      'admin.listen changed; that takes a restart of slotgate.',
      'metrics changed; that takes a restart of slotgate.',
      'tracing changed; that takes a restart of slotgate.',
      'state_dir changed; that takes a restart of slotgate.',
      'relay changed; that takes a restart of slotgate.',
      'services.app.hosts changed; that takes a restart of slotgate.',
      'services.app.path_prefix changed; that takes a restart of slotgate.',
      'services.app.releases changed; that takes a restart of slotgate.',
      'services.app.first changed; that takes a restart of slotgate.',
      'services.new is new; that takes a restart of slotgate.',
    ])
  })

  await t.test('a share of the traces is named by its own key', async (t) => {
    const traced = (sample: string) =>
      read(`${TEXT}tracing: { endpoint: "http://127.0.0.1:4318", sample: ${sample} }\n`)
    t.strictSame(reloadable(traced('on'), traced('0.5')).cannot, [
      'tracing changed; that takes a restart of slotgate.',
    ])
    const withToken = (token: string) =>
      read(`${TEXT}tracing: { endpoint: "http://127.0.0.1:4318", headers: { x-key: "${token}" } }\n`)
    t.match(withToken('one').tracing, { headers: { 'x-key': 'one' } })
    t.strictSame(reloadable(withToken('one'), withToken('two')).cannot, [
      'tracing changed; that takes a restart of slotgate.',
    ])
  })

  await t.test('a service that is gone is served on', async (t) => {
    const { apply, cannot } = reloadable(old, read(TEXT.replace('app:', 'shop:')))
    t.equal(apply.services[0]?.name, 'app')
    t.strictSame(cannot, [
      'services.app is gone; it is served until slotgate restarts.',
      'services.shop is new; that takes a restart of slotgate.',
    ])
  })

  await t.test('internal paths that the front door hides are not moved under it', async (t) => {
    const slots = `services:
  app:
    slots:
      blue: { public: "http://127.0.0.1:3001", internal: "http://127.0.0.1:3001" }
      green: { public: "http://127.0.0.1:3002", internal: "http://127.0.0.1:3002" }
    first: blue
`
    const before = read(slots)
    const { apply, changed, cannot } = reloadable(before, read(`${slots}    health: { path: /up }\n`))
    t.strictSame(apply, before)
    t.strictSame(changed, [])
    t.strictSame(cannot, [
      'The internal paths of services.app changed, and the front door hides them; that takes a restart of slotgate.',
    ])
  })
})
