// Finds where HTTP/1.1 messages begin and end in what arrives on a connection, for the backend and the loads of the bench.
// It trusts both of them, and costs as little as it can, since it shares a core with what it feeds.

/** Who wants to know. What is passed on is only valid during the call. */
export interface MessageSink {
  /** @param head the first line and the fields, without the empty line */
  head(head: string): void
  body(bytes: Buffer): void
  end(): void
}

const END_OF_HEAD = Buffer.from('\r\n\r\n')
const LENGTH = /\r\ncontent-length: *(\d+)/i
const CHUNKED = /\r\ntransfer-encoding: *chunked/i
const LINE_FEED = 10
const NOTHING = Buffer.alloc(0)

type Expects = 'head' | 'counted' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer'

export class MessageReader {
  readonly #sink: MessageSink
  #expects: Expects = 'head'
  /** Bytes of the body, or of the chunk, that are still to come. */
  #left = 0
  /** The beginning of a head or of a line whose end has not arrived. */
  #rest: Buffer = NOTHING

  constructor(sink: MessageSink) {
    this.#sink = sink
  }

  /** @throws Error when a chunk has no size */
  push(arrived: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, arrived]) : arrived
    this.#rest = NOTHING
    while (bytes.length > 0) {
      const taken = this.#take(bytes)
      if (taken === 0) {
        // What arrived lies in a buffer that is used again.
        this.#rest = Buffer.from(bytes)
        return
      }
      bytes = bytes.subarray(taken)
    }
  }

  /** @returns how many of the bytes are done with; 0 if more have to arrive first */
  #take(bytes: Buffer): number {
    if (this.#expects === 'head') return this.#takeHead(bytes)
    if (this.#expects === 'counted' || this.#expects === 'chunk') return this.#takeBody(bytes)
    return this.#takeLine(bytes)
  }

  #takeHead(bytes: Buffer): number {
    const end = bytes.indexOf(END_OF_HEAD)
    if (end < 0) return 0
    const head = bytes.toString('latin1', 0, end)
    this.#sink.head(head)
    this.#frame(head)
    return end + END_OF_HEAD.length
  }

  /** A message without either field has no body: a GET, a 101. */
  #frame(head: string): void {
    const length = LENGTH.exec(head)
    if (length) this.#left = Number(length[1])
    if (length && this.#left > 0) this.#expects = 'counted'
    else if (!length && CHUNKED.test(head)) this.#expects = 'chunk-size'
    else this.#end()
  }

  #takeBody(bytes: Buffer): number {
    const taken = Math.min(bytes.length, this.#left)
    this.#sink.body(taken === bytes.length ? bytes : bytes.subarray(0, taken))
    this.#left -= taken
    if (this.#left > 0) return taken
    if (this.#expects === 'chunk') this.#expects = 'chunk-end'
    else this.#end()
    return taken
  }

  #takeLine(bytes: Buffer): number {
    const taken = bytes.indexOf(LINE_FEED) + 1
    if (taken === 0) return 0
    const line = bytes.toString('latin1', 0, taken).trim()
    if (this.#expects === 'chunk-end') this.#expects = 'chunk-size'
    else if (this.#expects === 'chunk-size') this.#beginChunk(line)
    else if (line === '') this.#end()
    return taken
  }

  #beginChunk(line: string): void {
    this.#left = Number.parseInt(line, 16)
    if (Number.isNaN(this.#left)) throw new Error(`a chunk has no size: ${JSON.stringify(line)}`)
    this.#expects = this.#left === 0 ? 'trailer' : 'chunk'
  }

  #end(): void {
    this.#expects = 'head'
    this.#sink.end()
  }
}
