// Reading the head of a request or a response, strictly: one pass over its octets, which finds and checks every part.
// No octet goes on that was not looked at here. Runs in the thread of the connection.

import { type KnownName, lookUp, NUMBERS, numberOf, OTHER } from './names.ts'
import { COLON, CR, HTAB, LF, NINE, SP, TARGETS, TOKENS, UNDERSCORE, ZERO } from './octets.ts'

/** Where one field begins and ends: four positions in `text`, as `PARTS` says. */
const PARTS = 4

/** What cannot be read. The connection it came over cannot be in step any more. */
export class Unreadable extends Error {}

/** It is not HTTP/1.1 as its RFC has it. */
export class Malformed extends Unreadable {
  /** Not a bad head but a version that is not spoken. */
  readonly version: boolean

  constructor(detail: string, version = false) {
    super(detail)
    this.version = version
  }
}

/** More fields than the limit, counted before any of them is looked at. */
export class TooManyFields extends Unreadable {}

/** More octets than the limit, or than the limit for the target alone. */
export class TooLong extends Unreadable {
  readonly part: 'head' | 'target'

  constructor(part: 'head' | 'target') {
    super(`its ${part} is too long`)
    this.part = part
  }
}

export interface HeadLimits {
  headLimitBytes: number
  fieldLimit: number
  targetLimitBytes: number
}

const HTTP = [0x48, 0x54, 0x54, 0x50, 0x2f]
const DOT = 0x2e

/** Where almost all octets are good, so many are looked at in one step. */
const WORD_BYTES = 4
const SPACES = 0x20202020

/** Stands behind what has arrived. It is no octet of anything, so that nothing goes beyond it and nothing has to count. */
const END = 0

/**
 * Reads heads one after the other; what it holds is true until it reads the next, and is used up at once. All
 * positions are into `text`, the head as Latin-1, so that octets go through unchanged (RFC 9112 §2.2).
 */
export class HeadReader {
  readonly #limits: HeadLimits
  /** The head that is being read, from its first octet on, and the same memory four octets at a time. */
  readonly #octets: Buffer
  readonly #words: Int32Array
  /** How many of the octets have arrived, and whether more have than a head may have. */
  #last = 0
  #isCut = false
  /** Positions of the fields: start and end of the name, start and end of the value. */
  readonly #at: Int32Array
  readonly #known: Uint8Array
  /** For each known name: its first field, or -1; and how many there are. */
  readonly #first = new Int16Array(NUMBERS).fill(-1)
  readonly #times = new Int16Array(NUMBERS)
  /** How many fields have left their mark in the two. */
  #touched = 0
  text = ''
  /** 0 or 1: the minor version of HTTP/1. */
  minor = 0
  method = ''
  target = ''
  status = 0
  reason = ''
  count = 0
  /** Whether the name of any field has an underscore. */
  underscored = false
  /** The start of the first field. */
  fieldsStart = 0

  constructor(limits: HeadLimits) {
    this.#limits = limits
    const words = Math.floor(limits.headLimitBytes / WORD_BYTES) + 1
    this.#octets = Buffer.allocUnsafeSlow(words * WORD_BYTES)
    this.#words = new Int32Array(this.#octets.buffer)
    this.#at = new Int32Array((limits.fieldLimit + 1) * PARTS)
    this.#known = new Uint8Array(limits.fieldLimit + 1)
  }

  /** @returns the number of a field's name by names.ts */
  known(field: number): number {
    return this.#known[field] ?? 0
  }

  /** @returns the first field of a known name, by its number, or -1 */
  first(known: number): number {
    return this.#first[known] ?? -1
  }

  /** @returns how many fields a known name has */
  times(known: number): number {
    return this.#times[known] ?? 0
  }

  /** @returns the values of a known name, in order */
  values(name: KnownName): string[] {
    const wanted = numberOf(name)
    const values: string[] = []
    for (let field = this.first(wanted); field >= 0 && field < this.count; field++) {
      if (this.known(field) === wanted) values.push(this.value(field))
    }
    return values
  }

  nameStart(field: number): number {
    return this.#at[field * PARTS] ?? 0
  }

  valueStart(field: number): number {
    return this.#at[field * PARTS + 2] ?? 0
  }

  valueEnd(field: number): number {
    return this.#at[field * PARTS + 3] ?? 0
  }

