// Advice before a migration, end to end: slotgate, real releases on real PostgreSQL, and a kit that asks first.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { generateKey, writeKeyFile } from '../../src/cli/keyfile.ts'
import { DatabaseWorld, filesUpTo } from '../support/database-world.ts'
import { exampleService } from '../support/example.ts'
import { FAULTS, type Mix, startFaultProxy } from '../support/fault-proxy.ts'
import { createTestDatabase } from '../support/postgres.ts'
import { type Answer, World } from '../support/world.ts'

const FAULTLESS = Object.fromEntries(FAULTS.map((kind) => [kind, kind === 'none' ? 1 : 0])) as Mix

/**
 * What the releases find in their environment to ask slotgate: a key that may only read, and an address. The admin's own
 * port is not known before the config is read, so the address is that of a wire to it.
 */
async function askingEnvironment(t: Test, world: World): Promise<Record<string, string>> {
  const file = join(world.folder, 'advice.key')
  const { content, publicKey } = generateKey('ed25519')
  writeKeyFile(file, content)
  world.keys = [`{ id: advice, algorithm: ed25519, public_key: "${publicKey}", allow: [read] }`]
  const wire = await startFaultProxy(t, () => world.doors.admin.port, Math.random, FAULTLESS)
  return { SLOTGATE_ADMIN: `http://127.0.0.1:${wire.port}`, SLOTGATE_KEY: file }
}

async function runAt(internalUrl: string | null | undefined, body: object): Promise<Answer> {
  const response = await fetch(`${internalUrl}/migrations/run`, {
    method: 'POST',
    body: JSON.stringify(body),
  })
  return { status: response.status, body: await response.json() }
}

/** POST /migrations/run on the internal port of what is in a slot. */
const run = async (world: World, slot: 'live' | 'idle', body: object): Promise<Answer> =>
  runAt((await world.status())[slot]?.internal_url, body)

/** The invoice app: r2, which works with schema 2 alone, is live; r1 was before it, r3 is staged and works with 2 and 3. */
async function example(t: Test) {
  const { url, pool } = await createTestDatabase(t)
  const world = await World.create(t)
  const env = { DATABASE_URL: url, ...(await askingEnvironment(t, world)) }
  world.services = exampleService(env)
  const served = await world.spawn(t)
  await world.stage('r1')
  t.match(await run(world, 'idle', { to: 2 }), { status: 200 }, 'nothing is live, so nothing can break')
  t.match(await world.promote(), { status: 200 })
  t.match(await world.deploy('r2'), { status: 200 })
  t.match(await world.stage('r3'), { status: 200 })
  const version = async () => (await pool.query('SELECT max(version) FROM schema_migrations')).rows[0].max
  return { world, served, version: async () => Number(await version()) }
}

t.test(
  'a migration that would break live is refused, also while slotgate is gone; the order that it proposes is not',
  async (t) => {
    const { world, version, served } = await example(t)
    t.match(await world.advice(3), {
      status: 200,
      body: { verdict: 'breaks_live', from: 2, breaks: ['r2', 'r1'], opens: [], live: 'r2', operation: null },
    })
    t.match(await run(world, 'idle', { to: 3 }), {
      status: 409,
      body: {
        error: 'would_break_live',
        breaks: ['r2', 'r1'],
        hint: /Promote r3 first: it works with 2 and with 3.*\{"accept_breaks": \["r2"\]\}/,
      },
    })
    const { idle } = await world.status()
    served.kill('SIGKILL')
    await served.exited
    t.match(await runAt(idle?.internal_url, { accept_breaks: ['r2'] }), {
      status: 503,
      body: { error: 'slotgate_away', retryable: true },
    })
    t.equal(await version(), 2)

    await world.start(t)
    t.match(await world.promote(), { status: 200, body: { live: { release: 'r3' } } })
    t.match((await world.status()).door, { open: true, to: 'r2' })
    t.match(await run(world, 'live', {}), {
      status: 409,
      body: { error: 'one_way_door', closes: ['r2', 'r1'] },
    })
    t.match(await run(world, 'live', { confirm: 'one_way_door' }), { status: 200, body: { from: 2, to: 3 } })
    t.equal(await version(), 3)
    t.match((await world.status()).door, { open: false, to: 'r2', code: 'schema_ahead_of_code' })
    t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code' } })
  },
)

