// The only file that talks to http-proxy: its two calls, and the guards against the faults it is known for.
import type { Agent, ClientRequest, IncomingMessage, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import util from 'node:util'
import type httpProxy from 'http-proxy'
import type { Address } from '../config/types.ts'
import type { RequestFields } from './fields.ts'

// http-proxy takes `util._extend` when it loads, which warns on stderr and may be gone in a later Node.
Object.assign(util, { _extend: Object.assign })
const { createProxyServer } = createRequire(import.meta.url)('http-proxy') as typeof httpProxy

type Pass = (...args: never[]) => unknown
interface Passes {
  webPasses: Pass[]
}

/** What to send, and where. */
export interface Outgoing {
  address: Address
  /** Origin-form; sent byte for byte. */
  target: string
  fields: RequestFields
  /** Absent: a connection of its own, closed afterwards. */
  agent?: Agent
}

/** Told in this order: `sent`, then one of `answered`, `switched` and `failed`. */
export interface Listener {
  /** The request has a socket, and nothing was written to it yet. */
  sent(ask: ClientRequest): void
  answered(answer: IncomingMessage): void
  /** The app switched protocols. `join` sends the 101 to the client and connects both sockets. */
  switched(answer: IncomingMessage, socket: Socket, join: () => void): void
  /** May come again, after `answered` too: then it says nothing new. */
  failed(error: NodeJS.ErrnoException): void
}

const proxy = createProxyServer()
const listeners = new WeakMap<IncomingMessage, Listener>()

// Fault: the first pass gives every DELETE and OPTIONS without a length `Content-Length: 0` and takes its chunked
// coding away, so that the app reads the body as the next request (CVE-2026-29057). Our fields are framed already.
const passes = proxy as typeof proxy & Passes
passes.webPasses = passes.webPasses.filter(({ name }) => name !== 'deleteLength')

proxy.on('proxyReq', (ask, request) => listeners.get(request)?.sent(ask))
proxy.on('proxyRes', (answer, request) => listeners.get(request)?.answered(answer))
proxy.on('error', (error, request) => listeners.get(request)?.failed(error))

const optionsOf = ({ address, agent }: Outgoing) => ({
  target: address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port },
  // Without this it takes the target through url.parse. What it still does to a path, `sent` undoes.
  toProxy: true,
  selfHandleResponse: true,
  // The object that becomes the options of http.request: an app's framing is never read leniently.
  ssl: { insecureHTTPParser: false },
  ...(agent && { agent }),
})

/** http-proxy copies `headers` as they are, whatever the client sent. */
function register(request: IncomingMessage, outgoing: Outgoing, listener: Listener): void {
  request.headers = outgoing.fields
  listeners.set(request, listener)
}

/** http-proxy makes `/a` of `//a`; while the head is not written, the path can still become the client's own. */
function setTarget(ask: ClientRequest, { target }: Outgoing): void {
  ask.path = target
}

/** Sends a request with its body; the answer is left to the listener. */
export function sendRequest(
  request: IncomingMessage,
  response: ServerResponse,
  outgoing: Outgoing,
  listener: Listener,
): void {
  register(request, outgoing, {
    ...listener,
    sent(ask) {
      setTarget(ask, outgoing)
      // A 101 that nobody asked for; without a listener Node would call it a hang-up.
      ask.once('upgrade', (answer: IncomingMessage, socket: Socket) =>
        listener.switched(answer, socket, () => {}),
      )
      listener.sent(ask)
    },
  })
  proxy.web(request, response, optionsOf(outgoing), listener.failed)
}

/** Sends an upgrade request. Both sockets must have their error listeners by then. */
export function sendUpgrade(
  request: IncomingMessage,
  client: Socket,
  early: Buffer,
  outgoing: Outgoing,
  listener: Listener,
): void {
  register(request, outgoing, listener)
  let asked: ClientRequest | undefined
  proxy.once('proxyReqWs', (ask) => {
    asked = ask
  })
  proxy.ws(request, client, early, optionsOf(outgoing), listener.failed)
  if (!asked) throw new Error('http-proxy did not send the upgrade')
  hold(asked, listener)
  setTarget(asked, outgoing)
  listener.sent(asked)
}

/**
 * Faults: its own listeners answer a refusal without framing, join whatever a 101 promises, and end the client's
 * socket before an error page can be written. They are held back until the answer was looked at.
 */
function hold(ask: ClientRequest, listener: Listener): void {
  const [join] = ask.listeners('upgrade')
  ask.removeAllListeners('upgrade').removeAllListeners('response').removeAllListeners('error')
  ask.on('response', listener.answered).on('error', listener.failed)
  ask.on('upgrade', (answer: IncomingMessage, socket: Socket, head: Buffer<ArrayBuffer>) =>
    listener.switched(answer, socket, () => join?.call(ask, answer, socket, head)),
  )
}
