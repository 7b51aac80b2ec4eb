// The journal over power cuts and failing disks: from every image that a crash may leave it starts with the state before or
// after, and with what was answered; a disk that fails at any one call leaves the old state and a failed answer.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SlotgateError } from '../../src/errors.ts'
import { Journal } from '../../src/journal/file.ts'
import { hashLine, type JournalEvent } from '../../src/journal/record.ts'
import { type Failing, imagesAfter, make, RecordingDisk } from './disk.ts'

/** So short that nearly each append makes a new file. */
const LONGEST_BYTES = 300

const flip = (number: number): JournalEvent => ({
  event: 'flipped',
  service: 'invoices',
  actor: 'ops',
  slot: number % 2 === 0 ? 'blue' : 'green',
  release: `r${number}`,
  generation: number,
  ranges: { [`r${number}`]: { min: 41, max: 43 } },
})

async function newFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-crash-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const generationOf = ({ state }: Journal) => state.services.invoices?.generation ?? 0

interface Answered {
  /** How many calls the disk had seen. */
  calls: number
  generation: number
}

t.test(
  'every image of a crash starts with the state before or after, and with all that was answered',
  async (t) => {
    const folder = await newFolder(t)
    const disk = new RecordingDisk()
    const journal = await Journal.open(join(folder, 'journal.jsonl'), { disk, longestBytes: LONGEST_BYTES })
    const answered: Answered[] = []
    for (let generation = 1; generation <= 8; generation++) {
      await journal.append(flip(generation))
      answered.push({ calls: disk.calls.length, generation })
    }
    await journal.close()
    t.ok((await readdir(folder)).length >= 4, 'it went through several files')
    t.ok(disk.calls.filter(({ kind }) => kind === 'rename').length >= 3)

    const image = join(folder, 'image')
    const came = { images: 0, before: 0, after: 0, refused: 0 }
    for (let calls = 0; calls <= disk.calls.length; calls++) {
      const told = answered.findLast((one) => one.calls <= calls)?.generation ?? 0
      for (const files of imagesAfter(disk.calls.slice(0, calls))) {
        await make(files, image)
        came.images++
        const opened = await Journal.open(join(image, 'journal.jsonl'), {
          longestBytes: LONGEST_BYTES,
        }).catch((error) => error)
        if (opened instanceof SlotgateError) {
          if (!/journal\.jsonl is broken at line \d+: /.test(opened.message)) t.fail(opened.message)
          came.refused++
          continue
        }
        const generation = generationOf(opened)
        if (generation !== told && generation !== told + 1)
          t.fail(`after ${calls} calls it starts at ${generation}, and ${told} was answered`)
        came[generation === told ? 'before' : 'after']++
        if (opened.state.services.invoices?.live?.release !== (generation ? `r${generation}` : undefined))
          t.fail(`${generation} is ${JSON.stringify(opened.state.services.invoices?.live)}`)
        let records = 0
        for await (const _ of opened.backwards()) records++
        if (records !== (opened.records.at(-1)?.seq ?? 0))
          t.fail(`of its history there are ${records} records`)
        await opened.append(flip(generation + 1))
        await opened.close()
      }
    }
    t.comment(JSON.stringify(came))
    t.ok(came.before > 100)
    t.equal(came.after, 8, 'an append that is whole on the disk is there')
    t.equal(came.refused, 8, 'only one that is whole without its beginning has to be looked at by somebody')
  },
)

for (const code of ['ENOSPC', 'EIO'] as const) {
  for (const done of ['nothing', 'half', 'all'] as const) {
    t.test(
      `${code} at each call that had done ${done}: the old state and a failed answer, and the next succeeds`,
      (t) => failEach(t, code, done),
    )
  }
}

