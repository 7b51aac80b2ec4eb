// What one exchange of the chaos test is to be: its request, and the only answer that belongs to it. A seed gives the same.
import { createHash, randomBytes } from 'node:crypto'
import { between, magnitude, pick, type Random, randomOf } from '../random.ts'

/** How often each kind comes, relative to the others. */
const KINDS = {
  /** An answer with a length. */
  get: 24,
  /** An answer in chunks. */
  getChunked: 14,
  getLarge: 2,
  head: 5,
  /** A body with a length; the answer has one, too. */
  post: 16,
  /** A body in chunks; so is the answer. */
  postChunked: 10,
  postLarge: 2,
  put: 4,
  /** The client waits for 100 before it sends the body (RFC 9110 §10.1.1). */
  expect: 3,
  /** The app answers before it has read the body. */
  early: 2,
  /** 103 before the answer. */
  hints: 3,
  /** 204. */
  empty: 3,
  /** An event stream, to its end. */
  events: 4,
  /** The client closes its half behind the request, and reads on (RFC 9112 §9.5). */
  farewell: 3,
  /** HTTP/1.0. */
  old: 3,
  /** The client leaves in the middle of the answer. */
  leave: 3,
  webSocket: 3,
}
export type Kind = keyof typeof KINDS
export const ALL_KINDS = Object.keys(KINDS) as Kind[]

/** These may be sent behind one another without waiting. */
export const PIPELINED: ReadonlySet<Kind> = new Set(['get', 'getChunked', 'head', 'post', 'hints', 'empty'])

export interface Plan {
  nth: number
  /** The request id, too. */
  id: string
  kind: Kind
  method: string
  target: string
  /** Bytes of the request's body. */
  upload: number
  /** Bytes of the answer's body. */
  size: number
}

const LARGE_BYTES = 256 * 1024
const METHODS: Partial<Record<Kind, string>> = {
  head: 'HEAD',
  post: 'POST',
  postChunked: 'POST',
  postLarge: 'POST',
  put: 'PUT',
  expect: 'POST',
  early: 'POST',
}
/** What has a body to upload, and of which magnitude. */
const UPLOAD_BITS: Partial<Record<Kind, number>> = {
  post: 14,
  postChunked: 16,
  put: 14,
  expect: 13,
  early: 18,
}

/** @param nth which exchange of the run it is */
export function planOf(seed: number, nth: number): Plan {
  const random = randomOf(seed * 1_000_003 + nth)
  const kind = pick(random, KINDS)
  const id = `chaos-${nth}`
  const size = sizeOf(kind, random)
  const upload = uploadSizeOf(kind, random)
  return {
    nth,
    id,
    kind,
    method: METHODS[kind] ?? 'GET',
    target: `/${kind}/${nth}?size=${size}`,
    upload,
    size,
  }
}

function uploadSizeOf(kind: Kind, random: Random): number {
  if (kind === 'postLarge') return LARGE_BYTES
  const bits = UPLOAD_BITS[kind]
  return bits === undefined ? 0 : magnitude(random, bits)
}

function sizeOf(kind: Kind, random: Random): number {
  if (kind === 'empty') return 0
  if (kind === 'getLarge' || kind === 'leave') return LARGE_BYTES
  if (kind === 'events') return between(random, 1, 12)
  return magnitude(random, 15) - 1
}

// Random bytes that everyone reads from a place of their own: whatever is mixed up, cut or doubled does not compare.
const POOL = randomBytes(8 * LARGE_BYTES + 1)
const sliceOf = (place: number, size: number): Buffer => {
  const at = place % (POOL.length - size)
  return POOL.subarray(at, at + size)
}

/** What the request uploads. */
export const uploadOf = ({ nth, upload }: Plan): Buffer => sliceOf(nth * 104_729 + 3, upload)

/** What the app answers with. */
export const contentOf = ({ nth, kind, size }: Plan): Buffer =>
  kind === 'events'
    ? Buffer.from(Array.from({ length: size }, (_, event) => eventOf(nth, event)).join(''))
    : sliceOf(nth * 130_363 + 7, size)

export const eventOf = (nth: number, event: number): string => `data: ${nth} ${event}\n\n`

/** The token of a request, which its answer carries as `X-Echo`. */
export const tokenOf = (method: string, target: string, body: Buffer): string =>
  `${method} ${target} ${createHash('sha1').update(body).digest('hex')}`
