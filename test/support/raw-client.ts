// Reads HTTP/1.1 responses from a bare socket, strictly: what RFC 9112 does not allow is told apart from what was cut off.
import type { Socket } from 'node:net'

/** The connection ended, or nothing came for too long, before the message was complete. */
export class Cut extends Error {}

/** Bytes that no server may send. */
export class Malformed extends Error {}

export interface Head {
  status: number
  /** Lower case names; the values of a repeated field are joined with a comma. */
  fields: ReadonlyMap<string, string>
}

export interface Response extends Head {
  body: Buffer
  /** The statuses of the interim responses before it. */
  interim: number[]
}

const LINE_LIMIT = 64 * 1024
const STATUS_LINE = /^HTTP\/1\.1 ([1-5]\d\d) [\t\x20-\x7e\x80-\xff]*$/
const FIELD_LINE = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/

/** @see RFC 9112 §6.3 */
const hasNoBody = (method: string, status: number): boolean =>
  method === 'HEAD' || status < 200 || status === 204 || status === 304

export const closesAfter = ({ fields }: Head): boolean =>
  /(^|,)\s*close\s*(,|$)/i.test(fields.get('connection') ?? '')

export class ResponseReader {
  /** Nothing came for too long, so that this side left. */
  gaveUp = false
  readonly #source: AsyncIterator<Buffer>
  #held: Buffer = Buffer.alloc(0)

  /** @param patienceMs how long the socket may be silent, both ways, before it is destroyed */
  constructor(socket: Socket, patienceMs: number) {
    this.#source = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
    socket.on('error', () => {})
    socket.setTimeout(patienceMs, () => {
      this.gaveUp = true
      socket.destroy()
    })
  }

  /** How many bytes came that were not read yet. */
  get surplus(): number {
    return this.#held.length
  }

  /** @throws Cut or Malformed */
  async response(method: string): Promise<Response> {
    const interim: number[] = []
    for (;;) {
      const head = await this.head()
      if (head.status < 200) {
        interim.push(head.status)
        continue
      }
      return { ...head, interim, body: await this.content(method, head) }
    }
  }

  /** All of the content behind a head. */
  async content(method: string, head: Head): Promise<Buffer> {
    const pieces: Buffer[] = []
    for await (const piece of this.body(method, head)) pieces.push(piece)
    return Buffer.concat(pieces)
  }

  /** The next head, interim or not. */
  async head(): Promise<Head> {
    const line = await this.#line()
    const status = STATUS_LINE.exec(line)?.[1]
    if (status === undefined) throw new Malformed(`not a status line: ${JSON.stringify(line)}`)
    const fields = new Map<string, string>()
    for (let field = await this.#line(); field !== ''; field = await this.#line()) {
      const [, name, value = ''] = FIELD_LINE.exec(field) ?? []
      if (name === undefined) throw new Malformed(`not a field: ${JSON.stringify(field)}`)
      const before = fields.get(name.toLowerCase())
      fields.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`)
    }
    return { status: Number(status), fields }
  }

  /** The content behind a head, as it comes. Ends only when all of it was there. */
  async *body(method: string, { status, fields }: Head): AsyncGenerator<Buffer> {
    if (hasNoBody(method, status)) return
    const length = fields.get('content-length')
    const coding = fields.get('transfer-encoding')
    if ((length === undefined) === (coding === undefined))
      throw new Malformed(`length ${length} and coding ${coding}`)
    if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new Malformed(`length ${length}`)
      yield* this.#exactly(Number(length))
      return
    }
    if (coding?.toLowerCase() !== 'chunked') throw new Malformed(`coding ${coding}`)
    yield* this.#chunks()
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const line = await this.#line()
      if (!/^[0-9a-f]{1,8}$/i.test(line)) throw new Malformed(`not a chunk size: ${JSON.stringify(line)}`)
      const size = Number.parseInt(line, 16)
      yield* this.#exactly(size)
      const after = await this.#line()
      // Trailers are dropped on the way, so that behind the last chunk there is nothing either.
      if (after !== '') throw new Malformed(`${JSON.stringify(after)} behind a chunk`)
      if (size === 0) return
    }
  }

  async *#exactly(size: number): AsyncGenerator<Buffer> {
    for (let left = size; left > 0; ) {
      if (this.#held.length === 0) await this.#fill()
      const piece = this.#held.subarray(0, left)
      this.#held = this.#held.subarray(piece.length)
      left -= piece.length
      yield piece
    }
  }

  async #line(): Promise<string> {
    for (;;) {
      const at = this.#held.indexOf('\r\n')
      if (at >= 0) {
        const line = this.#held.toString('latin1', 0, at)
        this.#held = this.#held.subarray(at + 2)
        return line
      }
      if (this.#held.length > LINE_LIMIT) throw new Malformed('a line without an end')
      await this.#fill()
    }
  }

  async #fill(): Promise<void> {
    const next = await this.#source.next().catch((error: Error) => {
      throw new Cut(error.message)
    })
    if (next.done) throw new Cut('the connection ended')
    this.#held = this.#held.length === 0 ? next.value : Buffer.concat([this.#held, next.value])
  }
}
