// The links that let a browser into a preview: what their cookies are like, how they end, and that nobody writes them down.
import { once } from 'node:events'
import { chmod, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { request } from 'undici'
import { WebSocket } from 'ws'
import { SlotgateError } from '../../src/errors.ts'
import { cookieFrom, end, follow, HOST, open, PREVIEW, see, withStaged } from '../support/previews.ts'
import { World } from '../support/world.ts'

/** What counts from a trusted proxy alone. */
const HTTPS = { 'x-forwarded-proto': 'https' }

t.test('a link sets a cookie that only the front door can read, and leads nowhere else', async (t) => {
  const world = await withStaged(t)
  const { status, body } = await open(world, 3_600_000)
  t.match({ status, body }, { status: 200, body: { operation: 'preview', release: 'r43', generation: 1 } })
  t.match(body.link, /^http:\/\/127\.0\.0\.1:\d+\/\.slotgate\/preview\?pass=\d+\.[\w-]{43}$/)
  const { answer, set } = await follow(world, `${body.link}&to=//evil.test&x=/evil`, HTTPS)
  t.equal(answer.statusCode, 303)
  t.match(set, /^slotgate-preview-invoices=\d+\.[\w-]{43}; Path=\/; Max-Age=(\d+); HttpOnly; SameSite=Lax$/)
  const maxAge = Number(/Max-Age=(\d+)/.exec(set)?.[1])
  t.ok(maxAge > 3_500 && maxAge <= 3_600)
  t.match(answer.headers, {
    location: '/',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'clear-site-data': '"cache"',
  })
  const gone = await follow(world, body.link.split('?')[0])
  t.match(gone.set, /^slotgate-preview-invoices=; Path=\/; Max-Age=0; HttpOnly/, 'without a pass one leaves')
  const refused = await request(world.url + new URL(body.link).pathname, { method: 'POST' })
  t.equal(refused.statusCode, 405)
  await refused.body.dump()
  const socket = new WebSocket(body.link.replace('http', 'ws')).on('error', () => {})
  const [, said] = await Promise.race([once(socket, 'unexpected-response'), once(socket, 'open')])
  t.equal(said?.statusCode, 400, 'no app gets the pass of an upgrade either')
  said?.destroy()
})

t.test(
  'a pass is written down nowhere: not in the journal, not in the log, and no app gets it',
  async (t) => {
    const world = await withStaged(t)
    const { body } = await open(world)
    const pass = new URL(body.link).searchParams.get('pass') ?? ''
    const { cookie } = await follow(world, body.link)
    const echoed = await request(`${world.url}/?a=b`, { headers: { cookie: `a=b; ${cookie}; c=d` } })
    t.match(await echoed.body.json(), { release: 'r43' })
    const line = await world.until(
      async () => world.logLines.find((one) => one.includes('"preview":true')),
      'the request is in the log',
    )
    t.match(JSON.parse(line), { service: 'invoices', release: 'r43', slot: 'green' })
    t.notOk('generation' in JSON.parse(line), 'which has none: that of a preview is nobody else’s')
    t.notOk(world.logLines.some((one) => one.includes(pass)))
    t.match(await world.history(), [{ event: 'preview_opened', actor: 'ops', until: body.until }])
    t.notOk(JSON.stringify(await world.history()).includes(pass))
  },
)

t.test('over TLS at a trusted proxy the cookie is for TLS alone', async (t) => {
  const behind = await World.create(t)
  behind.service = PREVIEW
  behind.settings = ['threads: 0', 'relay: { trusted_proxies: [127.0.0.1] }']
  await behind.start(t)
  t.match((await follow(behind, (await open(behind)).body.link, HTTPS)).set, /; Secure$/)
  t.notMatch((await follow(behind, (await open(behind)).body.link)).set, /Secure/)
})

t.test('a pass ends with its time, with --end, and is good for its own service alone', async (t) => {
  const world = await withStaged(t)
  const { body } = await open(world, 1_000)
  const short = await follow(world, body.link)
  await world.until(async () => Date.now() > Date.parse(body.until), 'its time is up')
  t.match(await follow(world, body.link), { answer: { statusCode: 403 }, text: /"code":"preview_over"/ })
  t.match(await see(world, { cookie: short.cookie }), { release: 'r42' })
  const { cookie } = await cookieFrom(world)
  t.match(await see(world, { cookie }), { release: 'r43' })
  t.match(await end(world), { status: 200, body: { operation: 'end_previews' } })
  t.match(await see(world, { cookie }), { release: 'r42' })
  const again = await cookieFrom(world)
  t.match(await see(world, again), { release: 'r43' })
  t.match(await see(world, { host: HOST }), { release: 'r43' }, 'a host needs no pass')
  for (const forged of [
    again.cookie.replace('invoices', 'orders'),
    `${again.cookie}x`,
    again.cookie.slice(0, -1),
  ])
    t.match(await see(world, { cookie: forged }), { release: 'r42' })
  const [name, value = ''] = again.cookie.split('=')
  const later = value.replace(/^\d+/, (expires) => String(Number(expires) + 3_600))
  t.match(await see(world, { cookie: `${name}=${later}` }), { release: 'r42' })
  t.match(
    await see(world, { cookie: `${name}=old; ${again.cookie}` }),
    { release: 'r43' },
    'one of two is enough',
  )
})

t.test('a pass, and the end of it, outlive slotgate', async (t) => {
  const world = await World.create(t)
  world.service = PREVIEW
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.addRelease('r43', { min: 42, max: 43 })
  const first = await world.spawn(t)
  await world.deploy('r42')
  await world.stage('r43')
  const ended = await cookieFrom(world)
  await end(world)
  const good = await cookieFrom(world)
  first.kill('SIGKILL')
  await first.exited
  await world.start(t)
  t.match(await see(world, ended), { release: 'r42' })
  t.match(await see(world, good), { release: 'r43' })
  const secret = join(world.stateDir, 'preview.secret')
  t.equal((await stat(secret)).mode & 0o777, 0o600)
  t.equal((await readFile(secret)).length, 32)
})

t.test('a secret that others can read stops the start', async (t) => {
  const world = await World.create(t)
  world.service = PREVIEW
  const close = await world.start(t)
  await close()
  await chmod(join(world.stateDir, 'preview.secret'), 0o644)
  const failed = await world.start(t).catch((error) => error)
  t.ok(failed instanceof SlotgateError)
  t.match(failed, { code: 'state_dir_unusable', message: /chmod 600/ })
})
