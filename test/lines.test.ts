// Lines on their way out of a thread: gathered, in order, bounded when nobody reads, and the loss is said once.
import t from 'tap'
import { createLines } from '../src/lines.ts'

const MIB = 1024 * 1024

/** Lines whose reader takes the next chunk when it is told to. */
function create(gatherMs: number) {
  const chunks: string[] = []
  const taken: (() => void)[] = []
  const lines = createLines({
    gatherMs,
    send(chunk, done) {
      chunks.push(chunk)
      taken.push(done)
    },
  })
  return { chunks, lines, takeOne: () => taken.shift()?.() }
}

t.test('without gathering, the first line leaves at once and the others when it is taken', async (t) => {
  const { chunks, lines, takeOne } = create(0)
  for (const line of ['a\n', 'b\n', 'c\n']) lines.write(line)
  t.same(chunks, ['a\n'])
  takeOne()
  t.same(chunks, ['a\n', 'b\nc\n'])
  takeOne()
  lines.write('d\n')
  t.same(chunks.at(-1), 'd\n')
})

t.test('gathered lines leave together, a little later', async (t) => {
  const { chunks, lines } = create(5)
  lines.write('a\n')
  lines.write('b\n')
  t.same(chunks, [])
  // The timer of the lines keeps nothing alive; this one does.
  while (chunks.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
  t.same(chunks, ['a\nb\n'])
})

t.test('many lines do not wait for the time', async (t) => {
  const { chunks, lines } = create(60_000)
  const line = `${'x'.repeat(1_023)}\n`
  for (let count = 0; count < 64; count++) lines.write(line)
  t.same(chunks, [line.repeat(64)])
})

t.test('the rest is given out once, in the last moment', async (t) => {
  const { chunks, lines } = create(60_000)
  lines.write('a\n')
  t.equal(lines.takeRest(), 'a\n')
  t.equal(lines.takeRest(), '')
  t.same(chunks, [])
})

t.test(
  'a reader that is stuck costs lines, not memory; how many is said where they are missing',
  async (t) => {
    const { chunks, lines, takeOne } = create(0)
    const line = `${'x'.repeat(1_023)}\n`
    for (let count = 0; count < 3 * 1024; count++) lines.write(line)
    lines.write('two\nlines\n')
    takeOne()
    const [first = '', second = ''] = chunks
    t.equal(first, line)
    t.ok(second.length < MIB + 1_024, `${second.length} bytes were kept`)
    const kept = second.split('\n')
    const loss = JSON.parse(kept.at(-2) ?? '')
    t.match(loss, { level: 'warn', msg: 'lines of the log were lost' })
    t.equal(1 + (kept.length - 2) + loss.lost, 3 * 1024 + 2, 'each line was kept or counted')
    lines.write('next\n')
    takeOne()
    t.equal(chunks.at(-1), 'next\n', 'and not said again')
  },
)
