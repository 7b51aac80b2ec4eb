// `slotgate dev`, as somebody lives with it: it boots, sees saves, and keeps the old code where the new one is no good.
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createServer } from '../../src/http.ts'
import { Dev, SHOP as files, IS_LINUX, saying, sayingOnOnePort, withSchema } from '../support/dev.ts'

/** Opens its port once somebody else listens on the one that it leaves closed. */
const AFTER_A_STRANGER = `
import { once } from 'node:events'
import { connect } from 'node:net'
console.log('not', process.env.INTERNAL_PORT)
for (let isTaken = false; !isTaken; ) {
  const socket = connect(process.env.INTERNAL_PORT, '127.0.0.1')
  isTaken = await once(socket, 'connect').then(() => true, () => false)
  socket.destroy()
}
`

t.test('the command of the README is enough: the app is up, and its new code after a save', async (t) => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, words = ''] = /^npx slotgate dev (.*?) +#/m.exec(readme) ?? []
  t.ok(words)
  const onePort = sayingOnOnePort('one', AFTER_A_STRANGER)
  const dev = await Dev.start(t, {
    files: { ...files, 'server.js': onePort },
    args: () => words.split(' '),
  })
  ;[, dev.url = ''] = await dev.shows(/slotgate dev +(http:\S+)\n/)
  await dev.shows(/watching/)
  const [, port] = await dev.shows(/│ not (\d+)/)
  let asked = 0
  const stranger = createServer((request, response) => {
    asked++
    response.setHeader('connection', 'close').end(request.url)
  }).listen(Number(port), '127.0.0.1')
  t.teardown(() => stranger.close())
  const first = await dev.get()
  t.match(first, { status: 200, text: 'one' }, 'a request that comes early waits')
  t.match(
    dev.shown,
    /shop listens on PORT and not on INTERNAL_PORT.*schema: off/,
    'what it found out is said',
  )
  await t.test('another process on its second port is not taken for it', async (t) => {
    t.ok(asked > 0, 'not while it boots')
    for (let looks = 0; looks < 2; looks++) await once(stranger, 'connection')
    t.notMatch(dev.shown, 'after all', 'nor later')
  })

  await dev.save('server.js', sayingOnOnePort('two'))
  await dev.answers('two')
  await dev.shows(/✓ dev-2 is live/)
  t.equal(dev.shown.match(/schema: off/g)?.length, 1, 'once')

  await t.test('the other commands find it without a flag', async (t) => {
    const { code, stdout } = await dev.type('status', '--json')
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { service: 'shop', live: { release: 'dev-2' }, idle: { release: 'dev-1' } })
    t.equal(statSync(join(dev.folder, '.slotgate/dev.key')).mode & 0o777, 0o600)
    t.equal(await dev.read('.slotgate/.gitignore'), '*\n', 'git never sees the key')
  })

  await t.test('and when it ends nothing is left', async (t) => {
    t.equal(await dev.end('SIGINT'), 0)
    for (const path of ['dev.key', 'dev.admin', 'dev'])
      t.notOk(existsSync(join(dev.folder, '.slotgate', path)), path)
    if (IS_LINUX) t.strictSame(await dev.processes(), [])
    const { code, stderr } = await dev.type('status')
    t.match({ code, stderr }, { code: 2, stderr: /No key to sign with/ })
  })
})

