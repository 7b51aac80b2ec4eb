// Finds ports for a process that is about to be booted. It binds them a moment later, so they lie where the system takes
// none by itself for outgoing connections: on a busy machine one of those would come in between now and then.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'

const LOOPBACK = '127.0.0.1'
/** Below the range of Linux (32768), macOS and Windows (49152), and below the ports of Kubernetes' nodes (30000). */
const FIRST = 20_000
const LAST = 29_999
/** Left to the system, where its own range reaches into ours. */
const ANY = 0

const SPAN = LAST - FIRST + 1
/** At random, so that two slotgates do not go through the same ports; then one after the other, so that two boots never do. */
let next = Math.floor(Math.random() * SPAN)

/**
 * @returns two different ports of 127.0.0.1 on which nothing listens; neither is found again before all the others were
 * @throws Error of the system, e.g. EADDRINUSE where not one is free
 */
export async function freePorts(): Promise<[number, number]> {
  const range = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').catch(() => '')
  const take = overlaps(range) ? () => listen(ANY) : takeNext
  // Both are held until both are known.
  const first = await take()
  const second = await take().finally(first.release)
  await second.release()
  return [first.port, second.port]
}

/** @param range as the kernel writes it, the first and the last of the ports it takes by itself; empty where there is none */
function overlaps(range: string): boolean {
  const [first, last] = range.split(/\s+/).map(Number)
  return Boolean(first && last && first <= LAST && last >= FIRST)
}

interface Held {
  port: number
  release(): Promise<void>
}

async function takeNext(): Promise<Held> {
  for (let tried = 1; ; tried++) {
    const port = FIRST + next
    next = (next + 1) % SPAN
    try {
      return await listen(port)
    } catch (error) {
      if (!isInUse(error) || tried === SPAN) throw error
    }
  }
}

const isInUse = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'

function listen(port: number): Promise<Held> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, LOOPBACK, () => {
      const address = server.address()
      resolve({
        port: typeof address === 'object' && address ? address.port : port,
        release: () => new Promise((released) => server.close(() => released())),
      })
    })
  })
}
