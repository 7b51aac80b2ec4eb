// What a request and an upgrade have in common on their way: who asks, which service and slot it counts in, and the one
// end of it. Runs in the thread of the client's connection.
import { type Code, SlotgateError } from '../errors.ts'
import type { Claim, ClaimKind, Closed } from '../slots/table.ts'
import { logExchange, traceExchange } from './access.ts'
import { clientOf, type Peer } from './forwarded.ts'
import type { Front } from './front.ts'
import type { HeadReader } from './http1/head.ts'
import { numberOf } from './http1/names.ts'
import { requestFields, withPrefix } from './http1/outgoing.ts'
import type { Request } from './http1/request.ts'
import type { Known } from './known.ts'
import { isLink, linkAnswer, mayPreview, withoutPasses } from './preview.ts'
import type { Answer, Refused } from './refuse.ts'
import { createRequestId } from './request-id.ts'
import type { Route } from './route.ts'
import { type Trace, traceOf } from './trace.ts'
import type { Pool } from './upstream.ts'
import type { Waiter } from './waiting.ts'

const ACCEPT = numberOf('accept')
const REQUEST_ID = numberOf('x-request-id')
const FORWARDED_FOR = numberOf('x-forwarded-for')

/** How long a client may go on sending what nobody reads, once its answer was written (RFC 9112 §9.6). */
export const LINGER_MS = 1_000

/** Harmless in a log and in a header. */
const SAFE_ID = /^[\w.:+/=@-]{1,128}$/

export abstract class Journey implements Known, Refused, Waiter {
  readonly front: Front
  readonly #startedMs = performance.now()
  #settled = false
  #tookMs = 0
  /** Where it waits, and what for. */
  #wait: { service: number; code: Code } | null = null
  readonly #from: Peer
  /** The client's `Accept`, which decides how a refusal looks. */
  accept = ''
  requestId = ''
  trace: Trace | null = null
  method = ''
  target = ''
  client: string
  /** null: it is not found yet, or there is none. */
  route: Route | null = null
  service: string | undefined
  serviceIndex = -1
  claim: Claim | null = null
  release: string | undefined
  status = 0
  bytes = 0
  upstreamMs = -1
  heldMs = 0
  error: SlotgateError | undefined

  constructor(front: Front, from: Peer) {
    this.front = front
    this.#from = from
    this.client = from.peer
  }

  /** Ends it at the end of a drain. */
  abstract cut(): void

  abstract letIn(claim: Claim): void

  abstract turnAway(): void

  /** Once it is settled, how long it took. */
  get ageMs(): number {
    return this.#settled ? this.#tookMs : performance.now() - this.#startedMs
  }

  get isSettled(): boolean {
    return this.#settled
  }

  /** What it is told if it waits in vain; null: it does not wait. */
  get waitsFor(): Code | null {
    return this.#wait?.code ?? null
  }

  get openLimit(): number {
    return this.route?.limits.openRequests ?? 0
  }

  /** It is for what is in the idle slot. */
  get isPreview(): boolean {
    return this.route?.isPreview ?? false
  }

