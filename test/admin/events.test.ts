// The events over real sockets: what is told to whom, from where on, and what ends a stream.
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import type { JournalEvent } from '../../src/journal/record.ts'
import { Feed } from '../../src/switch/feed.ts'
import { Lock, stepOf } from '../../src/switch/lock.ts'
import type { OutputEvent } from '../../src/switch/types.ts'
import { Following } from '../support/following.ts'
import { adminKeys, type Door, forge, knock, openDoor, ops, status, wire } from './door.ts'

const drained = (service = 'invoices'): JournalEvent => ({ event: 'drained', service, actor: 'slotgate' })

const output = (line: string): OutputEvent => ({
  kind: 'output',
  time: '2026-11-22T12:00:00.000Z',
  service: 'invoices',
  slot: 'green',
  release: 'r42',
  from: 'setup',
  line,
})

const deploy = { service: 'invoices', operation: 'deploy', release: 'r42', actor: 'ops' } as const

async function newFile(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-events-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'journal.jsonl')
}

/** Small files, so that what is asked for lies in many. */
const SMALL = { longestBytes: 1_000 }

/** Ten files of a journal, as earlier starts of slotgate have left them. @returns its last record's number */
async function fill(file: string): Promise<number> {
  const journal = await Journal.open(file, SMALL)
  while (journal.seq < 70) await journal.append(drained())
  await journal.close()
  return journal.seq
}

/** The places around each border between two of a journal's files. */
async function bordersOf(file: string): Promise<number[]> {
  const folder = dirname(file)
  const texts = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8')))
  return texts.flatMap((text) => {
    const { seq } = JSON.parse(text.slice(0, text.indexOf('\n')))
    return [seq - 1, seq, seq + 1]
  })
}

interface Told extends Door {
  journal: Journal
  feed: Feed
  lock: Lock
  /** Reads along with the key `ops`, or another with the same private key. */
  follow(query?: string, options?: { headers?: Record<string, string>; as?: string }): Promise<Following>
}

type Options = Parameters<typeof openDoor>[1] & { file?: string }

/** A door in front of a real journal. */
async function openTold(t: Test, { file, ...options }: Options = {}): Promise<Told> {
  const journal = await Journal.open(file ?? (await newFile(t)), SMALL)
  const feed = new Feed(journal)
  const lock = new Lock((step) => feed.tell(step))
  const underWay = () => (status.operation ? [stepOf('invoices', status.operation)] : [])
  const overrides = { events: async (query: Parameters<Feed['read']>[0]) => feed.read(query, underWay) }
  const door = await openDoor(t, { ...options, overrides })
  t.teardown(() => journal.close())
  async function follow(query = '', { headers = {}, as = 'ops' } = {}) {
    const url = `${door.url}/v1/events${query}`
    return (await Following.open(t, { url, key: { ...ops, id: as }, headers })).read()
  }
  return { ...door, journal, feed, lock, follow }
}

const counted = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, n) => first + n)

t.test('records, steps and lines are told as they come, in their order', async (t) => {
  const { journal, feed, lock, follow } = await openTold(t)
  await journal.append(drained())
  const following = await (await follow()).live()
  t.match(following, {
    status: 200,
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' },
  })
  await lock.run(deploy, async (progress) => {
    progress('booting')
    feed.tell(output('42 packages'))
    await journal.append(drained())
  })
  await following.until(({ events }) => events.length === 7)
  const operation = { operation: 'deploy', release: 'r42', actor: 'ops' }
  t.match(following.events, [
    { kind: 'live', seq: 1 },
    { kind: 'step', operation: status.operation },
    {
      kind: 'step',
      service: 'invoices',
      state: 'under way',
      code: null,
      operation: { ...operation, step: 'starting' },
    },
    { kind: 'step', state: 'under way', operation: { step: 'booting' } },
    output('42 packages'),
    { kind: 'record', record: { seq: 2, event: 'drained' } },
    { kind: 'step', state: 'done', operation: { step: 'booting' } },
  ])
  t.strictSame(
    following.frames.map(({ id, event }) => [event, id]),
    [
      [undefined, undefined],
      ['live', '1'],
      ['step', undefined],
      ['step', undefined],
      ['step', undefined],
      ['output', undefined],
      ['record', '2'],
      ['step', undefined],
    ],
  )
  t.equal(following.frames[0]?.retry, '1000')
})

t.test('an operation that fails says its code', async (t) => {
  const { lock, follow } = await openTold(t)
  const following = await (await follow('?kinds=step')).live()
  await t.rejects(lock.run(deploy, () => Promise.reject(new Error('a bug'))))
  await following.until(({ events }) => events.length === 4)
  t.match(following.events.at(-1), { state: 'failed', code: 'internal_error' })
})

