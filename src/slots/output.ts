// The output of a booted process: every line into the log, the last ones kept for the moment a boot fails.
import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'

const KEPT_LINES = 200
/** A line that never ends must not fill the memory; it is cut into pieces of this many characters. */
const LONGEST_LINE = 8 * 1024

export class Output {
  #lines: string[] = []
  #onLine: (line: string, stream: 'stdout' | 'stderr') => void

  constructor(onLine: (line: string, stream: 'stdout' | 'stderr') => void) {
    this.#onLine = onLine
  }

  /** The last lines of both streams, oldest first. */
  get lines(): string[] {
    return [...this.#lines]
  }

  follow(readable: Readable, stream: 'stdout' | 'stderr'): void {
    const decoder = new StringDecoder('utf8')
    let rest = ''
    readable.on('data', (chunk: Buffer) => {
      const pieces = (rest + decoder.write(chunk)).split('\n')
      rest = pieces.pop() ?? ''
      for (const line of pieces) this.#add(line, stream)
      while (rest.length > LONGEST_LINE) {
        this.#add(rest.slice(0, LONGEST_LINE), stream)
        rest = rest.slice(LONGEST_LINE)
      }
    })
    readable.on('end', () => {
      if (rest) this.#add(rest, stream)
      rest = ''
    })
    // A broken pipe of a dying app must not end the front door.
    readable.on('error', () => {})
  }

  #add(line: string, stream: 'stdout' | 'stderr'): void {
    const text = line.replace(/\r$/, '')
    this.#lines.push(text)
    if (this.#lines.length > KEPT_LINES) this.#lines.shift()
    this.#onLine(text, stream)
  }
}
