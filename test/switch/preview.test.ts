// The pointer of a preview: closed while it moves, and counted by what was in the idle slot.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import { createLogger } from '../../src/log.ts'
import type { Occupant } from '../../src/slots/occupants.ts'
import { Preview } from '../../src/switch/preview.ts'
import { PASS_SECRET, service, startRelay } from '../relay/support.ts'

const PLACE = 1

const occupant = (release: string): Occupant => ({
  release,
  state: 'running',
  instance: null,
  healthy: true,
  detail: null,
  restarts: 0,
  generations: [],
  previews: [],
  leaving: new AbortController(),
})

async function start(t: Test) {
  const { relay, table } = await startRelay(t, { services: [service({ preview: { hosts: [] } })] })
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-preview-'))
  const journal = await Journal.open(join(folder, 'journal.jsonl'))
  t.teardown(async () => {
    await journal.close()
    await rm(folder, { recursive: true })
  })
  const log = createLogger('silent')
  const name = 'invoices'
  const preview = new Preview({
    place: PLACE,
    name,
    secret: PASS_SECRET,
    table,
    dataPlane: relay,
    journal,
    log,
  })
  const enter = () => {
    const claim = table.claim(PLACE, 0)
    if (typeof claim !== 'string') table.release(claim, 0)
    return typeof claim === 'string' ? claim : `${claim.generation} ${claim.slot}`
  }
  return { preview, table, journal, enter }
}

t.test('nobody enters while it moves, and whoever comes then enters the other slot', async (t) => {
  const { preview, table, enter } = await start(t)
  const [first, former] = [occupant('r43'), occupant('r42')]
  preview.restore('green', first)
  t.equal(enter(), '1 green')
  const flipped = preview.move('blue', former, () => {
    t.equal(enter(), 'paused')
    return table.flip(0, 'green')
  })
  t.same(flipped, { generation: 1, slot: 'green' })
  t.equal(enter(), '2 blue')
  t.same([first.previews, former.previews], [[1], [2]])
})

t.test('nobody enters while another release comes into the slot, whatever becomes of that', async (t) => {
  const { preview, enter } = await start(t)
  const [first, second] = [occupant('r43'), occupant('r44')]
  preview.restore('green', first)
  const entered = await preview.during('green', second, async () => enter())
  t.equal(entered, 'paused')
  t.equal(enter(), '2 green')
  const failing = preview.during('green', occupant('r45'), async () => {
    throw new Error('no')
  })
  await t.rejects(failing, { message: 'no' })
  t.equal(enter(), '2 green', 'what is there still is')
  t.same([first.previews, second.previews], [[1], [2]])
})

t.test('what is in the idle slot and stays there is not waited for', async (t) => {
  const { preview } = await start(t)
  const [first, second] = [occupant('r43'), occupant('r44')]
  preview.restore('green', first)
  t.same(preview.past(first), [])
  await preview.during('green', second, async () => {})
  t.same([preview.past(first), preview.past(second)], [[1], []])
  await preview.close('green')
  t.same(preview.past(second), [2], 'unless it is about to end')
  preview.move('blue', first, () => {})
  t.same([preview.past(first), preview.past(second)], [[1], [2]])
})

t.test(
  'a pass that could not be written down is not made, and an end that could not does not end',
  async (t) => {
    const { preview, table, journal } = await start(t)
    preview.restore('green', null)
    await preview.end('ops', 0)
    t.equal(table.passes(PLACE), 1, 'the number of its record')
    await journal.close()
    await t.rejects(preview.pass('ops', 60_000, 0), { code: 'journal_write_failed' })
    await t.rejects(preview.end('ops', 0), { code: 'journal_write_failed' })
    t.equal(table.passes(PLACE), 1)
  },
)
