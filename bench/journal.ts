// How long a start takes to read the journal: `node bench/journal.ts [EVENTS]` writes that many events (1,000,000), as deploys
// write them, in a folder of its own, and opens what is there after each power of ten.

import * as disk from 'node:fs/promises'
import { mkdtemp, open as openFile, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Journal } from '../src/journal/file.ts'
import type { JournalEvent } from '../src/journal/record.ts'

const events = Number(process.argv[2] ?? 1_000_000)
const ROUNDS = 5
const ENOUGH = 1024 * 1024

/** What one deploy writes; the statuses make the flip the longest. */
function deploy(number: number): JournalEvent[] {
  const slot = number % 2 === 0 ? 'blue' : 'green'
  const service = `service-${number % 3}`
  const release = `r${number}`
  const range = { min: 41, max: 43 }
  const of = {
    service,
    actor: 'ops',
    slot,
    release,
    boot_id: crypto.randomUUID(),
    generation: number,
  } as const
  const status = {
    current_schema_version: 42,
    code_min_schema_version: 41,
    code_max_schema_version: 43,
    compatible: true,
  }
  const party = { release, status, url: 'http://127.0.0.1:40001' }
  return [
    {
      ...of,
      event: 'booting',
      pid: number,
      start_time: `${number}@boot`,
      port: 40_000,
      internal_port: 40_001,
    },
    { ...of, event: 'booted', pid: number },
    { ...of, event: 'staged' },
    { ...of, event: 'flipped', ranges: { [release]: range }, evidence: { target: party, live: party } },
    { ...of, event: 'drained', cut: { requests: 0, tunnels: 0 }, took_ms: 3 },
    { ...of, event: 'stopped', detail: 'its slot was given to another release' },
  ]
}

/** A million single writes would be the disk's time, not the start's: they are gathered, and none is synced. */
const gathering: typeof disk.open = async (...how) => {
  const handle = await openFile(...how)
  const append = handle.appendFile.bind(handle)
  const [close, stat] = [handle.close.bind(handle), await handle.stat()]
  let gathered = ''
  const flush = async () => {
    const text = gathered
    gathered = ''
    if (text) await append(text)
  }
  return Object.assign(handle, {
    stat: (async () => stat) as typeof handle.stat,
    appendFile: async (text: string) => {
      gathered += text
    },
    datasync: async () => {
      if (gathered.length > ENOUGH) await flush()
    },
    close: async () => {
      await flush()
      await close()
    },
  })
}

const folder = await mkdtemp(join(tmpdir(), 'slotgate-journal-'))
const file = join(folder, 'journal.jsonl')

async function openingMs(): Promise<number> {
  const started = performance.now()
  const journal = await Journal.open(file)
  const tookMs = performance.now() - started
  await journal.close()
  return tookMs
}

async function report(written: number): Promise<void> {
  const took: number[] = []
  const before = process.cpuUsage()
  for (let round = 0; round < ROUNDS; round++) took.push(await openingMs())
  const { user, system } = process.cpuUsage(before)
  const cpuMs = Math.round((user + system) / 1_000 / ROUNDS)
  const files = (await readdir(folder)).length
  const { size } = await stat(file)
  console.log(
    `${written} events in ${files} files: opened in ${Math.round(Math.min(...took))} to ${Math.round(Math.max(...took))} ms (${cpuMs} ms of CPU), reading ${Math.round(size / 1024)} KiB`,
  )
}

try {
  let written = 0
  for (let next = 1_000; next <= events; next *= 10) {
    const journal = await Journal.open(file, { disk: { ...disk, open: gathering } })
    for (; written < next; written += 6) for (const event of deploy(written / 6)) await journal.append(event)
    await journal.close()
    await report(written)
  }
  const back = await Journal.open(file)
  const started = performance.now()
  let records = 0
  for await (const _ of back.backwards()) records++
  console.log(`all ${records} records looked back at in ${Math.round(performance.now() - started)} ms`)
  await back.close()
} finally {
  await rm(folder, { recursive: true, force: true })
}
