// Before a proxy is measured: does it relay what it is given, byte for byte? A fast wrong answer is no answer.
import { createHash } from 'node:crypto'
import { Agent, type IncomingMessage, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { JSON_BODY, LARGE_BODY, SMALL_BODY } from './canned.ts'

interface Exchange {
  method: string
  target: string
  body?: Buffer
  /** Sends the body without saying how long it is. */
  chunked?: boolean
  expected: Buffer
}

const ANSWERS_WITHIN_MS = 5000
const WORDS = 'said through a proxy'
const hashOf = (body: Buffer): Buffer => Buffer.from(createHash('sha256').update(body).digest('hex'))

const EXCHANGES: Readonly<Record<string, Exchange>> = {
  'GET with a query': {
    method: 'GET',
    target: '/target?a=1&b=%C3%A9&a=2',
    expected: Buffer.from('/target?a=1&b=%C3%A9&a=2'),
  },
  'POST with a length': { method: 'POST', target: '/echo', body: JSON_BODY, expected: JSON_BODY },
  'POST in chunks': { method: 'POST', target: '/echo', body: JSON_BODY, chunked: true, expected: JSON_BODY },
  'a chunked response': { method: 'GET', target: '/chunked', expected: SMALL_BODY },
  '1 MiB down': { method: 'GET', target: '/large', expected: LARGE_BODY },
  '1 MiB up': { method: 'POST', target: '/hash', body: LARGE_BODY, expected: hashOf(LARGE_BODY) },
}

/** @returns what is wrong with the proxy at this port; null if nothing is */
export async function findFault(port: number): Promise<string | null> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    for (const [name, exchange] of Object.entries(EXCHANGES)) {
      const fault = await tryExchange(port, agent, exchange).catch((error: Error) => error.message)
      if (fault) return `${name}: ${fault}`
    }
    const fault = await tryWebSocket(port).catch((error: Error) => error.message)
    return fault && `a WebSocket: ${fault}`
  } finally {
    agent.destroy()
  }
}

async function tryExchange(port: number, agent: Agent, exchange: Exchange): Promise<string | null> {
  const { statusCode, body } = await send(port, agent, exchange)
  if (statusCode !== 200) return `status ${statusCode}`
  if (!body.equals(exchange.expected)) return `${body.length} bytes that are not those of the app`
  return null
}

async function send(
  port: number,
  agent: Agent,
  { method, target, body, chunked }: Exchange,
): Promise<{ statusCode: number | undefined; body: Buffer }> {
  const signal = AbortSignal.timeout(ANSWERS_WITHIN_MS)
  const headers = body ? { 'content-type': 'application/json' } : {}
  const sent = request({ port, host: '127.0.0.1', agent, method, path: target, headers, signal })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.once('response', resolve)
    sent.once('error', reject)
  })
  if (body && !chunked) sent.setHeader('content-length', body.length)
  // A first write before the end makes it a body in chunks.
  if (body && chunked) sent.write(body.subarray(0, body.length / 2))
  sent.end(chunked ? body?.subarray(body.length / 2) : body)
  const response = await answered
  return { statusCode: response.statusCode, body: await buffer(response) }
}

async function tryWebSocket(port: number): Promise<string | null> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws`)
  const timer = setTimeout(() => socket.close(), ANSWERS_WITHIN_MS)
  const heard = await new Promise<string>((resolve) => {
    socket.onopen = () => socket.send(WORDS)
    socket.onmessage = ({ data }) => resolve(String(data))
    socket.onerror = () => resolve('an error')
    socket.onclose = () => resolve('its end')
  })
  clearTimeout(timer)
  socket.close()
  return heard === WORDS ? null : `instead of the echo came ${heard}`
}