t.test('who names kinds and a service is told of nothing else', async (t) => {
  const { journal, feed, follow } = await openTold(t)
  const following = await (await follow('?service=reports&kinds=record&kinds=output&since=0')).live()
  feed.tell(stepOf('reports', { ...deploy, since: '', step: 'booting' }))
  feed.tell(output('of invoices'))
  feed.tell({ ...output('of reports'), service: 'reports' })
  await journal.append(drained('invoices'))
  await journal.append({ event: 'slotgate_stopped', actor: 'slotgate' })
  await journal.append(drained('reports'))
  await following.until(({ seqs }) => seqs.length > 0)
  t.strictSame(following.seqs, [3])
  t.strictSame(following.lines, ['of reports'])
  t.strictSame(
    following.events.map(({ kind }) => kind),
    ['live', 'output', 'record'],
  )
})

t.test('whatever the last record a reader has, the next one follows, over files and starts', async (t) => {
  const file = await newFile(t)
  const last = await fill(file)
  const { journal, follow } = await openTold(t, { file })
  t.ok((journal.records[0]?.seq ?? 0) > 60, 'most of it is in former files')
  const borders = await bordersOf(file)
  for (const since of counted(0, last).filter((seq) => seq % 3 === 0 || borders.includes(seq))) {
    const following = await (await follow(`?kinds=record&since=${since}`)).live()
    t.strictSame(following.seqs, counted(since + 1, last))
    t.match(following.events.at(-1), { kind: 'live', seq: last })
    following.close()
  }
})

t.test('what is written while a reader catches up is told once, in its place', async (t) => {
  const file = await newFile(t)
  await fill(file)
  const { journal, follow } = await openTold(t, { file })
  let isOver = false
  const writing = (async () => {
    while (!isOver) await journal.append(drained())
  })()
  const all = await Promise.all(counted(1, 20).map(() => follow('?kinds=record&since=0')))
  for (const following of all) await following.live()
  isOver = true
  await writing
  t.ok(journal.seq > 75)
  for (const following of all) {
    await following.until(({ seqs }) => seqs.at(-1) === journal.seq)
    t.strictSame(following.seqs, counted(1, journal.seq))
  }
})

t.test('who comes back is believed rather than the address', async (t) => {
  const { journal, follow } = await openTold(t)
  for (const _ of counted(1, 5)) await journal.append(drained())
  const following = await (await follow('?since=1', { headers: { 'last-event-id': '4' } })).live()
  t.ok(following.seqs.every((seq) => seq > 4))
  for (const [query, id] of [
    ['?since=x', undefined],
    ['', 'four'],
    ['', ''],
    ['?since=-1', undefined],
    ['?kinds=record,steps', undefined],
    ['?kinds=', undefined],
    ['?page=2', undefined],
  ] as const) {
    const refused = await follow(query, { headers: id === undefined ? {} : { 'last-event-id': id } })
    t.equal(refused.status, 400, `${query} ${id}`)
  }
})

t.test('records that are not there any more are named', async (t) => {
  const file = await newFile(t)
  await fill(file)
  await rename(file.replace('.jsonl', '.3.jsonl'), `${file}.away`)
  const { journal, follow } = await openTold(t, { file })
  const following = await (await follow('?kinds=record&since=2')).live()
  const [next = 0] = following.seqs
  t.match(following.events[0], { kind: 'gap', after: 2, next })
  t.strictSame(following.seqs, counted(next, journal.seq))
  t.equal(following.events.filter(({ kind }) => kind === 'gap').length, 1)
})

t.test('a reader of another journal hears where this one is', async (t) => {
  const { journal, follow } = await openTold(t)
  await journal.append(drained())
  const following = await (await follow('?kinds=record&since=500')).live()
  const { seq } = journal
  t.match(following.events, [
    { kind: 'gap', after: 500, next: seq + 1 },
    { kind: 'live', seq },
  ])
  await journal.append(drained())
  await following.until(({ seqs }) => seqs.length > 0)
  t.equal(following.seqs[0], seq + 1)
})

t.test('a hundred read along, each all of it, and calls are answered beside them', async (t) => {
  const { journal, feed, follow, port, authority } = await openTold(t)
  const all = await Promise.all(counted(1, 100).map((_, n) => follow(n % 2 ? '?since=0' : '')))
  for (const following of all) await following.live()
  for (const n of counted(1, 20)) {
    await journal.append(drained())
    feed.tell(output(`line ${n}`))
  }
  const { status } = await knock(port, forge({ authority }))
  t.equal(status, 200)
  for (const following of all) {
    await following.until(({ lines }) => lines.length === 20)
    t.strictSame(following.seqs, counted(1, journal.seq))
  }
})

