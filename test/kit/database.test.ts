// The private PostgreSQL of the demo and the tests: it never outlives its starter, and leaves nothing behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { openDatabase, startDatabase } from '../../example/database.ts'
import { eventually } from './fixture.ts'

const STARTER = `
  import { startDatabase } from ${JSON.stringify(new URL('../../example/database.ts', import.meta.url).href)}
  const { url, stop } = await startDatabase()
  console.log(url)
  process.stdin.once('data', () => process.exit(7))
  process.once('SIGTERM', () => stop().then(() => process.exit(0)))`

async function canConnect(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  try {
    await client.connect()
    return true
  } catch {
    return false
  } finally {
    await client.end()
  }
}

/** A process with a database of its own, and the folder where that puts everything. */
async function startStarter(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'database-test-'))
  await chmod(folder, 0o1777)
  const starter = spawn(process.execPath, ['--input-type=module', '-e', STARTER], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = once(starter, 'exit')
  t.teardown(async () => {
    starter.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  })
  const [url] = (await once(createInterface(starter.stdout), 'line')) as [string]
  return { starter, exited, url, folder }
}

type Started = Awaited<ReturnType<typeof startStarter>>

for (const [how, end] of Object.entries({
  'exits without a word': (starter) => starter.stdin?.write('exit\n'),
  'stops it': (starter) => starter.kill('SIGTERM'),
} satisfies Record<string, (starter: Started['starter']) => unknown>)) {
  t.test(`the server and its data are gone when its starter ${how}`, async (t) => {
    const started = await startStarter(t)
    t.ok(await canConnect(started.url))
    end(started.starter)
    await isGone(t, started)
  })
}

async function isGone(t: Test, { exited, url, folder }: Started): Promise<void> {
  await exited
  await eventually(
    () => readdir(folder),
    ({ length }) => length === 0,
  )
  t.notOk(await canConnect(url))
}

t.test(
  'a starter that is too busy to read does not hold up its server, which is gone when that is killed',
  async (t) => {
    const started = await startStarter(t)
    started.starter.kill('SIGSTOP')
    const client = new pg.Client({ connectionString: started.url })
    await client.connect()
    // Each failure is logged with its statement; together they are more than a pipe holds.
    const failing = `SELECT 1/0 -- ${'x'.repeat(10_000)}`
    for (let times = 0; times < 50; times += 1) await t.rejects(client.query(failing), { code: '22012' })
    await client.end()
    started.starter.kill('SIGKILL')
    await isGone(t, started)
  },
)

t.test('a DATABASE_URL is used as it is, and its server is left alone', async (t) => {
  const { url, stop } = await startDatabase()
  t.teardown(stop)
  const opened = await openDatabase({ DATABASE_URL: url })
  t.equal(opened.url, url)
  await opened.stop()
  t.ok(await canConnect(url))

  await t.test(
    'whoever started it may stop it more than once, and nobody gets in without its password',
    async (t) => {
      const stranger = Object.assign(new URL(url), { password: 'guess' })
      t.notOk(await canConnect(stranger.href))
      await Promise.all([stop(), stop()])
      await stop()
      t.notOk(await canConnect(url))
    },
  )
})
