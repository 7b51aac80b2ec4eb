// Reading a body: which octets belong to it, and which of them are content. Runs in the thread of the connection.
import { Malformed } from './head.ts'
import { BACKSLASH, COLON, CR, EQUALS, HEX, LF, QUOTE, SEMICOLON, TOKENS, VALUES } from './octets.ts'

/** How the end of a body is found; there is exactly one way (RFC 9112 §6.3). `close`: by the end of the connection. */
export type Framing =
  | { readonly kind: 'none' | 'chunked' | 'close' }
  | { readonly kind: 'length'; readonly bytes: number }

/** More digits than any chunk needs, and fewer than a number can hold exactly. */
const SIZE_DIGITS = 12

/** What may be dropped from one chunked body: its extensions, and its trailer fields (RFC 9112 §7.1.1 and §7.1.2). */
const EXTENSION_LIMIT_BYTES = 4_096
const TRAILER_LIMIT_BYTES = 16_384

// What a chunked body consists of next.
const SIZE = 0
const EXTENSION_NAME = 1
const EXTENSION_NAME_REST = 2
const EXTENSION_VALUE = 3
const EXTENSION_TOKEN = 4
const EXTENSION_QUOTED = 5
const EXTENSION_ESCAPED = 6
const EXTENSION_END = 7
const SIZE_LF = 8
const DATA = 9
const DATA_CR = 10
const DATA_LF = 11
const TRAILER = 12
const TRAILER_NAME = 13
const TRAILER_VALUE = 14
const TRAILER_LF = 15
const LAST_LF = 16

/** One body while it is being read. After each `read`, its content is at `from` to `to` of the same buffer. */
export class BodyReader {
  readonly framing: Framing
  /** The whole body was read. */
  done: boolean
  from = 0
  to = 0
  /** Octets still to come: of the body if it has a length, of the chunk otherwise. */
  #left: number
  #state = SIZE
  #digits = 0
  #dropped = 0

  constructor(framing: Framing) {
    this.framing = framing
    this.#left = framing.kind === 'length' ? framing.bytes : 0
    this.done = framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0)
  }

  /**
   * Takes what belongs to the body. Content that chunk sizes stand between is moved together in the buffer, so that it
   * always is one piece.
   *
   * @returns where what no longer belongs to the body begins; `end` as long as it is not `done`
   * @throws Malformed if it is not chunked as RFC 9112 §7.1 says
   */
  read(buffer: Buffer, start: number, end: number): number {
    this.from = start
    this.to = start
    if (this.done) return start
    const { kind } = this.framing
    if (kind === 'chunked') return this.#readChunks(buffer, start, end)
    const next = kind === 'length' ? Math.min(end, start + this.#left) : end
    this.#left -= next - start
    this.done = kind === 'length' && this.#left === 0
    this.to = next
    return next
  }

  /** Its end was that of the connection. */
  end(): void {
    this.done = true
    this.from = 0
    this.to = 0
  }

  #readChunks(buffer: Buffer, start: number, end: number): number {
    let at = start
    while (at < end && !this.done) {
      if (this.#state === DATA) at = this.#takeData(buffer, at, end)
      else this.#state = this.#step(buffer[at++] ?? 0)
    }
    return at
  }

  #takeData(buffer: Buffer, at: number, end: number): number {
    const next = Math.min(end, at + this.#left)
    this.#left -= next - at
    if (this.to === this.from) this.from = this.to = at
    if (this.to !== at) buffer.copyWithin(this.to, at, next)
    this.to += next - at
    if (this.#left === 0) this.#state = DATA_CR
    return next
  }

  /** Everything between the data, octet by octet. @returns what comes next */
  #step(octet: number): number {
    switch (this.#state) {
      case SIZE:
        return this.#size(octet)
      case SIZE_LF:
        return this.#must(octet === LF, this.#left === 0 ? TRAILER : DATA)
      case DATA_CR:
        return this.#must(octet === CR, DATA_LF)
      case DATA_LF:
        this.#digits = 0
        return this.#must(octet === LF, SIZE)
      case LAST_LF:
        this.done = octet === LF
        return this.#must(this.done, LAST_LF)
      default:
        return this.#state < SIZE_LF ? this.#extension(octet) : this.#trailer(octet)
    }
  }

  #size(octet: number): number {
    const digit = HEX[octet] ?? 16
    if (digit < 16) {
      if (++this.#digits > SIZE_DIGITS) throw new Malformed('a chunk is too large')
      this.#left = this.#left * 16 + digit
      return SIZE
    }
    if (this.#digits === 0) throw new Malformed('a chunk has no size')
    if (octet === CR) return SIZE_LF
    return this.#must(octet === SEMICOLON, EXTENSION_NAME)
  }

  /** `;name`, `;name=token` or `;name="quoted"`, any number of them. They are for this hop alone and go no further. */
  #extension(octet: number): number {
    if (++this.#dropped > EXTENSION_LIMIT_BYTES) throw new Malformed('its chunk extensions are too long')
    const token = TOKENS[octet] !== 0
    switch (this.#state) {
      case EXTENSION_NAME:
        return this.#must(token, EXTENSION_NAME_REST)
      case EXTENSION_NAME_REST:
        if (token) return EXTENSION_NAME_REST
        return octet === EQUALS ? EXTENSION_VALUE : this.#afterExtension(octet)
      case EXTENSION_VALUE:
        return octet === QUOTE ? EXTENSION_QUOTED : this.#must(token, EXTENSION_TOKEN)
      case EXTENSION_TOKEN:
        return token ? EXTENSION_TOKEN : this.#afterExtension(octet)
      case EXTENSION_QUOTED:
        if (octet === QUOTE) return EXTENSION_END
        if (octet === BACKSLASH) return EXTENSION_ESCAPED
        return this.#must(VALUES[octet] === 1, EXTENSION_QUOTED)
      case EXTENSION_ESCAPED:
        return this.#must(VALUES[octet] === 1, EXTENSION_QUOTED)
      default:
        return this.#afterExtension(octet)
    }
  }

  #afterExtension(octet: number): number {
    return octet === SEMICOLON ? EXTENSION_NAME : this.#must(octet === CR, SIZE_LF)
  }

  /** Trailer fields have to be fields, and are dropped: merging them into a head is how heads are forged. */
  #trailer(octet: number): number {
    if (++this.#dropped > TRAILER_LIMIT_BYTES) throw new Malformed('its trailer is too long')
    switch (this.#state) {
      case TRAILER:
        return octet === CR ? LAST_LF : this.#must(TOKENS[octet] !== 0, TRAILER_NAME)
      case TRAILER_NAME:
        return octet === COLON ? TRAILER_VALUE : this.#must(TOKENS[octet] !== 0, TRAILER_NAME)
      case TRAILER_VALUE:
        return octet === CR ? TRAILER_LF : this.#must(VALUES[octet] === 1, TRAILER_VALUE)
      default:
        return this.#must(octet === LF, TRAILER)
    }
  }

  #must(fits: boolean, next: number): number {
    if (!fits) throw new Malformed('its chunks are not in order')
    return next
  }
}
