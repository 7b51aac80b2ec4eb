// The file that a process writes to: each line once, also over two slotgates, and never longer than it has to be.
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Output, removeOutputs } from '../../src/slots/output.ts'

interface Written {
  output: Output
  lines: string[]
  file: string
  options: Parameters<typeof Output.create>[0]
  write(text: string | Buffer): void
}

function create(t: Test): Written {
  const stateDir = mkdtempSync(join(tmpdir(), 'slotgate-output-'))
  t.teardown(() => rmSync(stateDir, { recursive: true, force: true }))
  const lines: string[] = []
  const options = {
    stateDir,
    id: 'one',
    mask: (line: string) => line,
    onLine: (line: string) => void lines.push(line),
  }
  const { output, writeFd } = Output.create(options)
  if (writeFd === null) throw new Error(lines.join('\n'))
  t.teardown(() => {
    output.close()
    closeSync(writeFd)
  })
  const file = join(stateDir, 'output', 'one.log')
  return { output, lines, file, options, write: (text) => void writeSync(writeFd, Buffer.from(text)) }
}

t.test('lines are told as they come, and one without an end when the process is gone', async (t) => {
  const { output, lines, file, write } = create(t)
  write('one\r\ntw')
  t.same(output.lines, ['one'])
  write('o\nthr')
  while (lines.length < 2) await turn()
  t.same(lines, ['one', 'two'])
  output.close()
  t.same(lines, ['one', 'two', 'thr'])
  t.same(output.lines, lines, 'they are there after the end')
  t.equal(existsSync(file), false)
})

t.test('the file is cut off once it was read, and what comes then is not lost', async (t) => {
  const { output, lines, file, write } = create(t)
  const line = 'x'.repeat(1023)
  for (let mebibyte = 1; mebibyte <= 5; mebibyte++) {
    write(`${line}\n`.repeat(1100))
    t.equal(output.lines.length, 200)
    t.ok(statSync(file).size < 2 ** 20, `${statSync(file).size} bytes`)
  }
  write('the last\n')
  t.equal(output.lines.at(-1), 'the last')
  t.equal(lines.length, 5 * 1100 + 1)
})

t.test('what nobody can read fast enough does not fill the disk, and is said', async (t) => {
  const { lines, file, write } = create(t)
  write(`${'x'.repeat(1023)}\n`.repeat(20 * 1024))
  while (!lines.some((line) => /not read/.test(line))) await turn()
  t.ok(statSync(file).size < 2 ** 20)
})

t.test(
  'the next slotgate goes on where the last one ended, in the middle of a line and of a character',
  async (t) => {
    const { output, lines, options, write } = create(t)
    write('one\ntwo\nha')
    t.same(output.lines, ['one', 'two'])
    output.letGo()
    const ü = Buffer.from('ü')
    write(ü.subarray(0, 1))
    lines.length = 0
    const next = Output.resume(options)
    t.teardown(() => next.close())
    t.same(next.lines, ['one', 'two'], 'the last lines are there')
    write(Buffer.concat([ü.subarray(1), Buffer.from('lf\n')]))
    t.same(next.lines, ['one', 'two', 'haülf'])
    t.same(lines, ['haülf'], 'none is told twice')
  },
)

t.test('a long line is cut between characters', async (t) => {
  const { output, write } = create(t)
  const line = `x${'ü'.repeat(10_000)}`
  write(`${line}\n`)
  t.equal(output.lines.join(''), line)
  t.ok(output.lines.length > 1)
})

t.test('the files of what is gone are removed', async (t) => {
  const { output, options, file, write } = create(t)
  write('one\n')
  t.same(output.lines, ['one'])
  appendFileSync(file.replace('one', 'two'), 'of another boot')
  removeOutputs(options.stateDir, new Set(['one']))
  t.same(readdirSync(join(options.stateDir, 'output')).sort(), ['one.log', 'one.read'])
  removeOutputs(options.stateDir, new Set())
  t.same(readdirSync(join(options.stateDir, 'output')), [])
})
