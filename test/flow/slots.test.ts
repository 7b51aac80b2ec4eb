// Slots that something else runs, reached by their addresses; and every unusable status a candidate there can give.

import { randomUUID } from 'node:crypto'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FITTING } from '../support/schema-status.ts'
import { World } from '../support/world.ts'

/** One slot as somebody else would run it: a public server and an internal one. */
class Slot {
  readonly name: string
  /** What the internal server answers at /schema/status. */
  answer: RequestListener = (_, res) => res.end(JSON.stringify(FITTING))
  healthy = true
  asked: string[] = []
  publicUrl = ''
  internalUrl = ''
  #servers: Server[] = []

  constructor(name: string) {
    this.name = name
  }

  async open(t: Pick<Test, 'teardown'>, socketPath?: string): Promise<void> {
    const front = createServer((_, res) => res.setHeader('x-release', this.name).end(this.name))
    const internal = createServer((req, res) => {
      this.asked.push(`${req.method} ${req.url}`)
      if (req.url === '/healthz') return res.writeHead(this.healthy ? 200 : 500).end()
      this.answer(req, res)
    })
    this.#servers = [front, internal]
    await Promise.all([listen(front), listen(internal, socketPath)])
    this.publicUrl = `http://127.0.0.1:${(front.address() as AddressInfo).port}`
    this.internalUrl = socketPath
      ? `unix:${socketPath}`
      : `http://127.0.0.1:${(internal.address() as AddressInfo).port}`
    t.teardown(() => this.close())
  }

  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}

const listen = (server: Server, path?: string): Promise<void> =>
  new Promise((resolve) => (path ? server.listen(path, resolve) : server.listen(0, '127.0.0.1', resolve)))

async function createSlots(t: Test, { socketPath, first }: { socketPath?: string; first?: string } = {}) {
  const world = await World.create(t)
  const [blue, green] = [new Slot('blue'), new Slot('green')]
  await blue.open(t)
  await green.open(t, socketPath)
  const lines = [
    '  invoices:',
    '    slots:',
    `      blue: { public: "${blue.publicUrl}", internal: "${blue.internalUrl}" }`,
    `      green: { public: "${green.publicUrl}", internal: "${green.internalUrl}" }`,
    '    health: { interval: 20ms, timeout: 500ms, within: 1s }',
    '    schema: { path: /schema/status, within: 1s }',
    ...(first ? [`    first: ${first}`] : []),
  ]
  world.services = lines
  await world.start(t)
  return { world, blue, green }
}

t.test(
  'B13: what runs in the slots is promoted without being booted, and switched back and forth',
  async (t) => {
    const { world } = await createSlots(t)
    t.equal((await world.get()).status, 503)
    t.match(await world.promote(), { status: 200, body: { generation: 1, live: { slot: 'blue' } } })
    t.match(await world.get(), { release: 'blue' })
    t.match(await world.deploy('r43'), { status: 200, body: { live: { slot: 'green', release: 'r43' } } })
    t.match(await world.get(), { release: 'green' })
    t.match(await world.rollback(), { status: 200, body: { live: { slot: 'blue' } } })
    t.match(await world.get(), { release: 'blue' })
  },
)

t.test('an internal address may be a Unix socket', async (t) => {
  const { world, green } = await createSlots(t, { socketPath: join(tmpdir(), `${randomUUID()}.sock`) })
  await world.promote()
  t.match(await world.promote(), { status: 200, body: { live: { slot: 'green' } } })
  t.ok(green.asked.includes('GET /schema/status'))
  t.match((await world.status()).live, { internal_url: /^unix:/ })
})

t.test('`first` is promoted by itself, through the gate, once it passes', async (t) => {
  const { world, green } = await createSlots(t, { first: 'green' })
  const status = await world.until(async () => {
    const now = await world.status()
    return now.generation === 1 && now
  }, 'it is promoted')
  t.match(status, { live: { slot: 'green', release: 'green' } })
  t.ok(green.asked.includes('GET /schema/status'))
  t.match(
    (await world.history()).find(({ event }) => event === 'flipped'),
    { actor: 'slotgate', release: 'green' },
  )
})

t.test('`first` that does not fit yet waits until it does', async (t) => {
  const world = await World.create(t, 41)
  await world.addRelease('r42', { min: 42, max: 43 })
  world.service = ['first: r42']
  await world.start(t)
  await world.until(async () => (await world.status()).idle.release === 'r42', 'it is staged')
  t.equal((await world.get()).status, 503)
  await world.migrate(42)
  await world.until(async () => (await world.get()).release === 'r42', 'it is promoted')
  const flips = (await world.history()).filter(({ event }) => event === 'flipped')
  t.match(flips, [{ actor: 'slotgate', generation: 1 }])
})

t.test(
  'a slot that is not healthy is not promoted, and a release that runs nowhere cannot be gone back to',
  async (t) => {
    const { world, green } = await createSlots(t)
    await world.promote()
    green.healthy = false
    t.match(await world.deploy('r43'), {
      status: 424,
      body: { code: 'target_boot_failed', detail: /answers 500/ },
    })
    green.healthy = true
    await world.deploy('r43')
    await world.deploy('r44')
    t.match(await world.rollback('blue'), { status: 409, body: { code: 'release_not_running' } })
  },
)

