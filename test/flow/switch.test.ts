// Stage, check, promote, roll back and deploy, over the signed admin door and the front door, with real processes.

import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { isRunning, World, withLive } from '../support/world.ts'

const refuses = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', () => resolve(true))
  })

const portOf = (url: string | null | undefined): number => Number(new URL(url ?? 'http://x:0').port)

t.test(
  'before the first promotion the front door answers 503, and the first deploy goes to blue',
  async (t) => {
    const world = await World.create(t)
    await world.addRelease('r42', { min: 41, max: 43 })
    await world.start(t)
    t.match(await world.get(), { status: 503, retryAfter: /\d/ })
    t.match(await world.status(), { generation: 0, live: null, idle: { slot: 'blue', state: 'empty' } })
    t.match(await world.deploy('r42'), {
      status: 200,
      body: { operation: 'deploy', generation: 1, live: { slot: 'blue', release: 'r42' }, previous: null },
    })
    t.match(await world.get(), { status: 200, release: 'r42' })
  },
)

t.test('staging boots into the idle slot and routes nobody to it; promoting does', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  const staged = await world.stage('r43')
  t.match(staged, {
    status: 200,
    body: { slot: 'green', release: 'r43', generation: 1, internal_url: /^http/ },
  })
  t.match(await world.get(), { release: 'r42' })
  t.match(await world.status(), {
    live: {
      slot: 'blue',
      release: 'r42',
      healthy: true,
      schema: { current: 42, min: 41, max: 43, in_range: true },
    },
    idle: { slot: 'green', release: 'r43', state: 'running', schema: { min: 42, max: 43 } },
  })
  t.match(await world.check('promote'), {
    status: 200,
    body: { allowed: true, release: 'r43', verdict: { code: 'schema_ok' } },
  })
  t.match(await world.promote('"1"'), {
    status: 200,
    body: {
      generation: 2,
      live: { slot: 'green', release: 'r43' },
      previous: { slot: 'blue', release: 'r42' },
    },
  })
  t.match(await world.get(), { release: 'r43' })
})

t.test('a candidate refused at promote stays up, and the answer names its internal URL', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 43, max: 43 })
  const refused = await world.deploy('r43')
  t.match(refused, {
    status: 422,
    body: {
      code: 'schema_behind_code',
      detail: 'Release r43 needs schema 43 or newer; the database is at 42.',
      stage: 'gate',
      retryable: false,
      min: 43,
      current: 42,
      internal_url: /^http:\/\/127\.0\.0\.1:\d+$/,
      hint: /POST http:\/\/127\.0\.0\.1:\d+\/migrations\/run/,
      verdict: { allowed: false, reasons: [{ code: 'schema_behind_code' }] },
    },
  })
  t.match(await world.get(), { release: 'r42' })
  const migrated = await fetch(`${refused.body.internal_url}/migrations/run`, { method: 'POST' })
  t.equal(migrated.status, 200, 'the candidate is up and runs its own migration')
  t.match(await world.promote(), { status: 200, body: { live: { release: 'r43' } } })
  t.match(await world.get(), { release: 'r43' })
})

t.test(
  'a rollback asks the still-running previous release directly and flips to that very process',
  async (t) => {
    const world = await withLive(t)
    const before = await world.status()
    await world.addRelease('r43', { min: 42, max: 43 })
    await world.deploy('r43')
    t.match(await world.rollback(), {
      status: 200,
      body: {
        operation: 'rollback',
        generation: 3,
        live: { slot: 'blue', release: 'r42' },
        verdict: { evidence: 'probed' },
      },
    })
    const after = await world.status()
    t.equal(after.live?.pid, before.live?.pid, 'no new process was booted')
    t.match(await world.get(), { release: 'r42' })
  },
)

t.test(
  'a rollback target that is gone is rehearsed, asked, and takes the traffic with the very process asked',
  async (t) => {
    const world = await withLive(t, { service: ['previous: stop'] })
    await world.addRelease('r43', { min: 42, max: 43 })
    await world.deploy('r43')
    await world.until(
      async () => (await world.status()).idle.state === 'stopped',
      'the former release is stopped',
    )
    const back = await world.rollback()
    t.match(back, { status: 200, body: { live: { release: 'r42', slot: 'blue' } } })
    const { live } = await world.status()
    const log = await world.internalLog()
    t.ok(
      log.includes('r42 GET /schema/status idle') || log.includes('r42 GET /healthz rehearsal'),
      'it was rehearsed',
    )
    const served = JSON.parse((await world.get()).text)
    t.equal(served.pid, live?.pid)
    t.ok(
      world.logLines.some((line) => line.includes('for a rehearsal')),
      'it was told that it is a rehearsal',
    )
  },
)

