// A listener of its own for the metrics, without signatures, since what scrapes them does not sign. It reads and changes
// nothing, and it is there only if the config says so.
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { isLoopback } from '../../config/addresses.ts'
import type { Config, ListenAddress } from '../../config/types.ts'
import { messageOf } from '../../errors.ts'
import { createServer } from '../../http.ts'
import type { Logger } from '../../log.ts'
import { listenError } from '../../ports.ts'
import { fieldsOf } from '../fields.ts'
import { hostRule, isFromPage } from '../guard.ts'
import type { Metrics } from './metrics.ts'

export interface MetricsListener {
  /**
   * @returns the address it listens on
   * @throws SlotgateError port_in_use, listen_failed
   */
  listen(): Promise<ListenAddress>
  close(): void
}

const LIMITS = { maxHeaderSize: 16 * 1024, requestTimeout: 10_000, keepAliveTimeout: 60_000 }
const MAX_CONNECTIONS = 64

/** @returns null where the config wants none */
export function createMetricsListener(
  metrics: Metrics,
  config: Config['metrics'],
  log: Logger,
): MetricsListener | null {
  if (!config) return null
  const { listen } = config
  const server = createServer(LIMITS, (request, response) => {
    answer(request, response, metrics, listen).catch((error: unknown) => {
      log.error({ err: error }, `the metrics could not be told: ${messageOf(error)}`)
      response.writeHead(500).end()
    })
  })
  server.maxConnections = MAX_CONNECTIONS
  return {
    async listen() {
      const { host, port } = listen
      try {
        server.listen({ host, port })
        await once(server, 'listening')
      } catch (error) {
        throw await listenError(error, { host, port, what: 'metrics.listen, the metrics' })
      }
      const address = server.address()
      return { host, port: typeof address === 'object' && address ? address.port : port }
    },
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  metrics: Metrics,
  listen: ListenAddress,
): Promise<void> {
  const { method, url } = request
  response.setHeader('cache-control', 'no-store').setHeader('x-content-type-options', 'nosniff')
  if (!isWelcome(request, listen)) return void response.writeHead(403).end()
  if (url?.split('?')[0] !== '/metrics') return void response.writeHead(404).end()
  if (method !== 'GET' && method !== 'HEAD') return void response.writeHead(405, { allow: 'GET, HEAD' }).end()
  const text = await metrics.text()
  response.setHeader('content-type', metrics.contentType).end(method === 'HEAD' ? undefined : text)
}

/**
 * A page in a browser must not read them; on loopback not even one whose own name points there (DNS rebinding). Elsewhere
 * who scrapes may call this machine by any name.
 */
function isWelcome({ rawHeaders, headers }: IncomingMessage, listen: ListenAddress): boolean {
  const answersTo = isLoopback(listen.host) ? hostRule({ listen }) : () => true
  return answersTo(headers.host ?? '') && !isFromPage(fieldsOf(rawHeaders))
}
