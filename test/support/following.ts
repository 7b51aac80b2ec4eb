// A reader of the events, over a real connection: it takes them as they come, and a test waits for those it looks for.
import { type ClientRequest, get, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { type SigningKey, signRequest } from '../../src/signing.ts'
import type { FeedEvent } from '../../src/switch/types.ts'

export interface Frame {
  id?: string
  event?: string
  retry?: string
  data?: string
}

export class Following {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly frames: Frame[] = []
  /** What the frames say. */
  readonly events: FeedEvent[] = []
  /** How many comments came. */
  comments = 0
  /** Resolves when the stream has ended, with whether it was cut. */
  readonly ended: Promise<'ended' | 'cut'>
  readonly response: IncomingMessage
  readonly #request: ClientRequest
  #isOver = false
  #looking: (() => void)[] = []

  private constructor(request: ClientRequest, response: IncomingMessage) {
    this.#request = request
    this.response = response
    this.status = response.statusCode ?? 0
    this.headers = response.headers
    this.ended = new Promise((resolve) => {
      response.once('close', () => {
        this.#isOver = true
        resolve(response.complete ? 'ended' : 'cut')
        this.#look()
      })
    })
    response.on('error', () => {})
  }

  /** @param headers beside those of the signature */
  static async open(
    t: Pick<Test, 'teardown'>,
    { url, key, headers = {} }: { url: string; key: SigningKey; headers?: Record<string, string> },
  ): Promise<Following> {
    const signed = signRequest({ method: 'GET', url, key })
    const request = get(url, { headers: { ...headers, ...signed }, agent: false })
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve)
      request.once('error', reject)
    })
    request.on('error', () => {})
    t.teardown(() => request.destroy())
    const following = new Following(request, response)
    return following
  }

  /** Begins to take what comes. */
  read(): this {
    let frame: Frame = {}
    const lines = createInterface({ input: this.response })
    // That it was cut is told by `ended`.
    lines.on('error', () => {})
    lines.on('line', (line) => {
      const [, name = '', value = ''] = /^([a-z]*): ?(.*)$/.exec(line) ?? []
      if (line.startsWith(':')) this.comments += 1
      else if (line !== '') {
        frame[name as keyof Frame] = value
        return
      } else {
        this.#take(frame)
        frame = {}
      }
      this.#look()
    })
    return this
  }

  #take(frame: Frame): void {
    if (Object.keys(frame).length === 0) return
    this.frames.push(frame)
    if (frame.data !== undefined) this.events.push(JSON.parse(frame.data))
  }

  get seqs(): number[] {
    return this.events.flatMap((event) => (event.kind === 'record' ? [event.record.seq] : []))
  }

  /** The lines of output that came. */
  get lines(): string[] {
    return this.events.flatMap((event) => (event.kind === 'output' ? [event.line] : []))
  }

  /** Waits until what has come is as it should be. @throws Error where the stream ends before */
  async until(isThere: (following: this) => boolean): Promise<void> {
    while (!isThere(this)) {
      if (this.#isOver)
        throw new Error(`the stream ended before, after ${JSON.stringify(this.frames.slice(-20))}`)
      await new Promise<void>((resolve) => this.#looking.push(resolve))
    }
  }

  /** Resolves when it is told as it happens. */
  async live(): Promise<this> {
    await this.until(({ frames }) => frames.some(({ event }) => event === 'live'))
    return this
  }

  close(): void {
    this.#request.destroy()
  }

  #look(): void {
    for (const look of this.#looking.splice(0)) look()
  }
}