t.test('where releases share one folder, only one that still runs can be gone back to', async (t) => {
  const world = await World.create(t)
  world.driver = ['driver: process', 'cwd: releases/here']
  for (const [release, max] of [
    ['r41', 43],
    ['r42', 44],
  ] as const) {
    await world.addRelease('here', { min: 41, max })
    if (release === 'r41') await world.start(t)
    t.match(await world.deploy(release), { status: 200 })
  }
  const { idle, door } = await world.status()
  t.match({ idle, door }, { idle: { release: 'r41', schema: { max: 43 } }, door: { open: true, to: 'r41' } })
  t.match(await world.rollback(), { status: 200 })
  t.match((await world.status()).live, { release: 'r41', pid: idle.pid })

  t.match(await world.deploy('r42'), { status: 200 })
  t.match(await world.stage('r43'), { status: 200 })
  t.match((await world.status()).door, { open: false, to: null, code: 'no_previous_release' })
  const refused = { status: 409, body: { code: 'release_not_running', hint: /put its code back/ } }
  t.match(await world.check('rollback', 'r41'), refused)
  t.match(await world.rollback('r41'), refused)
  t.match(await world.rollback(), refused)
  t.match((await world.status()).live, { release: 'r42' }, 'the code of today is not live as r41')

  t.match(await world.deploy('r41'), { status: 200 }, 'that it is r41 is the word of whoever deploys it')

  t.match(await world.deploy('r43'), { status: 200 })
  t.match(await world.stage('r42'), { status: 200 })
  t.match((await world.status()).door, { open: true, to: 'r42' })
  t.match(await world.rollback(), { status: 200, body: { live: { release: 'r42' } } }, 'past r41')
})

t.test(
  'B10: a refused rehearsal is asked and gone again, its ports are free, and live never noticed',
  async (t) => {
    const world = await withLive(t, { service: ['previous: stop'] })
    await world.addRelease('r43', { min: 42, max: 44 })
    await world.deploy('r43')
    await world.until(
      async () => (await world.status()).idle.state === 'stopped',
      'the former release is stopped',
    )
    // It once said 41–43; the code in its folder was changed since, so that only asking can find out.
    await world.addRelease('r42', { min: 41, max: 43, status: { compatible: false } })
    const refused = await world.rollback()
    t.match(refused, { status: 422, body: { code: 'schema_declared_incompatible', evidence: 'probed' } })
    t.equal(await refuses(portOf(refused.body.internal_url)), true, 'its port is free')
    const boots = (await world.history()).filter(({ event, rehearsal }) => event === 'booting' && rehearsal)
    t.equal(boots.length, 1)
    t.equal(await isRunning(Number(boots[0]?.pid)), false, 'its process is gone')
    t.match(await world.get(), { release: 'r43' })
    t.match(await world.status(), { generation: 2, idle: { release: 'r42', state: 'stopped' } })
  },
)

t.test('a refused rehearsal leaves a candidate in the idle slot where it is', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  await world.addRelease('r43', { min: 42, max: 44 })
  await world.addRelease('r44', { min: 44, max: 44 })
  await world.deploy('r43')
  t.match(await world.deploy('r44'), { status: 422 })
  const { idle } = await world.status()
  await world.addRelease('r42', { min: 41, max: 43, status: { compatible: false } })
  t.match(await world.rollback(), { status: 422, body: { code: 'schema_declared_incompatible' } })
  t.match((await world.status()).idle, { release: 'r44', state: 'running', pid: idle.pid })
  await world.migrate(44)
  t.match(await world.promote(), { status: 200, body: { live: { release: 'r44' } } })
  t.match(await world.get(), { release: 'r44' })
})

t.test('the recorded range refuses a rollback without booting anything', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  await world.addRelease('r44', { min: 42, max: 44 })
  await world.deploy('r44')
  await world.until(
    async () => (await world.status()).idle.state === 'stopped',
    'the former release is stopped',
  )
  await world.migrate(44)
  const boots = async () => (await world.history()).filter(({ event }) => event === 'booting').length
  const before = await boots()
  t.match(await world.rollback(), {
    status: 422,
    body: { code: 'schema_ahead_of_code', evidence: 'recorded', max: 43, current: 44, release: 'r42' },
  })
  t.match(await world.check('rollback'), {
    status: 200,
    body: { allowed: false, verdict: { evidence: 'recorded' } },
  })
  t.equal(await boots(), before, 'no process was started')
  t.match((await world.status()).door, { open: false, to: 'r42', code: 'schema_ahead_of_code' })
})

t.test('a rehearsal that changes the schema when it boots is an alarm and a refusal', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  await world.addRelease('r43', { min: 42, max: 44 })
  await world.deploy('r43')
  await world.until(
    async () => (await world.status()).idle.state === 'stopped',
    'the former release is stopped',
  )
  await world.addRelease('r42', { min: 41, max: 43, migratesOnBoot: true })
  t.match(await world.rollback(), {
    status: 422,
    body: { code: 'schema_changed_by_rehearsal', before: 42, after: 43 },
  })
  t.match(await world.get(), { release: 'r43' })
  const alarms = (await world.history()).filter(({ event }) => event === 'alarm')
  t.match(alarms, [{ code: 'schema_changed_by_rehearsal', release: 'r42' }])
  t.equal((await world.status()).idle.state, 'stopped')
})

