// Whether each command makes the right call of a real admin server, and ends with the right exit code.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import type { JournalRecord } from '../../src/journal/record.ts'
import { stepOf } from '../../src/switch/lock.ts'
import type {
  AdviceResult,
  FeedEvent,
  OperationView,
  OutputEvent,
  ServiceStatus,
  StepEvent,
} from '../../src/switch/types.ts'
import {
  adminKeys,
  advised,
  checked,
  openDoor,
  paused,
  previewed,
  record,
  staged,
  status,
  switched,
} from '../admin/door.ts'
import { eventually } from '../support/turns.ts'
import { openDesk, run } from './terminal.ts'

const actor = { actor: 'ops' }

t.test('each command makes its call', async (t) => {
  const desk = await openDesk(t)
  const cases: [argv: string[], call: string, args: unknown[]][] = [
    [['status', '--service', 'invoices'], 'status', ['invoices']],
    [['stage', 'r42'], 'stage', ['invoices', 'r42', actor]],
    [['check', 'promote'], 'check', ['invoices', 'promote', undefined, actor]],
    [['check', 'rollback', '--to', 'r40'], 'check', ['invoices', 'rollback', 'r40', actor]],
    [['promote'], 'promote', ['invoices', actor]],
    [['promote', '--if-generation', '17'], 'promote', ['invoices', { ...actor, ifGeneration: 17 }]],
    [['rollback'], 'rollback', ['invoices', undefined, actor]],
    [
      ['rollback', '--to', 'r40', '--if-generation', '0'],
      'rollback',
      ['invoices', 'r40', { ...actor, ifGeneration: 0 }],
    ],
    [['deploy', 'r42', '--service', 'invoices'], 'deploy', ['invoices', 'r42', actor]],
    [['promote', '--exclusive'], 'promote', ['invoices', { ...actor, exclusive: true }]],
    [['rollback', '--exclusive'], 'rollback', ['invoices', undefined, { ...actor, exclusive: true }]],
    [['deploy', 'r42', '--exclusive'], 'deploy', ['invoices', 'r42', { ...actor, exclusive: true }]],
    [['pause'], 'pause', ['invoices', null, actor]],
    [['pause', '--for', '2m'], 'pause', ['invoices', 120_000, actor]],
    [['resume', '--if-generation', '17'], 'resume', ['invoices', { ...actor, ifGeneration: 17 }]],
    [['preview'], 'preview', ['invoices', 3_600_000, actor]],
    [['preview', '--for', '90s'], 'preview', ['invoices', 90_000, actor]],
    [
      ['preview', '--end', '--if-generation', '17'],
      'endPreviews',
      ['invoices', { ...actor, ifGeneration: 17 }],
    ],
    [['history'], 'history', [{ limit: 20 }]],
    [
      ['history', '--limit', '5', '--before', '9', '--service', 'invoices'],
      'history',
      [{ service: 'invoices', limit: 5, before: 9 }],
    ],
  ]
  for (const [argv, call, args] of cases) {
    const { code, stderr } = await desk.run(argv)
    t.strictSame({ code, stderr }, { code: 0, stderr: '' }, argv.join(' '))
    const made = desk.calls.findLast((recorded) => recorded.call === call)
    // A query is an object without a prototype; what counts are its entries.
    t.strictSame(
      made?.args.map((arg) => (typeof arg === 'object' && arg ? { ...arg } : arg)),
      args,
      argv.join(' '),
    )
  }
})

t.test('the time of a pause has a unit, and ends some day', async (t) => {
  const desk = await openDesk(t)
  const cases = [
    ['30', /--for needs a unit; got 30\.[\s\S]*write 30ms, 30s, 30m or 30h/],
    ['soon', /--for must be a duration such as 250ms, 2s, 5m or 1h; got soon\./],
    ['25h', /--for must be at most 24h; got 25h\./],
  ] as const
  for (const [given, stderr] of cases) t.match(await desk.run(['pause', '--for', given]), { code: 2, stderr })
  t.same(desk.calls, [])
})

