// Booting a process by itself: what it is given, what is kept of its output, and what a boot does not depend on.
import t from 'tap'
import { BOOT, processDriverWorld } from '../support/process-driver.ts'
import { isRunning } from '../support/world.ts'

const SERVES = `
  const { createServer } = require('node:http')
  createServer((_, res) => res.end()).listen(process.env.PORT, process.env.HOST)
  createServer((_, res) => res.end(JSON.stringify(process.env))).listen(process.env.INTERNAL_PORT, process.env.HOST)
`

t.test('a journal that cannot be written keeps no release from being booted', async (t) => {
  const { createDriver, journal } = await processDriverWorld(t, SERVES)
  const driver = createDriver()
  await journal.close()
  const instance = await driver.boot(BOOT)
  t.equal(await isRunning(instance.pid ?? 0), true)
  await instance.stop(500)
  t.equal(await isRunning(instance.pid ?? 0), false)
})

t.test('stopping reaches what the process started, and what ignores SIGTERM', async (t) => {
  const { createDriver } = await processDriverWorld(
    t,
    `${SERVES}
    process.on('SIGTERM', () => {})
    const child = require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
    console.log('child', child.pid)`,
  )
  const instance = await createDriver().boot(BOOT)
  const child = Number(/child (\d+)/.exec(instance.output().join('\n'))?.[1])
  t.equal(await isRunning(child), true)
  await instance.stop(200)
  t.equal(await isRunning(instance.pid ?? 0), false)
  t.equal(await isRunning(child), false)
})

t.test('a boot that is not wanted any more ends, and its process with it', async (t) => {
  const { createDriver, journal } = await processDriverWorld(t, 'setInterval(() => {}, 1000)')
  const driver = createDriver()
  const unwanted = new AbortController()
  const booting = driver.boot({ ...BOOT, signal: unwanted.signal })
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