t.test('a check of a rollback rehearses, says the verdict and leaves nothing behind', async (t) => {
  const world = await withLive(t, { service: ['previous: stop'] })
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await world.until(
    async () => (await world.status()).idle.state === 'stopped',
    'the former release is stopped',
  )
  t.match(await world.check('rollback'), {
    status: 200,
    body: { allowed: true, release: 'r42', verdict: { evidence: 'probed' } },
  })
  const [rehearsal] = (await world.history()).filter(
    ({ event, rehearsal }) => event === 'booting' && rehearsal,
  )
  t.equal(await isRunning(Number(rehearsal?.pid)), false)
  t.match(await world.status(), { generation: 2, live: { release: 'r43' }, idle: { state: 'stopped' } })
})

t.test('A13: of two deploys at once one wins and the other is told who is in the way', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.addRelease('r44', { min: 42, max: 44 })
  const answers = await Promise.all([world.deploy('r43'), world.deploy('r44')])
  const [won, lost] = answers.sort((a, b) => a.status - b.status)
  t.match(won, { status: 200, body: { generation: 2 } })
  t.match(lost, {
    status: 409,
    body: { code: 'operation_in_progress', operation: 'deploy', step: String, retryable: true },
  })
  const status = await world.status()
  t.equal(status.generation, 2)
  t.equal(status.live?.release, won?.body.live.release)
  t.equal(status.operation, null)
})

t.test('D04: with If-Match a switch decided on an old pointer is refused', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  t.match(await world.deploy('r43', '"7"'), {
    status: 412,
    body: { code: 'generation_mismatch', generation: 1, expected: 7 },
  })
  t.equal((await world.history()).filter(({ event }) => event === 'booting').length, 1, 'nothing was booted')
  t.match(await world.deploy('r43', '"1"'), { status: 200, body: { generation: 2 } })
})

t.test('a release that is not there, and an id that is a path, are refused', async (t) => {
  const world = await withLive(t)
  t.match(await world.deploy('r99'), {
    status: 404,
    body: { code: 'unknown_release', detail: /r99.* is not a folder/ },
  })
  t.match(await world.deploy('../r42'), { status: 400 })
  t.match(await world.deploy(''), { status: 400 })
})

t.test('promote and rollback with nothing to go to are refused with a code', async (t) => {
  const world = await withLive(t)
  t.match(await world.promote(), { status: 409, body: { code: 'nothing_staged' } })
  t.match(await world.rollback(), {
    status: 422,
    body: { code: 'no_previous_release', verdict: { allowed: false } },
  })
  t.match(await world.rollback('r42'), { status: 409, body: { code: 'already_live' } })
  t.match(await world.rollback('r77'), { status: 404, body: { code: 'unknown_release' } })
  t.match((await world.status()).door, { open: false, code: 'no_previous_release' })
})

t.test('a candidate that fell ill after staging is not promoted', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.stage('r43')
  await writeFile(join(world.folder, 'r43.sick'), '')
  t.match(await world.promote(), {
    status: 409,
    body: { code: 'candidate_unhealthy', detail: /answers 503/ },
  })
  t.match(await world.get(), { release: 'r42' })
})

t.test('a candidate that died after staging is not promoted', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  const { body } = await world.stage('r43')
  process.kill(body.pid, 'SIGKILL')
  await world.until(async () => (await world.status()).idle.state === 'exited', 'the death is noticed')
  t.match(await world.promote(), { status: 409, body: { code: 'nothing_staged' } })
})

t.test('B06: across deploys and rollbacks the apps see only health and status reads', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await world.rollback()
  const other = (await world.internalLog()).filter(
    (line) => !/^r4\d GET \/(healthz|schema\/status) (live|idle|rehearsal)$/.test(line),
  )
  t.same(other, [])
  t.equal(await world.schemaVersion(), 42)
})

t.test('a process is told whether it is live or idle with every question', async (t) => {
  const world = await withLive(t)
  await world.addRelease('r43', { min: 42, max: 43 })
  await world.deploy('r43')
  await world.until(
    async () => (await world.internalLog()).includes('r43 GET /healthz live'),
    'the new one is told',
  )
  await world.until(async () => {
    const log = await world.internalLog()
    return log.lastIndexOf('r42 GET /healthz idle') > log.lastIndexOf('r42 GET /healthz live')
  }, 'the old one is told')
})

t.test('with `schema: off` a switch is allowed unasked, and every answer says so', async (t) => {
  const world = await withLive(t, { service: ['schema: off'] })
  await world.addRelease('r43', { min: 99, max: 99 })
  t.match(await world.deploy('r43'), {
    status: 200,
    body: { verdict: { evidence: 'none', warnings: [{ code: 'schema_check_disabled' }] } },
  })
  t.match(await world.status(), { schema: { check: 'off', warnings: [{ code: 'schema_check_disabled' }] } })
  t.notOk((await world.internalLog()).some((line) => line.includes('/schema/status')))
})
