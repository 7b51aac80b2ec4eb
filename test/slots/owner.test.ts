// A state folder has one owner, however many start at once, and one that died is replaced.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { ownStateDir } from '../../src/slots/owner.ts'

const SCRIPT = fileURLToPath(new URL('./owner.ts', import.meta.url))

async function newFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-owner-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

interface Starter {
  ready: Promise<unknown>
  /** Lets it try; what it says then. It keeps what it got until the test ends. */
  go(): Promise<string>
  kill(): void
  ended: Promise<unknown>
}

function startStarter(t: Test, folder: string): Starter {
  const child = spawn(process.execPath, [SCRIPT, folder], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.stdin.end())
  const lines = createInterface(child.stdout)
  return {
    ready: once(lines, 'line'),
    kill: () => void child.kill('SIGKILL'),
    ended: once(child, 'exit'),
    async go() {
      child.stdin.write('go\n')
      const [line] = await once(lines, 'line')
      return line
    },
  }
}

async function tryAtOnce(t: Test, folder: string, count: number): Promise<string[]> {
  const starters = Array.from({ length: count }, () => startStarter(t, folder))
  await Promise.all(starters.map(({ ready }) => ready))
  return Promise.all(starters.map(({ go }) => go()))
}

t.test('the second is told who the first is', async (t) => {
  const folder = await newFolder(t)
  const giveUp = await ownStateDir(folder)
  t.same(await tryAtOnce(t, folder, 1), [`state_dir_in_use ${process.pid}`])
  await giveUp()
  t.same(await tryAtOnce(t, folder, 1), ['owner'])
})

t.test('of six that start at once on the folder of a dead owner, one becomes its owner', async (t) => {
  for (let round = 0; round < 2; round++) {
    const folder = await newFolder(t)
    await writeFile(join(folder, 'owner'), '999999 1\n')
    const said = await tryAtOnce(t, folder, 6)
    t.equal(said.filter((word) => word === 'owner').length, 1, said.join(', '))
  }
})

t.test('a turn that somebody died over is ended', async (t) => {
  const folder = await newFolder(t)
  await writeFile(join(folder, 'owner'), '999999 1\n')
  await writeFile(join(folder, 'owner.turn'), '999999 1\n')
  const giveUp = await ownStateDir(folder)
  await giveUp()
  t.pass('after a few seconds')
})

t.test(
  'an owner whose process cannot be seen, as in another container, is known by its sign of life',
  async (t) => {
    const folder = await newFolder(t)
    const owner = startStarter(t, folder)
    await owner.ready
    t.equal(await owner.go(), 'owner')
    const file = join(folder, 'owner')
    const [, ...facts] = (await readFile(file, 'utf8')).split(' ')
    await writeFile(file, ['999999', ...facts].join(' '))
    t.same(await tryAtOnce(t, folder, 1), ['state_dir_in_use 999999'])
    owner.kill()
    await t.resolves(owner.ended)
    const giveUp = await ownStateDir(folder)
    await giveUp()
    t.same(await readdir(folder), [], 'nothing of either is left')
  },
)
