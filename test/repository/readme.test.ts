// The README's tour, typed word for word by a shell: every command does what the text says, and prints what is shown.
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { generateKey, writeKeyFile } from '../../src/cli/keyfile.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createLogger } from '../../src/log.ts'
import { start } from '../../src/main.ts'
import { COMPILED } from '../support/compiled.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { blocksOf, linesOf, patternOf, typeAll } from '../support/shell.ts'

const root = join(import.meta.dirname, '..', '..')
const readText = (file: string): Promise<string> => readFile(join(root, file), 'utf8')
const readme = await readText('README.md')
const [, tour = ''] = readme.split(/^## A tour .*$/m)
const steps = blocksOf(tour.split(/^## /m, 1)[0] ?? '')

const hasCurl = spawnSync('curl', ['--version']).status === 0

t.test('the tour of the README, word for word', { skip: hasCurl ? false : 'needs curl' }, async (t) => {
  const demo = await startDemo(t)
  const outputs = await type(
    t,
    ['slotgate stage r1', `curl -d '{"to": 1}' $(internal idle)/migrations/run`, 'slotgate promote'],
    demo,
  )
  t.equal(outputs.length, steps.length)
  t.ok(steps.filter(({ shown }) => shown !== undefined).length > 6)
  for (const [index, { typed, shown }] of steps.entries()) {
    if (shown !== undefined) t.match(linesOf(outputs[index] ?? ''), patternOf(shown), typed)
  }
})

t.test('the demo tells the same first lines as the README', async (t) => {
  const demo = await readText('example/demo.ts')
  const [key = '', name = ''] = steps[0]?.typed.split('\n') ?? []
  t.match(key, 'SLOTGATE_KEY')
  t.match(demo, key)
  t.match(demo, name)
})

t.test('the two commands are there', async (t) => {
  const { scripts } = JSON.parse(await readText('package.json'))
  for (const [, name = ''] of readme.matchAll(/(?:^|`)npm (?:run )?([a-z]+)/gm)) t.ok(scripts[name], name)
  t.equal(scripts.slotgate, 'exec sh scripts/run src/bin.ts')
})

interface RunningDemo {
  folder: string
  env: NodeJS.ProcessEnv
}

/** What `npm run demo` starts, on ports of its own: its config with nothing else changed. */
async function startDemo(t: Test): Promise<RunningDemo> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-readme-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const { content, publicKey } = generateKey('ed25519')
  writeKeyFile(join(folder, 'ops.key'), content)
  const config = (await readText('proxy.config.yaml'))
    .replaceAll(/127\.0\.0\.1:808[01]/g, '127.0.0.1:0')
    .replace('cwd: example', `cwd: ${root}/example`)
    .replace('[node,', `["${process.execPath}",`)
  await writeFile(join(folder, 'proxy.config.yaml'), config)
  const { url } = await createTestDatabase(t)
  const env = { DATABASE_URL: url, DEMO_PUBLIC_KEY: publicKey }
  const quiet = createLogger('info', { write: () => {} })
  const slotgate = await start(loadConfig(join(folder, 'proxy.config.yaml'), env), quiet)
  t.teardown(() => slotgate.close())
  await writeFile(join(folder, '.curlrc'), 'silent\n')
  return {
    folder,
    env: {
      PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
      CURL_HOME: folder,
      SLOTGATE_ADMIN: `http://127.0.0.1:${slotgate.admin.port}`,
      ...COMPILED,
    },
  }
}

/**
 * Types the steps into one shell.
 *
 * @param t the test that types
 * @param first what the demo does after it has started, typed after the setup of the tour
 * @returns what each step printed
 */
async function type(t: Test, first: readonly string[], { folder, env }: RunningDemo): Promise<string[]> {
  const [setup, ...others] = steps.map(({ typed }) => typed)
  const ours = setup
    ?.replace('.demo/ops.key', join(folder, 'ops.key'))
    .replace('npm run -s slotgate --', 'node src/bin.ts')
  const answers = await typeAll(t, [[ours, ...first].join('\n'), ...others], { cwd: root, env })
  return answers.map(({ output }) => output)
}
