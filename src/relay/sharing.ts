// Whether a port is free, and whether this system lets several threads listen on one. Main thread.
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { ListenAddress } from '../config/types.ts'
import { listenError } from '../ports.ts'

/** What a system says that does not know the option. */
const UNSUPPORTED = ['ENOTSUP', 'EOPNOTSUPP', 'EINVAL', 'ENOPROTOOPT', 'ENOSYS']

/** Listens for a moment. */
async function tryOut(at: ListenAddress, reusePort: boolean): Promise<void> {
  const server = createServer((socket) => socket.destroy())
  server.listen({ ...at, reusePort })
  await once(server, 'listening')
  server.close()
  await once(server, 'close')
}

const refusal = (error: unknown, at: ListenAddress) =>
  listenError(error, { ...at, what: 'listen, the front door' })

/**
 * Threads that share a port would also share it with another slotgate, and take its clients. So it is tried alone first.
 *
 * @throws SlotgateError port_in_use or listen_failed
 */
export async function mustBeFree(at: ListenAddress): Promise<void> {
  try {
    await tryOut(at, false)
  } catch (error) {
    throw await refusal(error, at)
  }
}

/**
 * Whether several threads can listen on one port of this host.
 *
 * @throws SlotgateError listen_failed when that cannot be found out
 */
export async function canBeShared({ host }: ListenAddress): Promise<boolean> {
  const at = { host, port: 0 }
  try {
    await tryOut(at, true)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && UNSUPPORTED.includes(String(error.code))) return false
    throw await refusal(error, at)
  }
}
