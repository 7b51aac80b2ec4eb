// A run that asks slotgate first: what it refuses, what the caller has to name, and what holds when slotgate is away.
// The database and the admin server are real; what the admin server advises is given.
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import type { AdviceOptions } from '../../src/kit/index.ts'
import type { AdviceResult } from '../../src/switch/types.ts'
import { advised, openDoor, privateKey, secretBytes } from '../admin/door.ts'
import { newFolder } from '../cli/terminal.ts'
import { type Release, release, trivial } from './fixture.ts'

const FILES = { ...trivial(1, 3), 'compat.json': '{"min":1,"max":3}' }

function keyFile(t: Test, name = 'viewer.key', content?: string): string {
  const file = join(newFolder(t), name)
  writeFileSync(file, content ?? privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
  return file
}

interface Asking extends Release {
  /** What slotgate was asked. */
  asked(): unknown[]
}

/** A release at 2, behind a slotgate that advises this about the migration to 3. */
async function behind(
  t: Test,
  advice: Partial<AdviceResult> | SlotgateError,
  { env = {}, ...options }: AdviceOptions = {},
): Promise<Asking> {
  const door = await openDoor(t, {
    overrides: {
      advice: async () => {
        if (advice instanceof SlotgateError) throw advice
        return { ...advised, ...advice }
      },
    },
  })
  const settings = {
    SLOTGATE_ADMIN: door.url,
    SLOTGATE_SERVICE: 'invoices',
    SLOTGATE_KEY: keyFile(t),
    ...env,
  }
  const asking = await at2(t, { env: settings, ...options })
  return { ...asking, asked: () => door.calls.map(({ args }) => args) }
}

/** Nobody is asked about the first two. */
async function at2(t: Test, { env = {}, ...options }: AdviceOptions): Promise<Release> {
  const changing: Record<string, string | undefined> = {}
  const made = await release(t, FILES, { env: changing, ...options })
  t.match(await made.run({ to: 2 }), { status: 200 })
  Object.assign(changing, env)
  return made
}

const current = async ({ status }: Release) => (await status()).json.current_schema_version

t.test('A06: a run that would break the live release is refused until the release is named', async (t) => {
  const r3 = await behind(t, {
    verdict: 'breaks_live',
    live: 'r2',
    breaks: ['r2'],
    sentence: 'r2 knows 1 to 2.',
  })
  const refused = {
    status: 409,
    json: { error: 'would_break_live', breaks: ['r2'], release: 'r2', detail: /r2 knows 1 to 2/ },
  }
  t.match(await r3.run({ to: 3 }), refused)
  t.match(await r3.run({ accept_breaks: ['r1'] }), refused, 'another release')
  t.match(await r3.run({ confirm: 'one_way_door' }), refused, 'another consequence')
  t.match(await r3.run({ dry_run: true }), refused, 'a dry run refuses what would be refused')
  t.match((await r3.run()).json.hint, /Promote r44 first.*\{"accept_breaks": \["r2"\]\}/)
  t.equal(await current(r3), 2)
  t.match(await r3.run({ to: 3, accept_breaks: ['r2'] }), {
    status: 200,
    json: { applied: ['003_step.sql'] },
  })
  t.equal(await current(r3), 3)
  t.same(r3.asked()[0], ['invoices', 3])
})

t.test('D10: a run that would close the way back is refused until that is confirmed', async (t) => {
  const closing: Partial<AdviceResult> = { verdict: 'one_way_door', live: 'r3', breaks: ['r2'] }
  const r3 = await behind(t, closing)
  const refused = { status: 409, json: { error: 'one_way_door', closes: ['r2'], retryable: false } }
  t.match(await r3.run(), refused)
  t.match(await r3.run({ confirm: 'yes' }), refused)
  t.match(await r3.run({ accept_breaks: ['r3'] }), refused)
  t.match((await r3.run()).json.hint, /\{"confirm": "one_way_door"\}/)
  t.equal(await current(r3), 2)
  t.match(await r3.run({ confirm: 'one_way_door' }), { status: 200 })
  const named = await behind(t, closing)
  t.match(await named.run({ accept_breaks: ['r2'] }), { status: 200 }, 'or by the name of the release')
})

for (const verdict of ['two_way_door', 'no_rollback_target'] as const) {
  t.test(`${verdict}: the run needs no word`, async (t) => {
    const r3 = await behind(t, { verdict, breaks: [] })
    t.match(await r3.run(), { status: 200, json: { from: 2, to: 3 } })
  })
}

t.test('what slotgate cannot tell is not taken for harmless', async (t) => {
  const r3 = await behind(t, { verdict: null, live: 'r2', breaks: [], sentence: 'r2 never said.' })
  t.match(await r3.run(), { status: 409, json: { error: 'advice_unknown', detail: /r2 never said/ } })
  t.match(await r3.run({ accept_breaks: ['r2'] }), { status: 200 })
})

t.test('a run waits for a switch to end, whatever the advice and whatever is accepted', async (t) => {
  const operation = {
    operation: 'deploy',
    release: 'r4',
    actor: 'ops',
    since: '2026-11-22T12:00:00.000Z',
    step: 'asking',
  } as const
  const r3 = await behind(t, { verdict: 'breaks_live', live: 'r2', operation })
  t.match(await r3.run({ accept_breaks: ['r2'] }), {
    status: 409,
    json: { error: 'operation_in_progress', retryable: true, operation: 'deploy', actor: 'ops' },
  })
  t.equal(await current(r3), 2)
})

t.test(
  'slotgate is asked for the version that the run would reach, and not where nothing would run',
  async (t) => {
    const r3 = await behind(t, { verdict: 'breaks_live', live: 'r2' })
    t.match(await r3.run({ to: 2 }), { status: 200, json: { applied: [] } })
    t.match(await r3.run({ to: 99 }), { status: 409, json: { error: 'outside_range' } })
    t.match(await r3.run({ expected_current: 7 }), {
      status: 409,
      json: { error: 'expected_current_mismatch' },
    })
    t.same(r3.asked(), [])
  },
)

t.test('without SLOTGATE_ADMIN nobody is asked', async (t) => {
  const r3 = await behind(t, { verdict: 'breaks_live' }, { env: { SLOTGATE_ADMIN: undefined } })
  t.match(await r3.run(), { status: 200 })
  t.same(r3.asked(), [])
})

t.test('a shared secret and the id of its key will do', async (t) => {
  const file = keyFile(t, 'any', secretBytes.toString('base64'))
  const r3 = await behind(
    t,
    { verdict: 'two_way_door' },
    { env: { SLOTGATE_KEY: file, SLOTGATE_KEY_ID: 'machine' } },
  )
  t.match(await r3.run(), { status: 200 })
})

/** A port where nobody listens any more. */
async function deadPort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

t.test('slotgate being away is a refusal that says so, unless it is configured otherwise', async (t) => {
  const admin = `http://127.0.0.1:${await deadPort()}`
  const settings = { SLOTGATE_ADMIN: admin, SLOTGATE_SERVICE: 'invoices', SLOTGATE_KEY: keyFile(t) }
  const careful = await at2(t, { env: settings })
  t.match(await careful.run({ accept_breaks: ['r2'], confirm: 'one_way_door' }), {
    status: 503,
    json: { error: 'slotgate_away', admin, retryable: true, detail: /ECONNREFUSED/ },
  })
  t.equal(await current(careful), 2)
  const sure = await at2(t, { env: settings, whenSlotgateIsAway: 'run' })
  t.match(await sure.run(), { status: 200 })
})

t.test('a slotgate that is stopping, or has too much to do, is away too', async (t) => {
  for (const code of ['shutting_down', 'rate_limited'] as const) {
    const r3 = await behind(t, new SlotgateError(code))
    t.match(await r3.run(), { status: 503, json: { error: 'slotgate_away' } }, code)
  }
})

t.test('what is set up wrong is refused even where slotgate may be away', async (t) => {
  const cases: [what: string, env: Record<string, string | undefined>, detail: RegExp][] = [
    ['no service', { SLOTGATE_SERVICE: undefined }, /SLOTGATE_SERVICE is not set/],
    ['no key', { SLOTGATE_KEY: undefined }, /SLOTGATE_KEY is not set/],
    ['no such file', { SLOTGATE_KEY: '/nowhere/ops.key' }, /nowhere.*ENOENT/],
    ['no key in the file', { SLOTGATE_KEY: keyFile(t, 'ops.key', 'hello!') }, /neither PEM nor base64/],
    ['no address', { SLOTGATE_ADMIN: 'http://:::' }, /SLOTGATE_ADMIN is no address/],
    ['an unknown key', { SLOTGATE_KEY_ID: 'nobody' }, /not accepted|refused|signature/i],
  ]
  for (const [what, env, detail] of cases) {
    const r3 = await behind(t, { verdict: 'two_way_door' }, { env, whenSlotgateIsAway: 'run' })
    t.match(await r3.run(), { status: 503, json: { error: 'advice_unavailable', detail } }, what)
    t.equal(await current(r3), 2, what)
  }
  const unknown = await behind(t, new SlotgateError('unknown_service', { service: 'invoices', known: [] }))
  t.match(await unknown.run(), {
    status: 503,
    json: { error: 'advice_unavailable', detail: /no service invoices/ },
  })
})

t.test('somebody else who listens there is not slotgate', async (t) => {
  for (const [code, body] of [
    [200, '{"hello":"world"}'],
    [200, 'hello'],
    [302, ''],
    [404, '{"error":"not found"}'],
  ] as const) {
    const stranger = createServer((_, res) => res.writeHead(code, { location: '/' }).end(body)).listen(
      0,
      '127.0.0.1',
    )
    await once(stranger, 'listening')
    t.teardown(() => stranger.close())
    const { port } = stranger.address() as AddressInfo
    const r3 = await behind(
      t,
      {},
      { env: { SLOTGATE_ADMIN: `127.0.0.1:${port}` }, whenSlotgateIsAway: 'run' },
    )
    t.match(await r3.run(), {
      status: 503,
      json: { error: 'advice_unavailable', detail: `it answered ${code}` },
    })
  }
})
