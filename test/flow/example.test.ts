// The example app behind slotgate, on real PostgreSQL; and what slotgate itself never touches.
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { exampleService } from '../support/example.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { World } from '../support/world.ts'

async function createExample(t: Test, url: string): Promise<World> {
  const world = await World.create(t)
  world.services = exampleService({ DATABASE_URL: url })
  return world
}

/** r1 live at this version of the schema, migrated by r1 itself. */
async function withFirst(t: Test, url: string, version: number): Promise<World> {
  const world = await createExample(t, url)
  await world.start(t)
  await stageAndMigrate(world, 'r1', version)
  t.match(await world.promote(), { status: 200 })
  return world
}

async function stageAndMigrate(world: World, release: string, to: number): Promise<void> {
  const { body } = await world.stage(release)
  const migrated = await fetch(`${body.internal_url}/migrations/run`, {
    method: 'POST',
    body: JSON.stringify({ to }),
  })
  if (migrated.status !== 200) throw new Error(await migrated.text())
}

async function send(world: World, method: 'GET' | 'POST' | 'PATCH', path: string, json?: unknown) {
  const response = await request(world.url + path, {
    method,
    ...(json !== undefined && {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(json),
    }),
  })
  return { status: response.statusCode, body: await response.body.json() }
}

t.test(
  'B09: data written by the new code survives a permitted rollback, and is there after rolling forward',
  async (t) => {
    const { url } = await createTestDatabase(t)
    const world = await withFirst(t, url, 2)
    t.match(await world.deploy('r2'), { status: 200, body: { live: { release: 'r2' } } })
    t.match(await send(world, 'POST', '/invoices', { customer: 'ACME', total: 5, notes: 'kept' }), {
      status: 201,
      body: { id: 1, notes: 'kept' },
    })
    t.match(await world.rollback(), { status: 200, body: { live: { release: 'r1' } } })
    t.match(await send(world, 'PATCH', '/invoices/1', { total: 6 }), { status: 200, body: { total: 6 } })
    t.match(await world.deploy('r2'), { status: 200 })
    t.match(await send(world, 'GET', '/invoices/1'), { status: 200, body: { total: 6, notes: 'kept' } })
  },
)

t.test('the page lists invoices, escapes what people type, and says which release answered', async (t) => {
  const { url } = await createTestDatabase(t)
  const world = await withFirst(t, url, 1)
  const posted = await request(`${world.url}/invoices`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ customer: '<b>Bobby</b>', total: '12' }).toString(),
  })
  t.equal(posted.statusCode, 303)
  const { text } = await world.get()
  t.match(text, /&lt;b&gt;Bobby&lt;\/b&gt;/)
  t.notMatch(text, /<b>Bobby/)
  t.match(text, /r1 in blue/)
})

t.test('r3 serves through the rename of a column it works with', async (t) => {
  const { url } = await createTestDatabase(t)
  const world = await withFirst(t, url, 2)
  await world.deploy('r2')
  t.match(await world.deploy('r3'), { status: 200 })
  const { live } = await world.status()
  let running = true
  const statuses = new Set<number>()
  const writing = (async () => {
    for (let total = 1; running; total++) {
      statuses.add((await send(world, 'POST', '/invoices', { customer: 'ACME', total })).status)
    }
  })()
  const migrated = await fetch(`${live?.internal_url}/migrations/run`, { method: 'POST', body: '{"to": 3}' })
  t.equal(migrated.status, 200)
  await world.until(
    async () => (await send(world, 'GET', '/invoices')).status === 200,
    'it is asked after the rename',
  )
  running = false
  await writing
  t.same([...statuses], [201])
  t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code' } })
})

/** A way to a database that can be closed: what is open ends, and nobody listens any more. */
async function openWay(t: Test, to: string): Promise<{ url: string; close(): void }> {
  const { hostname, port } = new URL(to)
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(Number(port), hostname)
    for (const socket of [near, far]) sockets.add(socket.on('error', () => {}))
    near.pipe(far).pipe(near)
  }).listen(0, '127.0.0.1')
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  t.teardown(close)
  await once(server, 'listening')
  const url = new URL(to)
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url: url.href, close }
}

t.test('E07: with the database down a deploy is refused, and live keeps being reached', async (t) => {
  const { url } = await createTestDatabase(t)
  const database = await openWay(t, url)
  const world = await withFirst(t, database.url, 2)
  database.close()
  t.match(await world.deploy('r2'), {
    status: 422,
    body: {
      code: 'schema_status_unavailable',
      retryable: true,
      detail: /503: it cannot say now how code and schema fit \(database_unavailable: The database cannot be/,
    },
  })
  t.match(await world.status(), { generation: 1, live: { release: 'r1', healthy: true, schema: null } })
  t.equal((await world.get('/nothing-here')).status, 404, 'the live release still answers')
})

t.test(
  'B07: slotgate opens nothing under migrations/, knows no DATABASE_URL, and serves without a database',
  async (t) => {
    const { url } = await createTestDatabase(t)
    const world = await createExample(t, url)
    const opened = join(world.folder, 'opened')
    world.preload = fileURLToPath(new URL('../support/opened.ts', import.meta.url))
    world.serveEnv = { OPENED: opened, DATABASE_URL: undefined }
    await world.spawn(t)
    await stageAndMigrate(world, 'r1', 2)
    t.match(await world.promote(), { status: 200 })
    t.match(await world.deploy('r2'), { status: 200 })
    t.match(await world.rollback(), { status: 200 })
    t.equal((await world.get()).status, 200)
    const paths = (await readFile(opened, 'utf8')).split('\n')
    t.ok(
      paths.some((path) => path.endsWith('proxy.config.yaml')),
      'what it opens is seen',
    )
    t.same(
      paths.filter((path) => path.includes('migrations') || path.endsWith('.sql')),
      [],
    )
  },
)