t.test('so many may read, and the next when one of them has gone', async (t) => {
  const { follow } = await openTold(t, { streams: { most: 2 } })
  const first = await (await follow()).live()
  const second = await (await follow()).live()
  const third = await follow()
  t.match(third, { status: 503, headers: { 'retry-after': '1' } })
  t.equal((await follow('?kinds=none')).status, 400, 'what is refused is no reader')
  second.close()
  t.equal((await inTurn(follow)).status, 200)
  t.equal((await follow()).status, 503)
  first.close()
})

t.test('who has gone before its stream has begun takes no place', async (t) => {
  const { follow, authority, port, audit } = await openTold(t, { streams: { most: 1 } })
  // A call that is early is held until its second has come.
  const created = Math.floor(Date.now() / 1000) + 2
  const params = { created, expires: created + 60 }
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(wire(forge({ authority }, { target: '/v1/events', params })), () => socket.destroy())
  while (!audit.some(({ decision }) => decision === 'accepted')) await pause(20)
  t.equal((await inTurn(follow)).status, 200)
})

/** Reads along as soon as there is room for one more. */
async function inTurn(follow: Told['follow'], query = ''): Promise<Following> {
  for (;;) {
    const following = await follow(query)
    if (following.status === 200) return following
    await following.ended
    await pause(20)
  }
}

t.test('a reader that takes nothing is cut, keeps nobody waiting, and loses no record', async (t) => {
  const { journal, feed, follow, url } = await openTold(t, { streams: { most: 2 } })
  const stuck = await Following.open(t, { url: `${url}/v1/events`, key: ops })
  const other = await (await follow('?kinds=record')).live()
  const line = 'x'.repeat(8_000)
  let isCut = false
  const cut = inTurn(follow).then((next) => {
    isCut = true
    next.close()
  })
  while (!isCut) {
    for (const _ of counted(1, 20)) feed.tell(output(line))
    await journal.append(drained())
  }
  await cut
  await other.until(({ seqs }) => seqs.at(-1) === journal.seq)
  t.strictSame(other.seqs, counted(1, journal.seq))
  stuck.read()
  t.equal(await stuck.ended, 'cut')
  t.ok(stuck.seqs.length < journal.seq)
  const again = await (await inTurn(follow, `?since=${stuck.seqs.at(-1) ?? 0}`)).live()
  t.strictSame([...stuck.seqs, ...again.seqs], counted(1, journal.seq))
})

t.test('a stream lives as long as its key stays as it is', async (t) => {
  const { admin, feed, follow } = await openTold(t)
  const kept = await (await follow()).live()
  const gone = await (await follow('', { as: 'viewer' })).live()
  const curbed = await (await follow('', { as: 'stager' })).live()
  admin.setKeys([...adminKeys])
  admin.setKeys(
    adminKeys.flatMap((key) => {
      if (key.id === 'viewer') return []
      return [key.id === 'stager' ? { ...key, allow: ['stage'] as const } : key]
    }),
  )
  t.strictSame(await Promise.all([gone.ended, curbed.ended]), ['ended', 'ended'])
  t.equal((await follow('', { as: 'viewer' })).status, 401)
  t.equal((await follow('', { as: 'stager' })).status, 403)
  feed.tell(output('still here'))
  await kept.until(({ lines }) => lines.includes('still here'))
})

t.test('a quiet stream gives signs of life, and ends when it is old', async (t) => {
  const { follow } = await openTold(t, { streams: { heartbeatMs: 20, longestMs: 1_500 } })
  const following = await (await follow()).live()
  await following.until(({ comments }) => comments > 3)
  t.equal(await following.ended, 'ended')
})

t.test('readers are no reason to stop later, not even one that takes nothing', async (t) => {
  const { admin, feed, follow, url } = await openTold(t)
  const following = await (await follow()).live()
  const stuck = await Following.open(t, { url: `${url}/v1/events`, key: ops })
  for (const round of [1, 2]) {
    // Almost as much as may wait.
    for (const _ of counted(1, 500)) feed.tell(output('x'.repeat(8_000)))
    feed.tell(output(`round ${round}`))
    await following.until(({ lines }) => lines.at(-1) === `round ${round}`)
  }
  const begun = performance.now()
  await admin.close()
  t.ok(performance.now() - begun < 4_000, 'less than what calls under way are given')
  await following.ended
  stuck.read()
  await stuck.ended
})