t.test('code that is no good, or too slow', async (t) => {
  const dev = await Dev.start(t, { files: { ...files, 'server.js': 'process.exit(1)' } })
  await dev.shows(/watching/)

  await t.test('who comes while nothing is live is served by the first code that is', async (t) => {
    await dev.shows(/dev-1 did not start/)
    const waiting = dev.get('/', { accept: 'text/html' })
    await dev.save('server.js', saying('at last'))
    t.match(await waiting, { status: 200, text: 'at last' })
    await dev.shows(/✓ dev-2 is live/)
  })

  await t.test('code that does not start leaves the old code serving, and one block says why', async (t) => {
    await dev.save('server.js', saying('three', `console.error('no printer at all'); process.exit(3)`))
    await dev.shows(
      /✗ Release dev-3 did not start: it ended with exit code 3.*last lines of its output:\n *│ no printer at all\n/s,
    )
    t.match(await dev.get(), { status: 200, text: 'at last' })
  })

  await t.test('the newest change wins: a boot that is out of date is called off', async (t) => {
    await dev.save('server.js', `console.log('hanging'); setInterval(() => {}, 1000)`)
    await dev.shows(/dev-4 │ hanging/)
    await dev.save('server.js', saying('five'))
    await dev.answers('five')
    await dev.shows(/✓ dev-5 is live/)
    t.notMatch(dev.shown, /✗ Release dev-4/, 'what was called off is no failure')
    if (IS_LINUX) t.equal((await dev.processes()).length, 2, 'the live release and the one before')
  })

  await t.test(
    'what an app writes at each boot does not keep it from serving, however many files',
    async (t) => {
      const writes = `
      import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
      mkdirSync('tmp', { recursive: true })
      writeFileSync('tmp/' + process.pid, '')
      writeFileSync('db-journal', '')
      writeFileSync('db', String(process.pid))
      setTimeout(() => rmSync('db-journal', { force: true }), 100)
      const busy = setInterval(() => appendFileSync('app.log', 'x'), 20)
      await new Promise((resolve) => setTimeout(resolve, 600))
      clearInterval(busy)
    `
      await dev.save('server.js', saying('six', writes))
      for (const name of ['db', 'app.log']) {
        await dev.shows(new RegExp(`${name} changes whenever the app boots; from now on it is passed over`))
      }
      await dev.shows(/New files come in tmp\/ whenever the app boots/)
      await dev.answers('six')
      t.notMatch(dev.shown, '✗ Release dev-6')
    },
  )
})

t.test('an app with a schema', async (t) => {
  const slow = `while (!existsSync('.git/opens')) await new Promise((resolve) => setTimeout(resolve, 10))`
  const dev = await Dev.start(t, {
    files: { ...files, '.git/schema': '1', 'server.js': withSchema('one', [1, 2], slow) },
  })

  await t.test('is not taken for one without if it is slow to open its second port', async (t) => {
    await dev.shows(/schema: off/)
    await dev.shows(/watching/)
    await dev.save('.git/opens', '')
    await dev.shows(/it listens on INTERNAL_PORT after all: dev-2 boots.*✓ dev-2 is live/s)
    const { stdout } = await dev.type('status', '--json')
    t.match(JSON.parse(stdout), { schema: { check: 'on', current: 1 }, live: { release: 'dev-2' } })
  })

  await t.test('has migrations mentioned that need not run yet, once', async (t) => {
    await dev.shows(/! Release dev-2 ships migrations that have not run: 2_notes.sql. .*\/migrations\/run/)
    await dev.save('server.js', withSchema('two', [1, 2]))
    await dev.shows(/✓ dev-3 is live/)
    await dev.save('server.js', withSchema('three', [1, 3]))
    await dev.shows(/! Release dev-4 ships migrations that have not run: 3_notes.sql/)
    t.notMatch(dev.shown, 'Release dev-3 ships')
  })

  await t.test('waits for those that have to run, and the terminal has the command', async (t) => {
    await dev.save('server.js', withSchema('four', [2, 2]))
    const [, curl = ''] = await dev.shows(
      /schema_behind_code.*dev-4 is live; dev-5 stays up.*\n *(curl -X POST http:\S+)\n/s,
    )
    const page = await dev.get('/', { accept: 'text/html' })
    t.equal(page.text, 'three')
    t.equal(
      page.headers['slotgate-dev'],
      'live="dev-4", refused="dev-5", code=schema_behind_code, pending=("2_notes.sql")',
    )
    await fetch(curl.replace('curl -X POST ', ''), { method: 'POST' })
    t.equal((await dev.type('promote')).code, 0)
    await dev.answers('four')
    await dev.shows(/✓ dev-5 is live/)
    t.equal((await dev.get('/', { accept: 'text/html' })).headers['slotgate-dev'], 'live="dev-5"')
  })

  await t.test('has its pages left as they are without --overlay, and each path to itself', async (t) => {
    for (const path of ['/', '/.slotgate/dev?service=shop']) {
      const { text, headers } = await dev.get(path, { accept: 'text/html' })
      t.match({ text, etag: headers.etag }, { text: /^four$/, etag: '"a"' }, path)
      t.equal(headers['content-security-policy'], "default-src 'self'")
    }
  })
})
