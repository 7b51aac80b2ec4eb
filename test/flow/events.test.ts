// What a person sees while slotgate works: the command line as a process of its own, in front of a real slotgate.
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { generateKey, readKeyFile, writeKeyFile } from '../../src/cli/keyfile.ts'
import { Following } from '../support/following.ts'
import { World } from '../support/world.ts'

const BIN = fileURLToPath(new URL('../../src/bin.ts', import.meta.url))

/** A command that runs, and what it has printed. */
interface Running {
  stdout: string[]
  stderr: string[]
  /** Waits for a line on one of the two. */
  prints(pattern: RegExp): Promise<string>
  stopReading(): void
  exited: Promise<number | null>
}

function slotgate(t: Test, argv: string[], env: NodeJS.ProcessEnv): Running {
  const child = spawn(process.execPath, [BIN, ...argv], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  t.teardown(async () => {
    child.kill()
    await exited
  })
  const printed = { stdout: [] as string[], stderr: [] as string[] }
  let look = () => {}
  for (const name of ['stdout', 'stderr'] as const)
    createInterface(child[name]).on('line', (line) => {
      printed[name].push(line)
      look()
    })
  async function prints(pattern: RegExp): Promise<string> {
    for (;;) {
      const found = [...printed.stdout, ...printed.stderr].find((line) => pattern.test(line))
      if (found !== undefined) return found
      const more = new Promise<void>((resolve) => {
        look = resolve
      })
      const isOver = await Promise.race([more, exited.then(() => true)])
      if (isOver) throw new Error(`it ended without ${pattern}: ${JSON.stringify(printed)}`)
    }
  }
  return { ...printed, prints, stopReading: () => void child.stdout.destroy(), exited }
}

/** Prints a line, waits until it may go on, and prints another. */
const SETUP =
  'echo "setting up with $PASSWORD"; until test -e "$WORLD/go"; do sleep 0.05; done; echo is set up'

interface Watched {
  world: World
  stop(): Promise<void>
  /** Of a person who may call it. */
  env(): NodeJS.ProcessEnv
  follow(query: string): Promise<Following>
}

/** A world in which two releases can be booted, and somebody who looks on. */
async function createWorld(t: Test, setup?: string): Promise<Watched> {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 41, max: 43, ignoresSigterm: true })
  if (setup) world.setup = ['sh', '-c', setup]
  world.service = ['drain: { within: 500ms }']
  await writeFile(join(world.folder, 'secrets'), 'PASSWORD=hunter2hunter2\n')
  world.driver = [...world.driver, 'env_file: secrets']
  const file = join(world.folder, 'person.key')
  const { content, publicKey } = generateKey('ed25519')
  writeKeyFile(file, content)
  world.keys = [
    `{ id: person, algorithm: ed25519, public_key: "${publicKey}", allow: [read, stage, promote] }`,
  ]
  const stop = await world.start(t)
  const { key } = readKeyFile(file, undefined)
  return {
    world,
    stop,
    env: () => ({ SLOTGATE_ADMIN: world.adminUrl, SLOTGATE_KEY: file }),
    follow: async (query) =>
      (await Following.open(t, { url: `${world.adminUrl}/v1/events${query}`, key })).read(),
  }
}

t.test('who deploys sees the lines of the setup as they come, and the steps', async (t) => {
  const { world, env } = await createWorld(t, SETUP)
  const deploy = slotgate(t, ['deploy', 'r42'], env())
  t.equal(await deploy.prints(/setting up/), `    │ setting up with \${PASSWORD}`)
  t.equal((await world.status()).operation?.step, 'booting', 'it is still at it')
  await writeFile(join(world.folder, 'go'), '')
  t.equal(await deploy.exited, 0)
  t.strictSame(
    deploy.stderr.filter((line) => !/│ (r42 boots on \d+|ready)/.test(line)),
    [
      '  … starting',
      '  … booting',
      `    │ setting up with \${PASSWORD}`,
      '    │ is set up',
      '  … checking health',
      '  … asking',
      '  … preparing the front door',
      '  … asking again',
      '  … writing the journal',
      '  … flipping',
      '  … confirming',
    ],
  )
  t.match(deploy.stderr.join('\n'), /│ r42 boots on \d+\n.*│ ready/)
  t.match(deploy.stdout.join('\n'), /^✓ invoices: r42 is live in blue/)
  t.notMatch(JSON.stringify([deploy.stderr, deploy.stdout]), /hunter2/)
})

