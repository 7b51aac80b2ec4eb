// Reading the head of a request or a response, strictly: one pass over its octets, which finds and checks every part.
// No octet goes on that was not looked at here. Runs in the thread of the connection.

import { type KnownName, lookUp, MULTIPLIER, mix, NUMBERS, numberOf, OTHER } from './names.ts'
import { COLON, CR, HTAB, LF, NINE, SP, TARGETS, TOKENS, UNDERSCORE, VALUES, ZERO } from './octets.ts'

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

/**
 * Reads heads one after the other; what it holds is true until it reads the next, and is used up at once. All
 * positions are into `text`, the head as Latin-1, so that octets go through unchanged (RFC 9112 §2.2).
 */
export class HeadReader {
  readonly #limits: HeadLimits
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
    let at = start
    while (at < end && TOKENS[buffer[at] ?? 0] !== 0) at++
    if (at === end) return this.#unfinished(start, end)
    if (buffer[at] !== SP || at === start) throw new Malformed('it does not begin with a method')
    const methodEnd = at++
    const targetStart = at
    while (at < end && TARGETS[buffer[at] ?? 0] !== 0) at++
    if (at - targetStart > this.#limits.targetLimitBytes) throw new TooLong('target')
    if (at === end) return this.#unfinished(start, end)
    if (buffer[at] !== SP || at === targetStart) throw new Malformed('its target is not one')
    const targetEnd = at++
    const versionEnd = this.#readVersion(buffer, at, end)
    if (versionEnd < 0) return this.#unfinished(start, end)
    const lineEnd = readLineEnd(buffer, versionEnd, end)
    if (lineEnd < 0) return this.#unfinished(start, end)
    const headEnd = this.#readFields(buffer, start, lineEnd, end)
    if (headEnd < 0) return this.#unfinished(start, end)
    this.text = buffer.toString('latin1', start, headEnd)
    this.method = this.text.slice(0, methodEnd - start)
    this.target = this.text.slice(targetStart - start, targetEnd - start)
    return headEnd
  }

  /**
   * @returns where the head ends, or -1 if it has not ended yet
   * @throws Malformed, TooManyFields or TooLong
   * @see RFC 9112 §4
   */
  readResponse(buffer: Buffer, start: number, end: number): number {
    let at = this.#readVersion(buffer, start, end)
    if (at < 0) return this.#unfinished(start, end)
    const statusStart = at + 1
    for (; at < end && at < statusStart + 3; at++) {
      const octet = buffer[at] ?? 0
      const fits = at < statusStart ? octet === SP : octet >= ZERO && octet <= NINE
      if (!fits) throw new Malformed('its status is not one')
    }
    if (at === end) return this.#unfinished(start, end)
    const statusEnd = at
    // The space is mandatory, the phrase is not; some leave out both.
    if (buffer[at] === SP) while (at < end && VALUES[buffer[at] ?? 0] !== 0) at++
    const reasonEnd = at
    const lineEnd = readLineEnd(buffer, at, end)
    if (lineEnd < 0) return this.#unfinished(start, end)
    const headEnd = this.#readFields(buffer, start, lineEnd, end)
    if (headEnd < 0) return this.#unfinished(start, end)
    this.text = buffer.toString('latin1', start, headEnd)
    this.status =
      digitOf(buffer[statusEnd - 3]) * 100 +
      digitOf(buffer[statusEnd - 2]) * 10 +
      digitOf(buffer[statusEnd - 1])
    this.reason = this.text.slice(statusEnd + 1 - start, reasonEnd - start)
    return headEnd
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

  #unfinished(start: number, end: number): number {
    if (end - start > this.#limits.headLimitBytes) throw new TooLong('head')
    return -1
  }

  /** @returns where the version ends, or -1 */
  #readVersion(buffer: Buffer, start: number, end: number): number {
    for (let at = 0; at < HTTP.length; at++) {
      if (start + at === end) return -1
      if (buffer[start + at] !== HTTP[at]) throw new Malformed('its version is not one of HTTP')
    }
    const at = start + HTTP.length
    if (at + 3 > end) return -1
    const major = digitOf(buffer[at])
    const minor = digitOf(buffer[at + 2])
    if (major < 0 || minor < 0 || buffer[at + 1] !== DOT)
      throw new Malformed('its version is not one of HTTP')
    if (major !== 1 || minor > 1) throw new Malformed(`it speaks HTTP/${major}.${minor}`, true)
    this.minor = minor
    return at + 3
  }

  /** @returns where the head ends, or -1 */
  #readFields(buffer: Buffer, start: number, from: number, end: number): number {
    const { fieldLimit, headLimitBytes } = this.#limits
    const positions = this.#at
    // A head that is complete in one read is not looked at beyond its limit either.
    const last = Math.min(end, start + headLimitBytes)
    let at = from
    let count = 0
    let seen = 0
    this.fieldsStart = from - start
    this.#forget()
    for (;;) {
      if (at >= last) break
      if (buffer[at] === CR) {
        const headEnd = readLineEnd(buffer, at, last)
        if (headEnd < 0) break
        this.count = count
        this.underscored = (seen & UNDERSCORE) !== 0
        return headEnd
      }
      if (count === fieldLimit) throw new TooManyFields()
      const nameStart = at
      let hash = 0
      let octet = 0
      for (; at < last; at++) {
        octet = buffer[at] ?? 0
        const token = TOKENS[octet] ?? 0
        if (token === 0) break
        seen |= token
        hash = mix(hash, octet, MULTIPLIER)
      }
      if (at === last) break
      if (octet !== COLON || at === nameStart) throw new Malformed('a field has no valid name')
      const nameEnd = at++
      while (at < last && (buffer[at] === SP || buffer[at] === HTAB)) at++
      const valueStart = at
      while (at < last && VALUES[buffer[at] ?? 0] !== 0) at++
      let valueEnd = at
      while (valueEnd > valueStart && (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === HTAB))
        valueEnd--
      const next = readLineEnd(buffer, at, last)
      if (next < 0) break
      const position = count * PARTS
      positions[position] = nameStart - start
      positions[position + 1] = nameEnd - start
      positions[position + 2] = valueStart - start
      positions[position + 3] = valueEnd - start
      const known = lookUp(hash, buffer, nameStart, nameEnd)
      this.#known[count] = known
      this.#touched = count + 1
      if (known !== OTHER) {
        if (this.times(known) === 0) this.#first[known] = count
        this.#times[known] = this.times(known) + 1
      }
      count++
      at = next
    }
    if (last < end) throw new TooLong('head')
    return -1
  }
}

const digitOf = (octet = 0): number => (octet >= ZERO && octet <= NINE ? octet - ZERO : -1)

/**
 * A line ends with CR LF and with nothing else; what stops a value that is not an end of line stops the message.
 *
 * @returns where the next line begins, or -1 if the end has not arrived
 * @see RFC 9112 §2.2
 */
function readLineEnd(buffer: Buffer, at: number, end: number): number {
  if (at >= end) return -1
  if (buffer[at] !== CR) throw new Malformed('a line holds an octet that does not belong there')
  if (at + 1 >= end) return -1
  if (buffer[at + 1] !== LF) throw new Malformed('a line ends with a bare CR')
  return at + 2
}
