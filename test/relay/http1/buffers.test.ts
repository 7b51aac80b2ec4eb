// The memory that connections read into: what is being written from is never read into, and nothing piles up.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { BUFFER_BYTES, Buffers, Intake } from '../../../src/relay/http1/buffers.ts'

const IN_TIME = { held: false, full: false }
const HELD = { held: true, full: false }
const FULL = { held: true, full: true }

/** An intake in the middle of a large body. */
function started(buffers: Buffers): Intake {
  const intake = new Intake(buffers)
  intake.afterRead(intake.next, BUFFER_BYTES, IN_TIME)
  return intake
}

t.test('a large body is read into a buffer of its own, a small one into the common one', async (t) => {
  const buffers = new Buffers()
  const intake = new Intake(buffers)
  t.ok(intake.isCommon(intake.next))
  intake.afterRead(intake.next, BUFFER_BYTES / 2 - 1, IN_TIME)
  t.ok(intake.isCommon(intake.next))
  intake.afterRead(intake.next, BUFFER_BYTES / 2, IN_TIME)
  t.notOk(intake.isCommon(intake.next))
  intake.afterBody(intake.next, false)
  t.ok(intake.isCommon(intake.next))
})

t.test('a buffer that is being written from is used again only when it is written', async (t) => {
  const buffers = new Buffers()
  const intake = started(buffers)
  const first = intake.next
  intake.afterRead(first, BUFFER_BYTES, FULL)
  const second = intake.next
  t.not(second, first)
  intake.written()
  t.equal(buffers.take(), first)
  intake.afterBody(second, true)
  t.not(buffers.take(), second, 'whoever still writes from the last one has it alone')
})

t.test('buffers that nobody will call written do not pile up with the length of a body', async (t) => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const intake = started(new Buffers())
  const held = Array.from({ length: 50 }, () => {
    const buffer = intake.next
    intake.afterRead(buffer, BUFFER_BYTES, HELD)
    return new WeakRef(buffer)
  })
  await new Promise(setImmediate)
  collect()
  t.equal(held.filter((buffer) => buffer.deref() !== undefined).length, 0)
  t.notOk(intake.isCommon(intake.next))
})
