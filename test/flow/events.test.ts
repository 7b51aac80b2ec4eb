// What a person sees while slotgate works: the command line as a process of its own, in front of a real slotgate.
import { spawn } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { generateKey, writeKeyFile } from '../../src/cli/keyfile.ts'
import { World } from '../support/world.ts'

const BIN = fileURLToPath(new URL('../../src/bin.ts', import.meta.url))

/** A command that runs, and what it has printed. */
interface Running {
  stdout: string[]
  stderr: string[]
  /** Waits for a line on one of the two. */
  prints(pattern: RegExp): Promise<string>
  kill(): void
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
  return { ...printed, prints, kill: () => child.kill(), exited }
}

/** Prints a line, waits until it may go on, and prints another. */
const SETUP =
  'echo "setting up with $PASSWORD"; until test -e "$WORLD/go"; do sleep 0.05; done; echo is set up'

/** A world with slow setups, and the environment of somebody who may call it. */
async function createWorld(t: Test): Promise<{ world: World; env: NodeJS.ProcessEnv }> {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43 })
  world.setup = ['sh', '-c', SETUP]
  await writeFile(join(world.folder, 'secrets'), 'PASSWORD=hunter2hunter2\n')
  world.driver = [...world.driver, 'env_file: secrets']
  const file = join(world.folder, 'person.key')
  const { content, publicKey } = generateKey('ed25519')
  writeKeyFile(file, content)
  world.keys = [
    `{ id: person, algorithm: ed25519, public_key: "${publicKey}", allow: [read, stage, promote] }`,
  ]
  await world.start(t)
  return { world, env: { SLOTGATE_ADMIN: world.adminUrl, SLOTGATE_KEY: file } }
}

t.test('who deploys sees the lines of the setup as they come, and the steps', async (t) => {
  const { world, env } = await createWorld(t)
  const deploy = slotgate(t, ['deploy', 'r42'], env)
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
