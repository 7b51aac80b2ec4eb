// Booting a process by itself: what it is given, what is kept of its output, and what a boot does not depend on.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import { createLogger } from '../../src/log.ts'
import type { Driver } from '../../src/slots/drivers/driver.ts'
import { createProcessDriver } from '../../src/slots/drivers/process.ts'
import { folderSource } from '../../src/slots/drivers/source.ts'
import { endGroup } from '../../src/slots/proc.ts'
import { isRunning } from '../support/world.ts'

const SERVES = `
  const { createServer } = require('node:http')
  createServer((_, res) => res.end()).listen(process.env.PORT, process.env.HOST)
  createServer((_, res) => res.end(JSON.stringify(process.env))).listen(process.env.INTERNAL_PORT, process.env.HOST)
`

async function createDriver(t: Test, script: string): Promise<{ driver: Driver; journal: Journal }> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-process-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const journal = await Journal.open(join(folder, 'journal.jsonl'))
  t.teardown(() => journal.close().catch(() => {}))
  const driver = createProcessDriver({
    service: 'invoices',
    source: folderSource(folder, 'invoices', journal),
    releases: { command: [process.execPath, '-e', script], env: {} },
    settings: () => ({
      health: { path: '/', intervalMs: 20, timeoutMs: 1_000, withinMs: 5_000 },
      stopWithinMs: 500,
      withheld: [],
    }),
    stateDir: folder,
    journal,
    log: createLogger('info', { write: () => {} }),
  })
  return { driver, journal }
}

const request = {
  release: 'r1',
  slot: 'blue',
  rehearsal: false,
  signal: new AbortController().signal,
} as const

t.test('a journal that cannot be written keeps no release from being booted', async (t) => {
  const { driver, journal } = await createDriver(t, SERVES)
  await journal.close()
  const instance = await driver.boot(request)
  t.equal(await isRunning(instance.pid ?? 0), true)
  await instance.stop(500)
  t.equal(await isRunning(instance.pid ?? 0), false)
})

t.test('stopping reaches what the process started, and what ignores SIGTERM', async (t) => {
  const { driver } = await createDriver(
    t,
    `${SERVES}
    process.on('SIGTERM', () => {})
    const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    console.log('child', child.pid)`,
  )
  const instance = await driver.boot(request)
  const child = Number(/child (\d+)/.exec(instance.output().join('\n'))?.[1])
  t.equal(await isRunning(child), true)
  await instance.stop(200)
  t.equal(await isRunning(instance.pid ?? 0), false)
  t.equal(await isRunning(child), false)
})

t.test('what does not end when it is killed either is not waited for', async (t) => {
  const child = spawn('sleep', ['1000'], { detached: true })
  const ended = once(child, 'exit')
  // It ends here all the same, since no disk of this machine hangs; but nobody is told.
  await endGroup(Number(child.pid), new Promise(() => {}), 0)
  t.equal((await ended)[0], null)
})

t.test('a boot that is not wanted any more ends, and its process with it', async (t) => {
  const { driver, journal } = await createDriver(t, 'setInterval(() => {}, 1000)')
  const unwanted = new AbortController()
  const booting = driver.boot({ ...request, signal: unwanted.signal })
  const isBooting = async () => {
    while (!journal.records.some(({ event }) => event === 'booting')) await new Promise(setImmediate)
  }
  await isBooting()
  unwanted.abort()
  await t.rejects(booting, { code: 'target_boot_failed', facts: { detail: 'it is not wanted any more' } })
  const pid = journal.records.find(({ event }) => event === 'booting')?.pid
  t.equal(await isRunning(Number(pid)), false)
  t.same(journal.state.open, {})
})

const skip = process.platform === 'linux' ? false : 'descriptors are counted in /proc'

t.test(
  'what the system cannot start is refused by its code, and leaves no descriptor open',
  { skip },
  async (t) => {
    const { driver } = await createDriver(t, `'${'x'.repeat(200_000)}'`)
    const open = async () => (await readdir('/proc/self/fd')).length
    await t.rejects(driver.boot(request), { code: 'target_boot_failed', facts: { detail: /E2BIG/ } })
    const before = await open()
    for (let n = 0; n < 10; n++) await t.rejects(driver.boot(request), { code: 'target_boot_failed' })
    const after = await open()
    t.ok(after <= before, `${after} are open, and ${before} were before`)
  },
)