/** A database at 43 and these releases deployed in turn, each with its range; the last one is live. */
async function deployed(t: Test, releases: Record<string, [number, number]>): Promise<DatabaseWorld> {
  const made = await DatabaseWorld.create(t, 43)
  Object.assign(made.world.env, await askingEnvironment(t, made.world))
  for (const [id, range] of Object.entries(releases)) await made.addRelease(id, range, filesUpTo(range[1]))
  await made.world.start(t)
  for (const id of Object.keys(releases)) await made.world.deploy(id)
  return made
}

t.test(
  'A05, A06: advice before the drop says live would break, and no migration does that to a live release not named',
  async (t) => {
    const made = await deployed(t, { r43: [42, 43], r44: [44, 44] })
    const { world } = made
    t.match((await world.advice(44)).body, {
      verdict: 'breaks_live',
      breaks: ['r43'],
      opens: ['r44'],
      hint: /ship an intermediate release whose range contains 43 and 44/,
      warnings: [{ code: 'no_common_schema_version' }],
    })
    const largest = Number.MAX_SAFE_INTEGER
    t.match(await world.advice(largest), { status: 200, body: { to: largest } }, 'any version there can be')
    t.match(await run(world, 'idle', { to: 44 }), {
      status: 409,
      body: { error: 'would_break_live', breaks: ['r43'] },
    })
    t.equal(await made.version(), 43)
    t.match(await run(world, 'idle', { to: 44, accept_breaks: ['r43'] }), { status: 200 })
    t.equal(await made.version(), 44)
    t.match(await world.promote(), { status: 200, body: { live: { release: 'r44' } } })
  },
)

t.test(
  'D10: what is staged is asked too, and once it is live its migration closes the door, if that is meant',
  async (t) => {
    const made = await deployed(t, { r43: [42, 43] })
    const { world } = made
    await made.addRelease('r44', [43, 44], filesUpTo(44))
    await world.stage('r44')
    const { body } = await world.advice(44)
    t.match(body.hint, 'Promote r44 first')
    t.match(body.per_release, [
      { release: 'r43', role: 'live', range: { min: 42, max: 43 }, fits_now: true, fits_then: false },
      { release: 'r44', role: 'staged', range: { min: 43, max: 44 }, fits_now: true, fits_then: true },
    ])
    t.match(await world.promote(), { status: 200 })
    t.match((await world.status()).door, { open: true, to: 'r43' })
    t.match(await run(world, 'live', { to: 44 }), {
      status: 409,
      body: { error: 'one_way_door', closes: ['r43'] },
    })
    t.equal(await made.version(), 43)
    t.match(await run(world, 'live', { to: 44, confirm: 'one_way_door' }), { status: 200 })
    t.equal(await made.version(), 44)
    t.match((await world.status()).door, { open: false, to: 'r43', code: 'schema_ahead_of_code' })
  },
)

t.test('an older release holds the door open, and the status says how to go to it', async (t) => {
  const { world } = await deployed(t, { r42: [41, 44], r43: [42, 43], r44: [43, 44] })
  t.match((await world.advice(44)).body, { verdict: 'two_way_door', breaks: ['r43'] })
  t.match(await run(world, 'live', { to: 44 }), { status: 200 })
  t.match((await world.status()).door, { open: true, to: 'r42', sentence: /slotgate rollback --to r42/ })
  t.match(await world.rollback(), { status: 422, body: { code: 'schema_ahead_of_code' } })
  t.match(await world.rollback('r42'), { status: 200, body: { live: { release: 'r42' } } })
})

t.test('with `schema: off` there is no advice, and nothing is live where nothing was promoted', async (t) => {
  const world = await World.create(t)
  world.service = ['schema: off']
  await world.addRelease('r42', { min: 41, max: 43 })
  await world.start(t)
  t.match((await world.advice(43)).body, {
    verdict: null,
    live: null,
    warnings: [{ code: 'schema_check_disabled' }],
  })
  t.match(await world.call('GET', '/v1/services/payments/advice?to=43'), { status: 404 })
})