t.test('who checks a rollback sees the rehearsal', async (t) => {
  const { world, env } = await createWorld(t)
  for (const release of ['r42', 'r43']) t.match(await world.deploy(release), { status: 200 })
  process.kill((await world.status()).idle.pid ?? 0, 'SIGKILL')
  await world.until(async () => (await world.status()).idle.state === 'exited', 'the former release is gone')
  const check = slotgate(t, ['check', 'rollback'], env())
  t.equal(await check.exited, 0, check.stderr.join('\n'))
  t.match(
    check.stderr.join('\n'),
    /… rehearsing\n.*│ r42 boots on \d+ for a rehearsal\n.*│ ready\n.*… asking/,
  )
})

t.test('who follows is told all of it, until nobody reads it any more', async (t) => {
  const { world, env } = await createWorld(t)
  const follow = slotgate(t, ['events', '--follow', '--since', '0', '--json'], env())
  t.match(JSON.parse(await follow.prints(/"seq":1/)), {
    kind: 'record',
    record: { event: 'slotgate_started' },
  })
  t.match(await world.deploy('r42'), { status: 200 })
  await follow.prints(/"event":"flipped"/)
  const last = slotgate(t, ['events', '--since', '3'], env())
  t.equal(await last.exited, 0)
  t.match(last.stdout[0], /^#4 /)
  t.match(last.stdout.join('\n'), /^#\d+ .* flipped {2}invoices {2}blue {2}r42 {2}gen 1 {2}by ops {2}deploy/m)
  follow.stopReading()
  // It notices when it has something to say.
  let isOver = false
  void follow.exited.then(() => {
    isOver = true
  })
  while (!isOver) await world.check('rollback')
  t.strictSame({ code: await follow.exited, stderr: follow.stderr }, { code: 0, stderr: [] })
})

t.test('what a release writes is told while it boots, and not when it serves', async (t) => {
  const { world, follow } = await createWorld(t)
  const following = await (await follow('?service=invoices&kinds=output')).live()
  t.match(await world.deploy('r43'), { status: 200 })
  await following.until(({ lines }) => lines.includes('ready'))
  t.match(following.events.at(-1), { service: 'invoices', slot: 'blue', release: 'r43', from: 'boot' })
  process.kill((await world.status()).live?.pid ?? 0, 'SIGTERM')
  await world.until(async () => world.logLines.some((line) => line.includes('not now')), 'it writes more')
  t.match(await world.deploy('r42'), { status: 200 })
  await following.until(({ lines }) => lines.some((line) => line.startsWith('r42 boots')))
  t.notOk(following.lines.includes('not now'))
})

t.test('records go on where they were when slotgate starts again', async (t) => {
  const { world, stop, follow } = await createWorld(t)
  const before = await (await follow('?kinds=record&since=0')).live()
  t.match(await world.deploy('r42'), { status: 200 })
  await before.until(({ events }) =>
    events.some((event) => event.kind === 'record' && event.record.event === 'flipped'),
  )
  t.match(await follow('?service=receipts'), { status: 404 })
  await stop()
  t.equal(await before.ended, 'ended')
  await world.start(t)
  const after = await (await follow(`?kinds=record&since=${before.seqs.at(-1)}`)).live()
  const records = (await world.history()).toReversed()
  const told = [...before.seqs, ...after.seqs]
  t.strictSame(
    told,
    told.map((_, n) => n + 1),
  )
  t.ok(told.length <= records.length)
  const names = after.events.flatMap((event) => (event.kind === 'record' ? [event.record.event] : []))
  t.ok(names.includes('slotgate_stopped') && names.includes('slotgate_started'))
})

t.test('the traffic of each slot is told while somebody reads it', async (t) => {
  const { world, follow } = await createWorld(t)
  t.match(await world.deploy('r42'), { status: 200 })
  const following = await (await follow('?kinds=traffic')).live()
  const slots = () => following.events.flatMap((event) => (event.kind === 'traffic' ? event.slots : []))
  const busy = () => slots().find(({ requests_per_s: rate }) => rate > 0)
  while (!busy()) {
    await world.get()
    await pause(20)
  }
  t.match(busy(), {
    slot: 'blue',
    release: 'r42',
    claims: { tunnels: 0 },
    errors_per_s: 0,
    p50_ms: Number,
    p99_ms: Number,
  })
  t.match(following.events.at(-1), { service: 'invoices', slots: [{ slot: 'blue' }, { slot: 'green' }] })
})
