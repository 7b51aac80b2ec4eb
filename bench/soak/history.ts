// A history as long as a journal remembers: what a deploy writes, over and over, so that its memory is full from the start.
import { Journal } from '../../src/journal/file.ts'

/** As many records as a journal keeps in memory, and some. */
const LONG = 11_000

/** Appends the records from the first flip to the last one again, until there are so many; slotgate must not run. */
export async function lengthenHistory(file: string): Promise<void> {
  const journal = await Journal.open(file)
  const flips = [...journal.records.keys()].filter((at) => journal.records[at]?.event === 'flipped')
  const deploy = journal.records.slice((flips[0] ?? 0) + 1, (flips.at(-1) ?? 0) + 1)
  while (deploy.length > 0 && journal.seq < LONG) {
    for (const { seq: _seq, time: _time, prev: _prev, ...event } of deploy) void journal.append(event)
    await journal.append({ event: 'slotgate_started', actor: 'slotgate' })
  }
  await journal.close()
}
