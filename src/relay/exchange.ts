// One exchange: a client's request from its first byte until both sides are done with it, and its one way to end early.
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Code, type Facts, SlotgateError } from '../errors.ts'
import type { Claim } from '../slots/table.ts'
import { type RawFields, valuesOf } from './fields.ts'

/** What becomes known on the way; the log line is made of it. */
export interface Known {
  service?: string
  claim?: Claim
  release?: string
  /** Who the client is, by the trusted proxies' word. */
  client?: string
  status?: number
  upstreamMs?: number
  error?: SlotgateError
}

const SAFE_ID = /^[\w.:+/=@-]{1,128}$/

/** A request id is kept if it is harmless in a log and in a header, else made. */
function requestIdOf(raw: RawFields): string {
  const ids = valuesOf(raw, 'x-request-id')
  const [id = ''] = ids
  return ids.length === 1 && SAFE_ID.test(id) ? id : randomUUID()
}

export class Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly client: Socket
  /** What the client sent behind the head of an upgrade request; null: not an upgrade. */
  readonly early: Buffer | null
  readonly requestId: string
  readonly known: Known = {}
  bytes = 0
  /** The client said that it will send no more, before the answer began, and still reads. */
  halfClosed = false
  readonly #startedMs = performance.now()
  readonly #abandoned = new AbortController()
  #timer: NodeJS.Timeout | undefined

  constructor(request: IncomingMessage, response: ServerResponse, client: Socket, early: Buffer | null) {
    this.request = request
    this.response = response
    this.client = client
    this.early = early
    this.requestId = requestIdOf(request.rawHeaders)
    // Without a listener a reset would be thrown; `clientClosed` follows and says what there is to say.
    request.on('error', () => {})
    response.on('error', () => {})
  }

  /** Aborted when the exchange ends early; the reason is a SlotgateError. Everything under way listens to it. */
  get signal(): AbortSignal {
    return this.#abandoned.signal
  }

  get ageMs(): number {
    return performance.now() - this.#startedMs
  }

  /** Ends the exchange, whoever wants that: the client, a timer, a limit, the end of a drain. */
  abandon(code: Code, facts: Facts = {}): void {
    if (!this.signal.aborted) this.#abandoned.abort(new SlotgateError(code, facts))
  }

  /** The client's connection is closed. That is how a tunnel ends; for a request it is an early end. */
  clientClosed(): void {
    if (this.known.status !== 101 && !this.response.writableFinished) this.abandon('client_closed')
  }

  /**
   * Arms the exchange's one timer, in place of what it waited for before.
   *
   * @param withinMs how long nothing may happen
   * @param blame who kept it waiting, decided when the time is up; nobody, if it armed the timer anew
   */
  expect(withinMs: number, blame: () => Code | undefined, facts?: Facts): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      const code = blame()
      if (code) this.abandon(code, facts)
    }, withinMs)
  }

  /** Something happened: the timer starts anew. */
  progress(): void {
    this.#timer?.refresh()
  }

  stopTimer(): void {
    clearTimeout(this.#timer)
  }
}