t.test('the link to a preview is one where people come in', async (t) => {
  const desk = await openDesk(t)
  const { stdout } = await desk.run(['preview'])
  t.match(stdout, /^✓ invoices: whoever opens this link sees r42 until 13:00:00 UTC\n/)
  t.equal(stdout.split('\n')[1], previewed.link)
  const elsewhere = await desk.run(['preview', '--origin', 'https://shop.test'])
  t.equal(elsewhere.stdout.split('\n')[1], 'https://shop.test/app/.slotgate/preview?pass=1795000000.mac')
  const { stdout: json } = await desk.run(['preview', '--origin', 'https://shop.test:8443/', '--json'])
  t.match(JSON.parse(json).link, /^https:\/\/shop\.test:8443\/app\//)
  t.match(await desk.run(['preview', '--end']), { stdout: /no link to a preview is good any more/ })
  const count = desk.calls.length
  for (const wrong of ['shop.test', 'https://shop.test/app', 'ftp://shop.test', 'https://u:p@shop.test'])
    t.match(await desk.run(['preview', '--origin', wrong]), { code: 2, stderr: /--origin takes an origin/ })
  t.match(await desk.run(['preview', '--for', '10ms']), { code: 2, stderr: /--for must be at least 1000ms/ })
  t.notOk(desk.calls.slice(count).some(({ call }) => call === 'preview'))
})

t.test('--json prints the answer and nothing else', async (t) => {
  const desk = await openDesk(t)
  const cases: [argv: string[], body: unknown][] = [
    [['status'], status],
    [['status', '--service', 'invoices'], status],
    [['stage', 'r42'], staged],
    [['check', 'promote'], checked],
    [['promote'], switched],
    [['rollback'], { ...switched, operation: 'rollback' }],
    [['deploy', 'r42'], { ...switched, operation: 'deploy' }],
    [['pause'], paused],
    [['preview'], previewed],
  ]
  for (const [argv, body] of cases) {
    const { code, stdout, stderr } = await desk.run([...argv, '--json'])
    t.strictSame({ code, stderr }, { code: 0, stderr: '' }, argv.join(' '))
    t.strictSame(JSON.parse(stdout), JSON.parse(JSON.stringify(body)), argv.join(' '))
  }
})

t.test(
  'advice ends with 3 for what the kit would not do without a word, and with 0 for the rest',
  async (t) => {
    const cases: [AdviceResult['verdict'], number][] = [
      ['two_way_door', 0],
      ['no_rollback_target', 0],
      ['one_way_door', 3],
      ['breaks_live', 3],
      [null, 3],
    ]
    for (const [verdict, expected] of cases) {
      const desk = await openDesk(t, { advice: async () => ({ ...advised, verdict }) })
      const { code, stdout, stderr } = await desk.run(['advice', '--to', '44', '--json'])
      t.strictSame({ code, stderr }, { code: expected, stderr: '' }, `${verdict}`)
      t.strictSame(JSON.parse(stdout), { ...advised, verdict })
      t.strictSame(desk.calls.at(-1), { call: 'advice', args: ['invoices', 44] })
      t.match((await desk.run(['advice', '--to', '44'])).stdout, advised.sentence)
    }
  },
)

t.test('advice needs a version', async (t) => {
  const desk = await openDesk(t)
  t.match(await desk.run(['advice']), { code: 2, stderr: /slotgate advice --to N/ })
  t.match(await desk.run(['advice', '--to', 'r44']), {
    code: 2,
    stderr: /--to takes a whole number, not r44/,
  })
  t.strictSame(desk.calls, [])
})

t.test('where there are several services', async (t) => {
  const both: Record<string, ServiceStatus> = { invoices: status, reports: { ...status, service: 'reports' } }
  const desk = await openDesk(t, { statuses: async () => both })

  await t.test('status shows them all', async (t) => {
    const { stdout } = await desk.run(['status'])
    t.match(stdout, /^invoices[\s\S]*\n\nreports/)
    const { stdout: json } = await desk.run(['status', '--json'])
    t.strictSame(JSON.parse(json), { services: both })
  })

  await t.test('another command asks which one is meant', async (t) => {
    t.match(await desk.run(['promote']), {
      code: 2,
      stderr:
        'There are 2 services: invoices, reports.\n  Say which one with --service NAME or SLOTGATE_SERVICE.',
    })
    t.notOk(desk.calls.some(({ call }) => call === 'promote'))
  })

  await t.test('the environment may say which', async (t) => {
    await desk.run(['promote'], { env: { SLOTGATE_SERVICE: 'reports' } })
    t.equal(desk.calls.findLast(({ call }) => call === 'promote')?.args[0], 'reports')
  })
})

const refusal = new SlotgateError('schema_behind_code', {
  release: 'r43',
  min: 43,
  max: 44,
  current: 42,
  pending: ['043_add_notes.sql'],
  internal_url: 'http://127.0.0.1:3902',
  verdict: {
    ...checked.verdict,
    allowed: false,
    code: 'schema_behind_code',
    reasons: [
      {
        code: 'schema_behind_code',
        sentence: 'Release r43 needs schema 43 or newer; the database is at 42.',
        hint: 'Run the pending migrations.',
        internal_url: 'http://127.0.0.1:3902',
      },
    ],
  },
})

const ENDS: [error: SlotgateError, code: number][] = [
  [refusal, 3],
  [
    new SlotgateError('operation_in_progress', {
      service: 'invoices',
      operation: 'deploy',
      since: 'x',
      step: 'booting',
    }),
    4,
  ],
  [new SlotgateError('generation_mismatch', { service: 'invoices', generation: 18, expected: 17 }), 4],
  [new SlotgateError('unknown_release', { release: 'r42', detail: 'no such folder' }), 1],
  [
    new SlotgateError('target_boot_failed', {
      release: 'r42',
      detail: 'it exited with code 1',
      output: ['boom'],
    }),
    1,
  ],
  [new SlotgateError('journal_write_failed', { file: 'j', detail: 'disk full' }), 1],
]

t.test(
  'each kind of refusal has its exit code, its sentence, and with --json its problem document',
  async (t) => {
    for (const [error, code] of ENDS) {
      const desk = await openDesk(t, { promote: () => Promise.reject(error) })
      const human = await desk.run(['promote'])
      t.strictSame({ code: human.code, stdout: human.stdout }, { code, stdout: '' }, error.code)
      t.ok(human.stderr.includes(error.message), human.stderr)
      const json = await desk.run(['promote', '--json'])
      t.strictSame({ code: json.code, stderr: json.stderr }, { code, stderr: '' })
      t.match(JSON.parse(json.stdout), { code: error.code, detail: error.message })
    }
  },
)

t.test('a refused promotion prints the numbers, the hint and the commands that help', async (t) => {
  const desk = await openDesk(t, { promote: () => Promise.reject(refusal) })
  const { stderr } = await desk.run(['promote'])
  t.equal(
    stderr,
    `✗ Release r43 needs schema 43 or newer; the database is at 42. (schema_behind_code)
  Run the pending migrations.
  schema 42   r42 [41–43] ✓
  try:
    curl -X POST http://127.0.0.1:3902/migrations/run
    slotgate promote
`,
  )
})

t.test('a check that says no ends with 3', async (t) => {
  const verdict = refusal.facts.verdict as typeof checked.verdict
  const desk = await openDesk(t, { check: async () => ({ ...checked, allowed: false, verdict }) })
  t.match(await desk.run(['check', 'promote']), { code: 3, stdout: /r42 must not be promoted now/ })
  const { code, stdout } = await desk.run(['check', 'promote', '--json'])
  t.equal(code, 3)
  t.match(JSON.parse(stdout), { allowed: false })
})

t.test('who is not let in is told so, with 5', async (t) => {
  const desk = await openDesk(t)
  const by = (id: string) => desk.run(['promote', '--service', 'invoices', '--key-id', id])
  t.match(await by('viewer'), { code: 5, stderr: 'Key viewer is not allowed to promote.' })
  t.match(await by('nobody'), { code: 5, stderr: 'The signature was not accepted.' })
})

t.test('a key that may not read still promotes the service it names', async (t) => {
  const desk = await openDesk(t)
  const { material } = adminKeys[0] ?? {}
  if (material === undefined) throw new Error('the door has a key')
  desk.admin.setKeys([{ id: 'promoter', algorithm: 'ed25519', material, allow: ['promote'] }])
  const promote = (...argv: string[]) => desk.run(['promote', '--key-id', 'promoter', ...argv])
  t.match(await promote('--service', 'invoices'), { code: 0 })
  t.match(await promote(), {
    code: 5,
    stderr: 'This key may not read which services there are.\n  Say which one',
  })
})

t.test('a key that others can read is warned of, and used', async (t) => {
  const desk = await openDesk(t)
  chmodSync(join(desk.folder, 'ops.key'), 0o644)
  const { code, stderr } = await desk.run(['status'])
  t.equal(code, 0)
  t.match(stderr, /^Warning: .*ops\.key can be read by others\. chmod 600 /)
})

t.test('nobody at the address', async (t) => {
  const desk = await openDesk(t)
  const at = (admin: string) => desk.run(['promote', '--service', 'invoices', '--admin', admin])

  await t.test('is told with the address and how to mend it', async (t) => {
    // A port that was just given back: nobody listens there.
    const port = await withServer(t, createServer(), async (free) => free)
    const { code, stdout, stderr } = await at(`http://127.0.0.1:${port}`)
    t.strictSame({ code, stdout }, { code: 5, stdout: '' })
    t.match(stderr, `Cannot reach slotgate's admin at http://127.0.0.1:${port} (connection refused).`)
    t.match(stderr, 'Is it running there?')
    t.match(stderr, '--admin URL or SLOTGATE_ADMIN')
  })

  await t.test('but somebody else is told as that', async (t) => {
    const other = createHttpServer((_request, response) => response.end('<h1>hello</h1>'))
    await withServer(t, other, async (port) => {
      t.match(await at(`127.0.0.1:${port}`), { code: 5, stderr: "is not slotgate's admin" })
    })
  })

  await t.test('any more, while a call is under way, leaves open whether it took effect', async (t) => {
    for (const end of ['destroy', 'resetAndDestroy'] as const) {
      const dying = createServer((socket) => socket.once('data', () => socket[end]()))
      await withServer(t, dying, async (port) => {
        const { code, stderr } = await at(`127.0.0.1:${port}`)
        t.equal(code, 5)
        t.match(stderr, 'went away before it answered', end)
        t.match(stderr, 'slotgate history')
      })
    }
  })

  await t.test('but something that upgrades unasked is told as nobody', async (t) => {
    const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'
    const upgrading = createServer((socket) => socket.once('data', () => socket.end(head)))
    await withServer(t, upgrading, async (port) => {
      t.match(await desk.run(['status', '--admin', `127.0.0.1:${port}`]), {
        code: 5,
        stderr: '(the connection was closed without an answer)',
      })
      t.match(await at(`127.0.0.1:${port}`), { code: 5, stderr: 'slotgate history' })
    })
  })

  await t.test('but a page without an end is not kept open where events were meant', async (t) => {
    // It is never silent, so that no deadline ends what is left open; the server does not close before that.
    const endless = createHttpServer((_request, response) => {
      const timer = setInterval(() => response.write('<br>'), 20)
      response.on('close', () => clearInterval(timer))
    })
    await withServer(t, endless, async (port) => {
      t.match(await desk.run(['events', '--admin', `127.0.0.1:${port}`]), {
        code: 5,
        stderr: "is not slotgate's admin",
      })
    })
  })

  await t.test('before the call is sent is told how to mend it', async (t) => {
    const cutting = createServer((socket) => socket.once('data', () => socket.destroy()))
    await withServer(t, cutting, async (port) => {
      const { code, stderr } = await at(`https://127.0.0.1:${port}`)
      t.equal(code, 5)
      t.match(stderr, /^Cannot reach/)
      t.match(stderr, '--ca FILE or SLOTGATE_CA')
    })
  })

  await t.test('but something that does not speak HTTP is told as that', async (t) => {
    const other = createServer((socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.6\r\n')))
    await withServer(t, other, async (port) => {
      t.match(await at(`127.0.0.1:${port}`), { code: 5, stderr: 'what it answered is not HTTP' })
    })
  })

  await t.test(
    'because its machine has died under a call, is noticed after a minute',
    { skip: process.platform !== 'linux' && 'the timers of a connection are in /proc' },
    async (t) => {
      const silent = createServer((socket) =>
        socket.once('data', async () => {
          t.ok(await eventually(() => asksAfter(socket) <= 60))
          socket.destroy()
        }),
      )
      await withServer(t, silent, (port) => at(`127.0.0.1:${port}`))
    },
  )

  await t.test('because the address is none', async (t) => {
    for (const admin of ['ftp://127.0.0.1', 'http://127.0.0.1/x', 'http://u@127.0.0.1', '::']) {
      t.match(await at(admin), { code: 2, stderr: `${admin} is not the address of an admin API.` })
    }
  })
})

/** @returns the seconds until the other end of a silent connection asks whether this one is still there */
function asksAfter({ remotePort = 0, localPort = 0 }: Socket): number {
  const end = (port: number) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const timer = new RegExp(`${end(remotePort)} ${end(localPort)} \\S+ \\S+ 02:(\\S+)`)
  const hundredths = timer.exec(readFileSync('/proc/net/tcp', 'latin1'))?.[1]
  return hundredths === undefined ? Number.POSITIVE_INFINITY : Number.parseInt(hundredths, 16) / 100
}

async function withServer<T>(
  t: Test,
  server: ReturnType<typeof createServer>,
  work: (port: number) => Promise<T>,
): Promise<T> {
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  try {
    return await work((server.address() as AddressInfo).port)
  } finally {
    await new Promise((closed) => server.close(closed))
    t.comment('server closed')
  }
}

/** Made for this test, for 127.0.0.1; it guards nothing. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBWzCCAQ2gAwIBAgIUDyu1Ni2YGXBxZD5u0SEcoRvYGsEwBQYDK2VwMBQxEjAQ
BgNVBAMMCWxvY2FsaG9zdDAgFw0yNjExMjIyMjA0NDFaGA8yMTI2MTAyOTIyMDQ0
MVowFDESMBAGA1UEAwwJbG9jYWxob3N0MCowBQYDK2VwAyEA2jrYxcNdoOzt6/rz
aObgWrNi8fsS02eWLQOUyNmjFmWjbzBtMB0GA1UdDgQWBBTVggW/uA4btSV8n5Uy
doePB7rz7zAfBgNVHSMEGDAWgBTVggW/uA4btSV8n5UydoePB7rz7zAPBgNVHRMB
Af8EBTADAQH/MBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAFBgMrZXADQQAL
UmDa+d2f7ddU9K2hWYFqoCiZCgk4YJF93p5C2fRbsDHmLRc+kJk3nNYabxrbe8Rr
hgdzppeHD8wbWDfLOQYK
-----END CERTIFICATE-----
`
const CERTIFICATE_KEY = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJk3e/7T3BMd7HlZT2/1yJ/aYW6/PINzTzatgnyqDa5Z
-----END PRIVATE KEY-----
`

t.test('an admin API with its own certificate is trusted by --ca alone', async (t) => {
  const desk = await openDesk(t)
  const { url } = await openDoor(t, { tls: { cert: CERTIFICATE, key: CERTIFICATE_KEY } })
  const ca = join(desk.folder, 'ca.pem')
  writeFileSync(ca, CERTIFICATE)
  t.match(await desk.run(['status', '--admin', url, '--ca', ca]), { code: 0 })
  t.match(await desk.run(['status', '--admin', url], { env: { SLOTGATE_CA: ca } }), { code: 0 })
  t.match(await desk.run(['status', '--admin', url]), { code: 5, stderr: '--ca FILE or SLOTGATE_CA' })
  t.match(await run(['status', '--admin', url, '--ca', '/nope', '--key', join(desk.folder, 'ops.key')]), {
    code: 2,
  })
})

const operation = {
  operation: 'deploy',
  release: 'r42',
  actor: 'ops',
  since: '2026-11-22T12:00:00.000Z',
} as const
const time = '2026-11-22T12:00:00.000Z'
const step = (name: string, more: Partial<OperationView> = {}, state?: StepEvent['state']): StepEvent => ({
  ...stepOf('invoices', { ...operation, step: name, ...more }, state),
  time,
})
const wrote = (line: string): OutputEvent => ({
  kind: 'output',
  time,
  service: 'invoices',
  slot: 'green',
  release: 'r42',
  from: 'setup',
  line,
})

const telling = (events: () => AsyncGenerator<readonly FeedEvent[]>) => ({ events: async () => events() })

t.test('a long call tells its steps, and what the release writes, on standard error', async (t) => {
  const hasBegun = Promise.withResolvers<void>()
  const isTold = Promise.withResolvers<void>()
  const hasEnded = Promise.withResolvers<void>()
  const desk = await openDesk(t, {
    ...telling(async function* () {
      yield [{ kind: 'live', seq: 7 }]
      await hasBegun.promise
      yield [step('asking', { actor: 'somebody' }), wrote('of another operation')]
      yield [step('booting'), wrote('42 packages'), wrote('42 packages'), wrote('\u001b[2Jcleared')]
      await hasEnded.promise
      yield [step('flipping'), step('flipping', {}, 'done'), wrote('too late')]
    }),
    async deploy() {
      hasBegun.resolve()
      await isTold.promise
      hasEnded.resolve()
      return { ...switched, operation: 'deploy' }
    },
  })
  let stderr = ''
  const sink = {
    write(text: string) {
      stderr += text
      if (text.includes('cleared')) isTold.resolve()
    },
  }
  const { code, stdout } = await desk.run(['deploy', 'r42'], { stderr: sink })
  t.equal(code, 0)
  t.match(stdout, /^✓ invoices: r42 is live in green/)
  t.equal(
    stderr,
    `  … booting
    │ 42 packages
    │ 42 packages
    │ cleared
  … flipping
`,
  )
})

t.test('a call that slotgate tells nothing of is made all the same', async (t) => {
  for (const events of [
    () => Promise.reject(new SlotgateError('too_many_readers', { limit: 128 })),
    () => Promise.resolve(interrupted()),
    () => new Promise<never>(() => {}),
  ]) {
    const desk = await openDesk(t, { events })
    t.match(await desk.run(['deploy', 'r42']), { code: 0, stdout: /^✓/, stderr: '' })
  }
})

async function* interrupted(): AsyncGenerator<readonly FeedEvent[]> {
  yield [{ kind: 'live', seq: 7 }, step('booting', { actor: 'somebody' })]
  throw new Error('cut')
}

t.test('steps are not told to whoever reads JSON', async (t) => {
  const desk = await openDesk(t)
  const { stderr } = await desk.run(['stage', 'r42', '--json'])
  t.equal(stderr, '')
  t.notOk(desk.calls.some(({ call }) => call === 'events'))
})

const records = [
  { ...record, seq: 8 },
  { ...record, seq: 9, event: 'drained', service: 'invoices', release: 'r41' },
] as const
const toldOf = (...all: readonly JournalRecord[]): FeedEvent[] =>
  all.map((one) => ({ kind: 'record', record: one }))

t.test('events prints the records after one, and ends', async (t) => {
  const desk = await openDesk(t, {
    ...telling(async function* () {
      yield [{ kind: 'gap', after: 0, next: 8 }, ...toldOf(...records), { kind: 'live', seq: 9 }]
      yield toldOf({ ...record, seq: 10 })
      await new Promise(() => {})
    }),
  })
  const { code, stdout } = await desk.run(['events'])
  t.equal(code, 0)
  t.equal(
    stdout,
    `What followed #0, up to #7, is not in the journal any more.
#8  2026-11-22 12:00:00  slotgate_started  by slotgate
#9  2026-11-22 12:00:00  drained  invoices  r41  by slotgate
`,
  )
  t.match(desk.calls.at(-1)?.args, [{ kinds: ['record'], since: 0 }])
  const json = await desk.run(['events', '--json', '--since', '1', '--service', 'invoices'])
  t.strictSame(
    json.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
    [{ kind: 'gap', after: 0, next: 8 }, ...toldOf(...records)],
  )
  t.match(desk.calls.at(-1)?.args, [{ kinds: ['record'], since: 1, service: 'invoices' }])
})

t.test(
  'events --follow goes on after the last record when the stream has ended, until it is refused',
  async (t) => {
    let asked = 0
    const desk = await openDesk(t, {
      ...telling(async function* () {
        asked += 1
        if (asked === 1) yield [{ kind: 'live', seq: 8 }, step('booting'), wrote('42 packages')]
        if (asked === 2) throw new SlotgateError('shutting_down')
        if (asked === 3) yield [...toldOf(records[1]), step('booting', {}, 'done')]
        if (asked === 4) desk.admin.setKeys([])
      }),
    })
    const { code, stdout, stderr } = await desk.run(['events', '--follow', '--since', '8'])
    t.equal(code, 5)
    t.equal(
      stdout,
      `2026-11-22 12:00:00  invoices  deploy  r42  … booting  by ops
2026-11-22 12:00:00  invoices  green  r42 │ 42 packages
#9  2026-11-22 12:00:00  drained  invoices  r41  by slotgate
2026-11-22 12:00:00  invoices  deploy  r42  ✓  by ops
`,
    )
    t.match(stderr, /Going on as soon as it is back\.\n.*The signature was not accepted/s)
    const since = desk.calls.flatMap(({ call, args }) => (call === 'events' ? args : []))
    t.match(since, [{ since: 8 }, { since: 8 }, { since: 8 }, { since: 9 }])
  },
)

t.test('events --follow says so where nobody is there from the start', async (t) => {
  const desk = await openDesk(t)
  await desk.admin.close()
  t.match(await desk.run(['events', '--follow', '--since', '1']), { code: 5, stderr: /^Cannot reach/ })
})

t.test('--wait drained ends when nothing of the former slot is open any more', async (t) => {
  let asked = 0
  const desk = await openDesk(t, {
    status: async () => {
      asked++
      const draining = status.draining.map((drain) => ({ ...drain, generation: 17 }))
      return { ...status, generation: 18, operation: null, draining: asked < 3 ? draining : [] }
    },
  })
  const { code, stderr } = await desk.run(['promote', '--wait', 'drained'])
  t.equal(code, 0)
  t.equal(asked, 3)
  t.equal(stderr, '  … r40 drains: 0 requests, 0 tunnels left\n')
  t.match(await desk.run(['promote', '--wait', 'forever']), {
    code: 2,
    stderr: '--wait takes drained, not forever.',
  })
})
