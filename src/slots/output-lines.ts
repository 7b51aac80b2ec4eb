// What a release writes, as lines: masked, logged one by one, and the last ones kept for the moment a boot fails.

const KEPT_LINES = 200
/** A line that never ends must not fill the memory; it is cut into pieces of this many bytes. */
const LONGEST_LINE = 8 * 1024

export interface OutputLinesOptions {
  /** Takes out of a line what nobody is to see. */
  mask(line: string): string
  onLine(line: string): void
}

export class OutputLines {
  readonly #options: OutputLinesOptions
  readonly #kept: string[] = []
  /** What was read of a line that has no end yet. */
  #rest = Buffer.alloc(0)

  constructor(options: OutputLinesOptions) {
    this.#options = options
  }

  /** The last lines, oldest first. */
  get kept(): string[] {
    return [...this.#kept]
  }

  /** How much was added of a line that has no end yet. */
  get restBytes(): number {
    return this.#rest.length
  }

  /** Keeps lines that an earlier slotgate has logged. */
  remember(lines: readonly string[]): void {
    this.#kept.push(...lines.slice(-KEPT_LINES).map(this.#options.mask))
  }

  add(chunk: Buffer): void {
    let rest = Buffer.concat([this.#rest, chunk])
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      this.#log(this.#logPieces(rest.subarray(0, end)))
      rest = rest.subarray(end + 1)
    }
    // A copy, or the few octets would keep the whole chunk.
    this.#rest = Buffer.from(this.#logPieces(rest))
  }

  /** Nothing more comes: a line without an end is one, too. */
  end(): void {
    if (this.#rest.length > 0) this.#log(this.#rest)
    this.#rest = Buffer.alloc(0)
  }

  /** @returns what is left and short enough */
  #logPieces(line: Buffer): Buffer {
    let rest = line
    while (rest.length > LONGEST_LINE) {
      const cut = characterStart(rest, LONGEST_LINE)
      this.#log(rest.subarray(0, cut))
      rest = rest.subarray(cut)
    }
    return rest
  }

  #log(line: Buffer): void {
    const { mask, onLine } = this.#options
    const text = mask(line.toString('utf8').replace(/\r$/, ''))
    this.#kept.push(text)
    if (this.#kept.length > KEPT_LINES) this.#kept.shift()
    onLine(text)
  }
}

/** The last place up to here where a character begins: octets of the form 10xxxxxx continue one. */
function characterStart(bytes: Buffer, at: number): number {
  let start = at
  while (start > at - 4 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start--
  return start
}
