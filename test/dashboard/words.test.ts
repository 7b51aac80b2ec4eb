// The records of the journal as the page tells them.
import t from 'tap'
import { tell } from '../../dashboard/words.js'
import type { JournalRecord } from '../../src/journal/record.ts'

const record = (more: Partial<JournalRecord>): JournalRecord => ({
  seq: 1,
  time: '2026-11-22T12:00:00.000Z',
  prev: '',
  event: 'drained',
  actor: 'slotgate',
  release: 'r42',
  ...more,
})

t.test('a drain says what it had to cut', async (t) => {
  const drained = (requests: number, tunnels: number) =>
    tell(record({ cut: { requests, tunnels }, took_ms: 30_000 }))
  t.match(drained(0, 0), { mood: 'plain', sentence: 'r42 has finished its requests after 30 s.' })
  t.match(drained(1, 2), {
    mood: 'warning',
    sentence: 'The drain of r42 was over after 30 s: 1 request and 2 tunnels were cut.',
  })
})

t.test('a preview says until when', async (t) => {
  const { sentence } = tell(record({ event: 'preview_opened', until: '2026-11-22T13:00:00.000Z' }))
  t.match(sentence, 'good until 13:00:00 UTC')
})