async function failEach(t: Test, code: Failing['code'], done: Failing['done']): Promise<void> {
  const folder = await newFolder(t)
  const file = join(folder, 'journal.jsonl')
  const disk = new RecordingDisk()
  let journal = await Journal.open(file, { disk, longestBytes: LONGEST_BYTES })
  let generation = 0
  let failures = 0
  for (let at = 0, isOver = false; !isOver; at++) {
    // Long enough that the next append has to begin a new file.
    while (!(await isFull(file))) await journal.append(flip(++generation))
    disk.failAt({ at, code, done })
    const answer = await journal.append(flip(generation + 1)).catch((error) => error)
    isOver = disk.failAt(null) <= at
    if (answer instanceof Error) {
      failures++
      t.match(answer, { code: 'journal_write_failed', message: new RegExp(code) })
    } else {
      generation++
      t.ok(isOver || done === 'all', `call ${at}: a failed answer`)
    }
    t.equal(generationOf(journal), generation, `call ${at}: the state in memory`)
    t.equal(await generationOnDisk(folder), generation, `call ${at}: the state on the disk`)
    await journal.append(flip(++generation))
    for (const image of imagesAfter(disk.calls)) {
      await make(image, join(folder, 'image'))
      t.equal(
        await generationOnDisk(join(folder, 'image')),
        generation,
        `call ${at}: the state after a power cut`,
      )
    }
    await journal.close()
    journal = await Journal.open(file, { disk, longestBytes: LONGEST_BYTES })
    t.equal(generationOf(journal), generation, `call ${at}: the state after the next`)
  }
  await journal.close()
  t.ok(failures >= 6, `${failures} calls failed`)
  await checkChain(t, folder)
}

const isFull = async (file: string) => {
  const [first = '', ...rest] = (await readFile(file, 'utf8')).split('\n')
  const text = first.includes('"rotated"') ? rest.join('\n') : [first, ...rest].join('\n')
  return Buffer.byteLength(text) >= LONGEST_BYTES
}

/** What another slotgate would read there, without touching it. */
async function generationOnDisk(folder: string): Promise<number> {
  const copy = join(folder, 'copy')
  const names = (await readdir(folder)).filter((name) => name.startsWith('journal'))
  const files = await Promise.all(
    names.map(async (name) => [name, await readFile(join(folder, name))] as const),
  )
  await make(new Map(files), copy)
  const journal = await Journal.open(join(copy, 'journal.jsonl'))
  await journal.close()
  await rm(copy, { recursive: true })
  return generationOf(journal)
}

/** The chain of hashes goes through all files, and no record is twice or missing. */
async function checkChain(t: Test, folder: string): Promise<void> {
  const journal = await Journal.open(join(folder, 'journal.jsonl'), { longestBytes: LONGEST_BYTES })
  const numbers: number[] = []
  for await (const { seq } of journal.backwards()) numbers.push(seq)
  await journal.close()
  t.same(
    numbers,
    Array.from({ length: numbers[0] ?? 0 }, (_, at) => (numbers[0] ?? 0) - at),
  )
  const lines = await linesOf(folder)
  const wrong = lines.filter((line, at) => at > 0 && JSON.parse(line).prev !== hashLine(lines[at - 1] ?? ''))
  t.same(wrong, [])
  t.equal(lines.length, numbers.length)
}

async function linesOf(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jsonl'))
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  const lines = [...new Set(texts.flatMap((text) => text.trimEnd().split('\n')))]
  return lines.sort((one, other) => JSON.parse(one).seq - JSON.parse(other).seq)
}

t.test('a journal that is gone while the files before it are there is refused, not begun anew', async (t) => {
  const folder = await newFolder(t)
  const file = join(folder, 'journal.jsonl')
  const journal = await Journal.open(file, { longestBytes: LONGEST_BYTES })
  for (let generation = 1; generation <= 6; generation++) await journal.append(flip(generation))
  await journal.close()
  await rm(file)
  await t.rejects(Journal.open(file), { code: 'journal_broken', message: /journal\.1\.jsonl/ })
})

t.test('of a history that somebody moved away, what is left is told', async (t) => {
  const folder = await newFolder(t)
  const journal = await Journal.open(join(folder, 'journal.jsonl'), { longestBytes: LONGEST_BYTES })
  for (let generation = 1; generation <= 12; generation++) await journal.append(flip(generation))
  await journal.close()
  await rm(join(folder, 'journal.2.jsonl'))
  const again = await Journal.open(join(folder, 'journal.jsonl'), { longestBytes: LONGEST_BYTES })
  t.teardown(() => again.close())
  const releases: string[] = []
  for await (const { release } of again.backwards()) if (release) releases.push(release)
  t.equal(releases[0], 'r12')
  t.ok(releases.length > 2 && releases.length < 12)
})
