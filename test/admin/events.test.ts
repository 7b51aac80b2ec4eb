// The events over real sockets: what is told to whom, from where on, and what ends a stream.
import { mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createAdmin } from '../../src/admin/server.ts'
import { Journal, type JournalOptions } from '../../src/journal/file.ts'
import type { JournalEvent } from '../../src/journal/record.ts'
import { Feed } from '../../src/switch/feed.ts'
import { Lock } from '../../src/switch/lock.ts'
import type { OutputEvent } from '../../src/switch/types.ts'
import { Following } from '../support/following.ts'
import { adminKeys, type Door, forge, knock, openDoor, ops, wire } from './door.ts'

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

interface Told extends Door {
  journal: Journal
  feed: Feed
  lock: Lock
  follow(query?: string, headers?: Record<string, string>): Promise<Following>
}

type Options = Parameters<typeof openDoor>[1] & { file?: string; journal?: JournalOptions }

/** A door in front of a real journal. */
async function openTold(t: Test, { file, journal: journalOptions, ...options }: Options = {}): Promise<Told> {
  const journal = await Journal.open(file ?? (await newFile(t)), journalOptions)
  const feed = new Feed(journal)
  const lock = new Lock((step) => feed.tell(step))
  const events = async (query: Parameters<Feed['read']>[0]) => feed.read(query, () => [])
  const door = await openDoor(t, { ...options, overrides: { events } })
  t.teardown(async () => {
    await door.admin.close()
    await journal.close()
  })
  const follow = async (query = '', headers = {}) =>
    (await Following.open(t, { url: `${door.url}/v1/events${query}`, key: ops, headers })).read()
  return { ...door, journal, feed, lock, follow }
}

async function newFile(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-events-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return join(folder, 'journal.jsonl')
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
  const request = { service: 'invoices', operation: 'deploy', release: 'r42', actor: 'ops' } as const
  await lock.run(request, async (progress) => {
    progress('booting')
    feed.tell(output('42 packages'))
    await journal.append(drained())
  })
  await following.until(({ events }) => events.length === 6)
  const operation = { operation: 'deploy', release: 'r42', actor: 'ops' }
  t.match(following.events, [
    { kind: 'live', seq: 1 },
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
  t.match(following.frames, [
    { retry: '1000' },
    { id: '1', event: 'live' },
    { event: 'step' },
    { event: 'step' },
    { event: 'output' },
    { id: '2', event: 'record' },
    { event: 'step' },
  ])
  t.notOk(following.frames.some(({ id, event }) => id !== undefined && event === 'step'))
})

t.test('an operation that is refused says its code', async (t) => {
  const { lock, follow } = await openTold(t)
  const following = await (await follow('?kinds=step')).live()
  const request = { service: 'invoices', operation: 'deploy', release: 'r42', actor: 'ops' } as const
  const fails = lock.run(request, async () => Promise.reject(new Error('a bug')))
  await t.rejects(fails)
  await following.until(({ events }) => events.length === 3)
  t.match(following.events.at(-1), { state: 'failed', code: 'internal_error' })
})
