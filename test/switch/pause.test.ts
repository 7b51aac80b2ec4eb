// A pause as the journal and the pointer word have it: what is in force is what is written down, whoever calls at the same
// moment, but for a disk that fails at its end.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import { silentLogger } from '../../src/log.ts'
import { createRelay } from '../../src/relay/relay.ts'
import { createBuffer, openTable } from '../../src/slots/table.ts'
import { Pause } from '../../src/switch/pause.ts'
import { RELAY_CONFIG, service } from '../relay/support.ts'
import { eventually } from '../support/turns.ts'

async function createPause(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-pause-'))
  const journal = await Journal.open(join(folder, 'journal.jsonl'))
  const layout = { services: 1, workers: 1 }
  const table = openTable(createBuffer(layout), layout)
  const log = silentLogger()
  const services = [service()]
  const listen = { host: '127.0.0.1', port: 0 }
  const dataPlane = createRelay({ listen, threads: 0, relay: RELAY_CONFIG, services, table, log })
  const closing = new AbortController()
  const pause = new Pause({
    index: 0,
    name: 'invoices',
    table,
    dataPlane,
    journal,
    log,
    closing: closing.signal,
  })
  t.teardown(async () => {
    closing.abort()
    await dataPlane.close(0)
    await journal.close()
    await rm(folder, { recursive: true })
  })
  const append = journal.append.bind(journal)
  return {
    pause,
    journal,
    isPaused: () => table.isPaused(0),
    events: () => journal.records.map(({ event, actor }) => `${event} by ${actor}`),
    recorded: () => journal.state.services.invoices?.paused ?? null,
    disk(works: boolean) {
      journal.append = works ? append : () => Promise.reject(new Error('the disk is full'))
    },
  }
}

t.test('what cannot be written down does not begin, and ends all the same', async (t) => {
  const { pause, isPaused, events, recorded, disk } = await createPause(t)
  disk(false)
  await t.rejects(pause.pause('ops', null), /disk is full/)
  t.equal(isPaused(), false)
  disk(true)
  await pause.pause('ops', null)
  disk(false)
  await t.rejects(pause.resume('ops'), /disk is full/)
  t.equal(isPaused(), false, 'requests go on')
  t.equal(pause.view(), null)
  t.not(recorded(), null, 'but a restart would not know')
  disk(true)
  await pause.resume('ops')
  t.equal(recorded(), null)
  t.same(events(), ['paused by ops', 'resumed by ops'])
})

t.test('calls at the same moment act one after the other, and the last one counts', async (t) => {
  const { pause, isPaused, events, recorded } = await createPause(t)
  await Promise.all([
    pause.pause('one', null),
    pause.resume('two'),
    pause.resume('three'),
    pause.pause('four', 60_000),
    pause.pause('five', 1_000),
    pause.pause('six', 90_000),
  ])
  t.same(events(), ['paused by one', 'resumed by two', 'paused by four', 'paused by six'])
  t.equal(isPaused(), true)
  t.match(pause.view(), { ...recorded(), actor: 'six', held: 0 })
})

t.test('the end of its time and somebody who ends it come out as one end', async (t) => {
  for (let delay = 0; delay < 12; delay++) {
    const { pause, isPaused, events } = await createPause(t)
    await pause.pause('ops', 6)
    await new Promise((resolve) => setTimeout(resolve, delay))
    await Promise.all([pause.resume('one'), pause.resume('two')])
    t.equal(isPaused(), false)
    // A second one would be written by now, or right behind this.
    await pause.pause('ops', null)
    t.match(events().join(), /^paused by ops,resumed by (one|slotgate),paused by ops$/, `after ${delay} ms`)
  }
})

t.test('a pause whose time was over while slotgate was away ends at its start', async (t) => {
  const { pause, isPaused, events, journal } = await createPause(t)
  await journal.append({
    event: 'paused',
    service: 'invoices',
    actor: 'ops',
    until: new Date(0).toISOString(),
  })
  await pause.restore()
  t.ok(await eventually(() => !isPaused()))
  t.ok(await eventually(() => events().length === 2))
  t.same(events(), ['paused by ops', 'resumed by slotgate'])
})

t.test('a pause that was made longer does not end at its first time', async (t) => {
  const { pause, isPaused, events } = await createPause(t)
  await Promise.all([pause.pause('ops', 20), pause.pause('ops', 200)])
  await new Promise((resolve) => setTimeout(resolve, 60))
  const { since = '', until = '' } = pause.view() ?? {}
  if (pause.view()) t.ok(Date.parse(until ?? '') - Date.parse(since) >= 199)
  t.ok(await eventually(() => !isPaused()))
  t.ok(await eventually(() => events().length === 3))
  t.same(events(), ['paused by ops', 'paused by ops', 'resumed by slotgate'])
})

t.test(
  'an exclusive switch holds requests as long as its work, and nothing of it is left behind',
  async (t) => {
    const { pause, isPaused, events, disk } = await createPause(t)
    disk(false)
    const never = () => t.fail('it does not begin')
    await t.rejects(
      pause.during('ops', 'r43', async () => never()),
      /disk is full/,
    )
    disk(true)
    t.equal(await pause.during('ops', 'r43', async () => isPaused()), true)
    t.equal(isPaused(), false)
    const fails = async () => {
      disk(false)
      throw new Error('the gate said no')
    }
    await t.rejects(pause.during('ops', 'r43', fails), /the gate said no/)
    t.equal(isPaused(), false)
    t.same(events(), ['paused by ops', 'resumed by ops', 'paused by ops'])
    disk(true)
    await pause.restore()
    t.equal(events().at(-1), 'resumed by slotgate', 'the next start writes it down')
    t.equal(isPaused(), false)
  },
)