  name(field: number): string {
    return this.text.slice(this.nameStart(field), this.#at[field * PARTS + 1])
  }

  value(field: number): string {
    return this.text.slice(this.valueStart(field), this.valueEnd(field))
  }

  /** Whether a field is on the wire exactly as slotgate would write it: one space, and none behind the value. */
  isPlain(field: number): boolean {
    const nameEnd = this.#at[field * PARTS + 1] ?? 0
    const next = field + 1 < this.count ? this.nameStart(field + 1) : this.text.length - 2
    const valueStart = this.valueStart(field)
    return (
      valueStart === nameEnd + 2 &&
      this.valueEnd(field) === next - 2 &&
      this.text.charCodeAt(nameEnd + 1) === SP
    )
  }

  /** Where the line after a field begins. */
  nextStart(field: number): number {
    return field + 1 < this.count ? this.nameStart(field + 1) : this.text.length - 2
  }

  /**
   * @param start where the request line begins
   * @returns where the head ends, or -1 if it has not ended yet
   * @throws Malformed, TooManyFields or TooLong, as soon as it is certain
   * @see RFC 9112 §3 and §5
   */
  readRequest(buffer: Buffer, start: number, end: number): number {
    const last = this.#load(buffer, start, end)
    const octets = this.#octets
    let at = 0
    while (TOKENS[octets[at] ?? 0] !== 0) at++
    if (at === last) return this.#unfinished()
    if (octets[at] !== SP || at === 0) throw new Malformed('it does not begin with a method')
    const methodEnd = at++
    const targetStart = at
    while (TARGETS[octets[at] ?? 0] !== 0) at++
    if (at - targetStart > this.#limits.targetLimitBytes) throw new TooLong('target')
    if (at === last) return this.#unfinished()
    if (octets[at] !== SP || at === targetStart) throw new Malformed('its target is not one')
    const targetEnd = at++
    const versionEnd = this.#readVersion(at)
    if (versionEnd < 0) return this.#unfinished()
    const lineEnd = this.#readLineEnd(versionEnd)
    if (lineEnd < 0) return this.#unfinished()
    const headEnd = this.#readFields(lineEnd)
    if (headEnd < 0) return this.#unfinished()
    this.text = octets.toString('latin1', 0, headEnd)
    this.method = this.text.slice(0, methodEnd)
    this.target = this.text.slice(targetStart, targetEnd)
    return start + headEnd
  }

  /**
   * @returns where the head ends, or -1 if it has not ended yet
   * @throws Malformed, TooManyFields or TooLong
   * @see RFC 9112 §4
   */
  readResponse(buffer: Buffer, start: number, end: number): number {
    const last = this.#load(buffer, start, end)
    const octets = this.#octets
    let at = this.#readVersion(0)
    if (at < 0) return this.#unfinished()
    const statusStart = at + 1
    for (; at < last && at < statusStart + 3; at++) {
      const octet = octets[at] ?? 0
      const fits = at < statusStart ? octet === SP : octet >= ZERO && octet <= NINE
      if (!fits) throw new Malformed('its status is not one')
    }
    if (at === last) return this.#unfinished()
    const statusEnd = at
    // The space is mandatory, the phrase is not; some leave out both.
    if (octets[at] === SP) at = this.#valueEnd(at)
    const reasonEnd = at
    const lineEnd = this.#readLineEnd(at)
    if (lineEnd < 0) return this.#unfinished()
    const headEnd = this.#readFields(lineEnd)
    if (headEnd < 0) return this.#unfinished()
    this.text = octets.toString('latin1', 0, headEnd)
    this.status =
      digitOf(octets[statusEnd - 3]) * 100 +
      digitOf(octets[statusEnd - 2]) * 10 +
      digitOf(octets[statusEnd - 1])
    this.reason = this.text.slice(statusEnd + 1, reasonEnd)
    return start + headEnd
  }

  /** Copies what may be a head to where its words can be looked at. @returns how many octets it has so far */
  #load(buffer: Buffer, start: number, end: number): number {
    const { headLimitBytes } = this.#limits
    this.#isCut = end - start > headLimitBytes
    this.#last = this.#isCut ? headLimitBytes : end - start
    buffer.copy(this.#octets, 0, start, start + this.#last)
    this.#octets[this.#last] = END
    return this.#last
  }

  /** Only what the head before has set: filling whole tables costs as much as reading a short head. */
  #forget(): void {
    for (let field = 0; field < this.#touched; field++) {
      const known = this.known(field)
      this.#first[known] = -1
      this.#times[known] = 0
    }
    this.#touched = 0
  }

  /** It goes no further with what has arrived; a head beyond its limit never will. */
  #unfinished(): number {
    if (this.#isCut) throw new TooLong('head')
    return -1
  }

  /** @returns where the version ends, or -1 */
  #readVersion(start: number): number {
    const octets = this.#octets
    for (let at = 0; at < HTTP.length; at++) {
      if (start + at === this.#last) return -1
      if (octets[start + at] !== HTTP[at]) throw new Malformed('its version is not one of HTTP')
    }
    const at = start + HTTP.length
    if (at + 3 > this.#last) return -1
    const major = digitOf(octets[at])
    const minor = digitOf(octets[at + 2])
    if (major < 0 || minor < 0 || octets[at + 1] !== DOT)
      throw new Malformed('its version is not one of HTTP')
    if (major !== 1 || minor > 1) throw new Malformed(`it speaks HTTP/${major}.${minor}`, true)
    this.minor = minor
    return at + 3
  }

  /** @returns where the head ends, or -1 */
  #readFields(from: number): number {
    const { fieldLimit } = this.#limits
    const octets = this.#octets
    const last = this.#last
    let at = from
    let count = 0
    let seen = 0
    this.fieldsStart = from
    this.#forget()
    while (at < last) {
      if (octets[at] === CR) {
        this.count = count
        this.underscored = (seen & UNDERSCORE) !== 0
        return this.#readLineEnd(at)
      }
      if (count === fieldLimit) throw new TooManyFields()
      const nameStart = at
      for (; ; at++) {
        const token = TOKENS[octets[at] ?? 0] ?? 0
        if (token === 0) break
        seen |= token
      }
      if (at === last) return -1
      if (octets[at] !== COLON || at === nameStart) throw new Malformed('a field has no valid name')
      const nameEnd = at++
      while (isBlank(octets[at])) at++
      const valueStart = at
      at = this.#valueEnd(at)
      let valueEnd = at
      while (valueEnd > valueStart && isBlank(octets[valueEnd - 1])) valueEnd--
      at = this.#readLineEnd(at)
      if (at < 0) return -1
      this.#setField(count++, nameStart, nameEnd, valueStart, valueEnd)
    }
    return -1
  }

  #setField(field: number, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    const positions = this.#at
    const position = field * PARTS
    positions[position] = nameStart
    positions[position + 1] = nameEnd
    positions[position + 2] = valueStart
    positions[position + 3] = valueEnd
    const known = lookUp(this.#octets, nameStart, nameEnd)
    this.#known[field] = known
    this.#touched = field + 1
    if (known === OTHER) return
    const times = this.times(known)
    if (times === 0) this.#first[known] = field
    this.#times[known] = times + 1
  }

  /** @returns where the first octet is that does not belong to a field value or a reason phrase (RFC 9110 §5.5) */
  #valueEnd(start: number): number {
    const words = this.#words
    for (let at = start; ; at++) {
      let word = at >> 2
      // Of the first word only the octets from `at` on: a tab below them would borrow from their spaces.
      const from = -1 << ((at & 3) * 8)
      let controls = controlsIn(((words[word] ?? 0) & from) | (SPACES & ~from))
      while (controls === 0) controls = controlsIn(words[++word] ?? 0)
      at = word * WORD_BYTES + (lowestBit(controls) >> 3)
      if (this.#octets[at] !== HTAB) return at
    }
  }

  /**
   * A line ends with CR LF and with nothing else; what stops a value that is not an end of line stops the message.
   *
   * @returns where the next line begins, or -1 if the end has not arrived
   * @see RFC 9112 §2.2
   */
  #readLineEnd(at: number): number {
    if (at >= this.#last) return -1
    if (this.#octets[at] !== CR) throw new Malformed('a line holds an octet that does not belong there')
    if (at + 1 >= this.#last) return -1
    if (this.#octets[at + 1] !== LF) throw new Malformed('a line ends with a bare CR')
    return at + 2
  }
}

const isBlank = (octet: number | undefined): boolean => octet === SP || octet === HTAB

/**
 * Finds controls (HTAB among them) and DEL in four octets: the highest bit of `x - n & ~x` is set in an octet that is
 * below n. A borrow may set it in those above such an octet too: only the lowest is certain.
 *
 * @param word with the first octet in its lowest bits, as on every machine that Node runs on
 * @returns 0, or bits of which the lowest is in the first of them
 */
function controlsIn(word: number): number {
  const controls = (word - SPACES) & ~word
  const other = word ^ 0x7f7f7f7f
  const deletes = (other - 0x01010101) & ~other
  return (controls | deletes) & 0x80808080
}

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits)

const digitOf = (octet = 0): number => (octet >= ZERO && octet <= NINE ? octet - ZERO : -1)
