// Finding where WebSocket frames end: every length, masked or not, however the octets are cut up.
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import t from 'tap'
import { Frames, GOING_AWAY } from '../../../src/relay/upgrade/frames.ts'

/** A frame as RFC 6455 §5.2 draws it. @param form of the length: 7, 16 or 64 bits */
function frame(payload: number, masked: boolean, form: 7 | 16 | 64, opcode = 0x82): Buffer {
  const mask = masked ? 0x80 : 0
  const length = Buffer.alloc(form === 7 ? 0 : form / 8)
  if (form === 16) length.writeUInt16BE(payload)
  if (form === 64) length.writeBigUInt64BE(BigInt(payload))
  const second = mask | (form === 7 ? payload : form === 16 ? 126 : 127)
  return Buffer.concat([
    Buffer.from([opcode, second]),
    length,
    Buffer.alloc(masked ? 4 : 0, 0xff),
    Buffer.alloc(payload, 0x88),
  ])
}

/** The octets in pieces of these sizes, over and over. */
function* piecesOf(octets: Buffer, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, nth = 0; at < octets.length; nth++) {
    const piece = octets.subarray(at, at + (sizes[nth % sizes.length] ?? 1))
    yield piece
    at += piece.length
  }
}

/** Where frames end, read frame by frame in pieces of these sizes. */
function endsIn(octets: Buffer, sizes: readonly number[]): number[] {
  const frames = new Frames()
  const ends: number[] = []
  let start = 0
  for (const piece of piecesOf(octets, sizes)) {
    for (let at = 0; at < piece.length; ) {
      at = frames.readFrame(piece, at)
      if (frames.isBoundary) ends.push(start + at)
    }
    start += piece.length
  }
  return ends
}

/** Where pieces end, those with which a frame ends, too, set apart; each piece is read as a whole. */
function piecewise(octets: Buffer, sizes: readonly number[]): { whole: number[]; within: number[] } {
  const frames = new Frames()
  const ends = { whole: [] as number[], within: [] as number[] }
  let at = 0
  for (const piece of piecesOf(octets, sizes)) {
    frames.read(piece)
    at += piece.length
    ends[frames.isBoundary ? 'whole' : 'within'].push(at)
  }
  return ends
}

t.test('before the first octet is a boundary', async (t) => {
  t.equal(new Frames().isBoundary, true)
})

t.test('a frame of each form of length ends with its payload, masked or not', async (t) => {
  const cases: [number, 7 | 16 | 64][] = [
    [0, 7],
    [1, 7],
    [125, 7],
    [0, 16],
    [126, 16],
    [65_535, 16],
    [0, 64],
    [5, 64],
    [65_536, 64],
  ]
  for (const [payload, form] of cases) {
    for (const masked of [false, true]) {
      const one = frame(payload, masked, form)
      const two = Buffer.concat([one, frame(3, !masked, 7)])
      const expected = [one.length, two.length]
      for (const size of [1, 2, 3, 7, 1_000, two.length])
        t.same(
          endsIn(two, [size]),
          expected,
          `${payload} octets, ${form} bits, masked: ${masked}, by ${size}`,
        )
    }
  }
})

t.test('a frame is no boundary before its last octet', async (t) => {
  const one = frame(4, true, 16)
  for (let end = 1; end <= one.length; end++) {
    const frames = new Frames()
    frames.read(one.subarray(0, end))
    t.equal(frames.isBoundary, end === one.length, `after ${end} octets`)
  }
})

t.test('one frame is read at a time, and reading goes on where it ended', async (t) => {
  const frames = new Frames()
  const octets = Buffer.concat([
    Buffer.from('xx'),
    frame(2, false, 7),
    frame(0, true, 7),
    frame(1, false, 7).subarray(0, 2),
  ])
  const [first, second, third] = [2 + 4, 2 + 4 + 6, octets.length]
  t.equal(frames.readFrame(octets, 2), first)
  t.equal(frames.readFrame(octets, first), second)
  t.equal(frames.isBoundary, true)
  t.equal(frames.readFrame(octets, second), third)
  t.equal(frames.isBoundary, false)
})

t.test('a length beyond 32 bits is counted', async (t) => {
  const frames = new Frames()
  frames.read(frame(0, false, 64).fill(1, 5, 6))
  t.equal(frames.isBoundary, false)
  frames.read(Buffer.alloc(1_000_000))
  t.equal(frames.isBoundary, false)
})

t.test('the close frame of ours is a frame, and says 1001', async (t) => {
  t.same(endsIn(GOING_AWAY, [1]), [4])
  t.equal(GOING_AWAY.readUInt16BE(2), 1001)
})

t.test('any row of frames, cut anywhere, has the same ends', async (t) => {
  // Around the lengths at which another form is needed, too.
  const payload = fc.oneof(
    fc.nat(300),
    fc.integer({ min: 120, max: 130 }),
    fc.integer({ min: 65_530, max: 65_540 }),
  )
  const drawn = fc.record({ payload, masked: fc.boolean(), wide: fc.nat(2), opcode: fc.nat(255) })
  // Small ones around heads, large ones in between.
  const size = fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 30_000, max: 40_000 }))
  const sizes = fc.array(size, { minLength: 1, maxLength: 40 })
  const property = fc.property(fc.array(drawn, { maxLength: 8 }), sizes, (all, sizes) => {
    const frames = all.map(({ payload, masked, wide, opcode }) => {
      const least = payload > 65_535 ? 2 : payload > 125 ? 1 : 0
      return frame(payload, masked, ([7, 16, 64] as const)[Math.max(wide, least)] ?? 64, opcode)
    })
    let end = 0
    const expected = frames.map((one) => (end += one.length))
    const octets = Buffer.concat(frames)
    const { whole, within } = piecewise(octets, sizes)
    return (
      isDeepStrictEqual(endsIn(octets, sizes), expected) &&
      whole.every((at) => expected.includes(at)) &&
      !within.some((at) => expected.includes(at))
    )
  })
  const { seed, failed, counterexample } = fc.check(property, { numRuns: 300 })
  t.comment(`seed ${seed}`)
  t.notOk(failed, JSON.stringify(counterexample))
})