t.test('after a restart of slotgate the slots are served at once, without being asked first', async (t) => {
  const world = await World.create(t)
  const [blue, green] = [new Slot('blue'), new Slot('green')]
  await Promise.all([blue.open(t), green.open(t)])
  world.services = [
    '  invoices:',
    '    slots:',
    `      blue: { public: "${blue.publicUrl}", internal: "${blue.internalUrl}" }`,
    `      green: { public: "${green.publicUrl}", internal: "${green.internalUrl}" }`,
    '    drain: { within: 1s, tunnels_within: 1s }',
  ]
  const close = await world.start(t)
  await world.promote()
  await world.promote()
  await close()
  blue.healthy = false
  green.healthy = false
  await world.start(t)
  t.match(await world.get(), { status: 200, release: 'green' })
  t.match(await world.status(), { generation: 2, live: { slot: 'green' } })
})

const json =
  (status: Record<string, unknown>): RequestListener =>
  (_, res) =>
    void res.end(JSON.stringify({ ...FITTING, ...status }))
const raw =
  (body: string, code = 200): RequestListener =>
  (_, res) =>
    void res.writeHead(code).end(body)

const UNUSABLE: [string, string, RequestListener, string][] = [
  [
    'C01',
    'compatible:true contradicts the range',
    json({ code_max_schema_version: 41, code_min_schema_version: 40 }),
    'schema_ahead_of_code',
  ],
  [
    'C02',
    'min greater than max',
    json({ code_min_schema_version: 43, code_max_schema_version: 41 }),
    'schema_range_invalid',
  ],
  [
    'C03',
    'missing current_schema_version',
    json({ current_schema_version: undefined }),
    'schema_status_malformed',
  ],
  ['C05', 'version 42.5', json({ current_schema_version: 42.5 }), 'schema_status_malformed'],
  ['C06', 'version -1', json({ current_schema_version: -1 }), 'schema_status_malformed'],
  ['C07', 'compatible missing', json({ compatible: undefined }), 'schema_status_malformed'],
  ['C09', 'status 503 with a valid body', raw(JSON.stringify(FITTING), 503), 'schema_status_unavailable'],
  [
    'C10',
    'redirect to another URL',
    (_, res) => void res.writeHead(302, { location: '/schema/status2' }).end(),
    'schema_status_redirected',
  ],
  [
    'C13',
    '70 000 byte body',
    raw(JSON.stringify({ ...FITTING, release: 'x'.repeat(70_000) })),
    'schema_status_too_large',
  ],
  ['C14', 'connection refused', (req) => void req.socket.resetAndDestroy(), 'schema_status_unreachable'],
  ['C15', '404: the release has no such endpoint', raw('not here', 404), 'schema_status_not_found'],
  ['C17', 'same number, different database_id', json({ database_id: 'prod' }), 'schema_database_mismatch'],
  [
    'C18',
    'candidate reads 42, live reads 43',
    json({ current_schema_version: 41 }),
    'schema_version_disagreement',
  ],
  [
    'A19',
    'the same number from different histories',
    json({ database_id: 'db1', schema_digest: 'aaa' }),
    'schema_history_disagreement',
  ],
  [
    'B02',
    'the range ends below the version',
    json({ code_min_schema_version: 38, code_max_schema_version: 40, compatible: false }),
    'schema_ahead_of_code',
  ],
  ['B05', 'in range, but the app says false', json({ compatible: false }), 'schema_declared_incompatible'],
  ['C00', 'a status that never comes', () => {}, 'schema_status_timeout'],
]

t.test(
  'a candidate with an unusable or unfitting status is refused in time, and live never noticed',
  async (t) => {
    const { world, blue, green } = await createSlots(t)
    blue.answer = json({ database_id: 'db1', schema_digest: 'bbb' })
    await world.promote()
    for (const [id, title, answer, code] of UNUSABLE) {
      await t.test(`${id}: ${title}`, async (t) => {
        green.answer = answer
        const started = performance.now()
        const refused = await world.promote()
        const tookMs = performance.now() - started
        t.match(refused, { status: 422, body: { code, stage: 'gate', verdict: { allowed: false } } })
        // Nearer to the deadline of 1 s, a busy machine would be what is tested.
        t.ok(
          tookMs < 3_000,
          `decided after ${Math.round(tookMs)} ms, before the deadline that is the default`,
        )
        if (code === 'schema_status_timeout') t.ok(refused.body.within_ms <= 1_000)
        t.match(await world.get(), { status: 200, release: 'blue' })
        t.equal((await world.status()).generation, 1)
      })
    }
  },
)

t.test('C16: an old process still holds the port: the boot id differs', async (t) => {
  const world = await World.create(t)
  await world.addRelease('r42', { min: 41, max: 43, status: { boot_id: 'old' } })
  await world.start(t)
  t.match(await world.deploy('r42'), { status: 422, body: { code: 'schema_wrong_process' } })
})

t.test(
  'C19: a migration commits between the two reads: the second attempt agrees, the switch proceeds',
  async (t) => {
    const { world, blue, green } = await createSlots(t)
    await world.promote()
    blue.answer = json({ current_schema_version: 43 })
    let reads = 0
    green.answer = (req, res) => json({ current_schema_version: reads++ === 0 ? 42 : 43 })(req, res)
    t.match(await world.promote(), { status: 200, body: { attempts: 2, live: { slot: 'green' } } })
  },
)

t.test(
  'what changes between the look and the flip is judged again; what never settles is refused',
  async (t) => {
    const { world, green } = await createSlots(t)
    await world.promote()
    let reads = 0
    green.answer = (req, res) => json({ schema_digest: `digest ${reads++}` })(req, res)
    t.match(await world.promote(), { status: 422, body: { code: 'schema_unsettled', retryable: true } })
    t.equal(reads, 6, 'three times two looks')
    reads = 0
    green.answer = (req, res) => json({ schema_digest: `digest ${Math.min(reads++, 1)}` })(req, res)
    t.match(await world.promote(), { status: 200 })
  },
)
