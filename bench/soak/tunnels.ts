// WebSockets that stay for a while, whatever is switched meanwhile: each says something now and then, and must be answered
// by the release that it was connected to until it leaves by itself.
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { WebSocket } from 'ws'

const SAYS_EVERY_MS = 500
const ANSWERED_WITHIN_MS = 15_000

export interface Tunnels {
  /** How many sessions there were. */
  readonly sessions: number
  /** What was wrong with one; empty if all is well. */
  readonly problems: readonly string[]
  /** Resolves when all have left. */
  stop(): Promise<void>
}

/** @param lastMs how long each session lasts before its client leaves and comes back */
export function holdTunnels(url: string, count: number, lastMs: number): Tunnels {
  const stopped = new AbortController()
  const problems: string[] = []
  let sessions = 0
  const hold = async () => {
    while (!stopped.signal.aborted) {
      sessions += 1
      await converse(url, lastMs, stopped.signal).catch((error: Error) => {
        problems.push(`a WebSocket: ${error.message}`)
        // One that is refused at once would be so thousands of times.
        return pause(SAYS_EVERY_MS)
      })
    }
  }
  const held = Array.from({ length: count }, hold)
  return {
    get sessions() {
      return sessions
    },
    problems,
    async stop() {
      stopped.abort()
      await Promise.all(held)
    },
  }
}

async function converse(url: string, lastMs: number, stopped: AbortSignal): Promise<void> {
  const socket = new WebSocket(url.replace('http:', 'ws:'), { handshakeTimeout: ANSWERED_WITHIN_MS })
  const closed = once(socket, 'close').then(([code]) =>
    Promise.reject(new Error(`it was closed with ${code}`)),
  )
  closed.catch(() => {})
  // What is given up on may still fail; it has nobody to tell.
  socket.on('error', () => {})
  try {
    await talk(socket, closed, lastMs, stopped)
  } finally {
    socket.terminate()
  }
}

async function talk(
  socket: WebSocket,
  closed: Promise<never>,
  lastMs: number,
  stopped: AbortSignal,
): Promise<void> {
  await Promise.race([once(socket, 'open'), closed])
  let release: string | undefined
  for (const end = performance.now() + lastMs; performance.now() < end && !stopped.aborted; ) {
    const answered = once(socket, 'message', { signal: AbortSignal.timeout(ANSWERED_WITHIN_MS) })
    socket.send('still here')
    const [data] = await Promise.race([answered, closed])
    const [from] = String(data).split(': ')
    release ??= from
    if (from !== release) throw new Error(`it went to ${release} and was answered by ${from}`)
    await pause(SAYS_EVERY_MS, undefined, { signal: stopped }).catch(() => {})
  }
  socket.close(1000)
  await closed.catch(() => {})
}