  /** Takes what the log and a refusal need from a head, whatever becomes of the request. */
  protected read(head: HeadReader): void {
    this.method = head.method
    this.target = head.target
    const ids = head.first(REQUEST_ID)
    const id = ids >= 0 && head.times(REQUEST_ID) === 1 ? head.value(ids) : ''
    this.requestId = id !== '' && SAFE_ID.test(id) ? id : createRequestId()
    const { traceShare } = this.front.config
    if (traceShare !== null) this.trace = traceOf(head.values('traceparent'), traceShare)
    const accept = head.first(ACCEPT)
    if (accept >= 0) this.accept = head.value(accept)
    if (this.#from.trusted && head.first(FORWARDED_FOR) >= 0) {
      this.client = clientOf(this.#from.peer, head.values('x-forwarded-for'), this.front.isTrusted)
    }
  }

  /**
   * @param fields by `fieldsFor`
   * @throws SlotgateError no_such_site or internal_path
   */
  protected find(request: Request, fields: string): Route {
    const { passes } = this.front
    const found = this.front.route(request)
    const { preview } = found
    const route = preview && passes && mayPreview(fields, preview, passes) ? preview : found
    this.route = route
    this.service = route.service.name
    this.serviceIndex = route.index
    return route
  }

  /**
   * Counts the request into the service's slot: the one that is live at this moment, whatever is switched meanwhile. Who
   * waits already goes first, and after a pause who comes waits for those.
   *
   * @returns where its release is reached, or why the service takes no requests
   * @throws SlotgateError live_down, nothing_to_preview or too_many_open_requests
   */
  protected enter({ index }: Route): Pool | Closed {
    const { table, worker, waiting } = this.front
    if (!waiting.isEmpty && waiting.letIn(index)) return 'paused'
    const claim = table.claim(index, worker)
    return typeof claim === 'string' ? claim : this.entered(claim)
  }

  /**
   * @returns where the release is reached whose slot it counts in
   * @throws SlotgateError live_down, nothing_to_preview or too_many_open_requests
   */
  protected entered(claim: Claim): Pool {
    this.claim = claim
    this.#mustBeAmong(claim, this.openLimit)
    const app = this.front.upstreams.pick(claim)
    if (app === null) throw new SlotgateError(this.isPreview ? 'nothing_to_preview' : 'live_down')
    this.release = app.release
    return app.pool
  }

  /**
   * Waits until the service takes requests.
   *
   * @returns for how long at most, in milliseconds
   * @throws SlotgateError paused, nothing_live or nothing_to_preview: it may not wait
   */
  protected wait(closed: Closed, { index, isPreview, service: { hold } }: Route): number {
    const { waiting, isClosing } = this.front
    // A preview is paused while what is staged changes.
    const code = isPreview ? 'nothing_to_preview' : closed
    const mayWait = !isClosing() && (closed === 'paused' || (hold.nothingLive && !isPreview))
    if (!mayWait || !waiting.take(index, this, hold.requests)) throw new SlotgateError(code)
    this.#wait = { service: index, code }
    return hold.withinMs
  }

  /** It is counted already, so that no two threads can both take the last place. */
  #mustBeAmong({ service, generation }: Claim, limit: number): void {
    if (limit === 0 || this.front.table.claims(service, generation).requests <= limit) return
    throw new SlotgateError('too_many_open_requests', { limit })
  }

  protected stopWaiting(): void {
    if (this.#wait === null) return
    this.front.waiting.leave(this.#wait.service, this)
    this.#wait = null
    this.heldMs = this.ageMs
  }

  /** @returns the fields that any app would get, each with its line end */
  protected fieldsFor(request: Request, head: HeadReader): string {
    const { peer, trusted } = this.#from
    return requestFields(head, {
      minor: request.minor,
      host: request.host,
      requestId: this.requestId,
      peer,
      trusted,
      forwarded: this.front.config.forwarded,
      framing: request.framing,
      maxForwards: request.maxForwards,
      trace: this.trace,
    })
  }

  /** @returns the fields that the app of this service gets */
  protected fieldsTo({ service }: Route, fields: string): string {
    const own = this.front.passes === null ? fields : withoutPasses(fields)
    return service.stripPrefix ? withPrefix(own, service.pathPrefix) : own
  }

  /**
   * @returns the answer to a link that lets into the preview of its service; null: the target is the app's
   * @throws SlotgateError preview_over, or method_not_relayed
   */
  protected ownAnswer({ method, target }: Request, route: Route, head: HeadReader): Answer | null {
    const preview = this.previewFor(target, route)
    const { passes } = this.front
    if (preview === null || passes === null) return null
    if (method !== 'GET' && method !== 'HEAD') throw new SlotgateError('method_not_relayed', { method })
    const isSecure = this.#from.trusted && head.values('x-forwarded-proto').at(-1)?.toLowerCase() === 'https'
    return linkAnswer(target, preview, passes, isSecure)
  }

  /** @returns the preview that a link with this target lets into; null: it is no link */
  protected previewFor(target: string, route: Route): Route | null {
    const preview = route.isPreview ? route : route.preview
    return preview !== null && isLink(target, preview) ? preview : null
  }

  protected toTunnel(): void {
    if (this.claim !== null) this.front.table.toTunnel(this.claim, this.front.worker)
    this.#letFollow()
  }

  #letFollow(): void {
    const { waiting } = this.front
    if (!waiting.isEmpty) waiting.letFollow(this.serviceIndex, this)
  }

  /** Whether it counts in this service and in one of these generations, as such a claim. */
  isOf(service: number, generations: readonly number[], kind: ClaimKind): boolean {
    const { claim } = this
    return claim?.service === service && claim.kind === kind && generations.includes(claim.generation)
  }

  /** The only place where a journey ends: it is counted, its claim is given back, the log hears of it. Once. */
  settle(): void {
    if (this.#settled) return
    this.stopWaiting()
    this.#tookMs = this.ageMs
    this.#settled = true
    const { table, worker, counter } = this.front
    counter.count(this)
    if (this.claim !== null) table.release(this.claim, worker)
    logExchange(this.front, this)
    traceExchange(this.front.spans, this.front.config, this)
    this.#letFollow()
  }
}
