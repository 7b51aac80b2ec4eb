// The only file that talks to http-proxy: its one call, and the guards against the faults it is known for. Runs in
// the thread of the tunnel.
import type { ClientRequest, IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import util from 'node:util'
import type httpProxy from 'http-proxy'
import type { Address } from '../../config/types.ts'

/** As http-proxy takes them: one entry for each name, an array where there are several lines. */
export type Fields = Record<string, string | string[]>

/** What to send, and where. */
export interface Outgoing {
  address: Address
  /** Origin-form; sent byte for byte. */
  target: string
  fields: Fields
}

/** The head of an answer as node:http has read it. */
export type AnswerHead = Pick<IncomingMessage, 'httpVersion' | 'statusMessage' | 'rawHeaders'> & {
  statusCode?: number | undefined
}

/** Told one of the others once, `informed` before it as often as the app likes; `failed` may come again, and then says nothing new. */
export interface Listener {
  /** An interim answer (1xx but 100 and 101). */
  informed(answer: AnswerHead): void
  answered(answer: IncomingMessage): void
  /** The app switched protocols. `join` sends the 101, with `answer.headers`, and connects both sockets. */
  switched(answer: IncomingMessage, socket: Socket, join: () => void): void
  failed(error: NodeJS.ErrnoException): void
}

let loaded: httpProxy | undefined

/** Loaded for the first upgrade, since most threads see none for long. */
function proxyServer(): httpProxy {
  if (loaded) return loaded
  // http-proxy takes `util._extend` when it loads, which warns on stderr and may be gone in a later Node.
  Object.assign(util, { _extend: Object.assign })
  const { createProxyServer } = createRequire(import.meta.url)('http-proxy') as typeof httpProxy
  loaded = createProxyServer()
  return loaded
}

const optionsOf = ({ address }: Outgoing) => ({
  target: address.kind === 'unix' ? { socketPath: address.path } : { host: address.host, port: address.port },
  // Without this it takes the target through url.parse. What it still does to a path is undone below.
  toProxy: true,
  // The object that becomes the options of http.request: an app's framing is never read leniently.
  ssl: { insecureHTTPParser: false },
})

/**
 * Sends an upgrade request. The client's socket must have its error listener by then.
 *
 * @param early what the client sent behind the head; the app gets it after its 101
 * @returns the request, nothing of which is written yet
 */
export function sendUpgrade(
  request: IncomingMessage,
  client: Socket,
  early: Buffer,
  outgoing: Outgoing,
  listener: Listener,
): ClientRequest {
  request.headers = outgoing.fields
  let asked: ClientRequest | undefined
  const proxy = proxyServer()
  proxy.once('proxyReqWs', (ask) => {
    asked = ask
    // http-proxy makes `/a` of `//a`; before the head is made, the path can still become the one that is meant.
    ask.path = outgoing.target
  })
  proxy.ws(request, client, early, optionsOf(outgoing), listener.failed)
  if (!asked) throw new Error('http-proxy did not send the upgrade')
  hold(asked, listener)
  return asked
}

/**
 * Faults: its own listeners answer a refusal without framing, join whatever a 101 promises, and end the client's
 * socket before an error page can be written. They are held back until the answer was looked at.
 */
function hold(ask: ClientRequest, listener: Listener): void {
  const [join] = ask.listeners('upgrade')
  ask.removeAllListeners('upgrade').removeAllListeners('response').removeAllListeners('error')
  ask.on('information', listener.informed).on('response', listener.answered).on('error', listener.failed)
  ask.on('upgrade', (answer: IncomingMessage, socket: Socket, head: Buffer<ArrayBuffer>) => {
    // A reset of an upgraded socket without a listener would take the process down.
    socket.on('error', () => socket.destroy())
    // An app that has said all it has to say may still want to hear.
    socket.allowHalfOpen = true
    listener.switched(answer, socket, () => join?.call(ask, answer, socket, head))
  })
}
