// The seam between what a reader has missed and what it is told: a record may come at any moment of it.

import * as realDisk from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { Journal } from '../../src/journal/file.ts'
import type { JournalEvent } from '../../src/journal/record.ts'
import { Feed } from '../../src/switch/feed.ts'

const drained: JournalEvent = { event: 'drained', service: 'invoices', actor: 'slotgate' }

/** A disk whose syncs end when the test says so. */
class HeldDisk {
  #sync = Promise.withResolvers<() => void>()

  /** Resolves when something is to be synced, with what ends that. */
  async syncing(): Promise<() => void> {
    const end = await this.#sync.promise
    this.#sync = Promise.withResolvers()
    return end
  }

  readonly disk: typeof realDisk = {
    ...realDisk,
    open: async (...args: Parameters<typeof realDisk.open>) => {
      const handle = await realDisk.open(...args)
      handle.datasync = () => new Promise((resolve) => this.#sync.resolve(resolve))
      return handle
    },
  }
}

t.test('a record that comes between the last one missed and the first one told is told once', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-feed-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const held = new HeldDisk()
  const journal = await Journal.open(join(folder, 'journal.jsonl'), { disk: held.disk })
  t.teardown(() => journal.close())
  const feed = new Feed(journal)
  for (let late = 0; late < 40; late++) {
    const missed = journal.append(drained)
    ;(await held.syncing())()
    const { seq } = await missed
    const ending = new AbortController()
    const reading = feed.read({ kinds: ['record'], since: seq - 1, ending }, () => [])
    const seqs: number[] = []
    const take = async () => {
      const { value } = await reading.next()
      for (const event of value ?? []) if (event.kind === 'record') seqs.push(event.record.seq)
    }
    await take()
    const coming = journal.append(drained)
    const end = await held.syncing()
    const next = take()
    for (let step = 0; step < late; step++) await null
    end()
    await coming
    await next
    while (seqs.length < 2) await take()
    ending.abort()
    t.strictSame(seqs, [seq, seq + 1], `${late} steps later`)
  }
})
