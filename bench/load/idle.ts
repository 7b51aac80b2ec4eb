// So many clients who have been answered and stay connected: what each of them holds of a proxy's memory.
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { MessageReader } from '../message.ts'
import { memoryOf } from '../usage.ts'
import { leaveAll } from './closed.ts'

export interface IdleLoad {
  port: number
  request: Buffer
  connections: number
  pids: readonly number[]
  /** How long after the last answer memory is read. */
  settleMs: number
}

export interface IdleMeasured {
  /** How many were still open at the end. */
  open: number
  bytesPerConnection: number
}

/** So many are opened at a time, so that few connections to the app are. */
export const AT_ONCE = 16
const CONNECTS_WITHIN_MS = 5000

/** @throws Error when a connection fails or is not answered */
export async function runIdle({
  port,
  request,
  connections,
  pids,
  settleMs,
}: IdleLoad): Promise<IdleMeasured> {
  const clients: Client[] = []
  try {
    await pause(settleMs)
    const before = memoryOf(pids)
    await open(clients, connections, { port, request })
    await pause(settleMs)
    const bytesPerConnection = (memoryOf(pids) - before) / connections
    return { bytesPerConnection, open: clients.filter(({ isOpen }) => isOpen).length }
  } finally {
    await leaveAll(clients)
  }
}

async function open(
  clients: Client[],
  count: number,
  asked: { port: number; request: Buffer },
): Promise<void> {
  for (let opened = 0; opened < count; opened += AT_ONCE) {
    const more = Array.from({ length: Math.min(AT_ONCE, count - opened) }, () => new Client(asked))
    clients.push(...more)
    await Promise.all(more.map(({ answered }) => answered))
  }
}

class Client {
  readonly answered: Promise<void>
  readonly #socket: Socket
  readonly #closed: Promise<void>

  constructor({ port, request }: { port: number; request: Buffer }) {
    const socket = connect({ port, host: '127.0.0.1', timeout: CONNECTS_WITHIN_MS })
    this.#socket = socket
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()))
    this.answered = new Promise((resolve, reject) => {
      const reader = new MessageReader({ head: () => {}, body: () => {}, end: resolve })
      socket.on('data', (bytes: Buffer) => reader.push(bytes))
      socket.once('timeout', () => reject(new Error('an idle client was not answered')))
      socket.once('close', () => reject(new Error('an idle client lost its connection')))
      socket.on('error', reject)
    })
    socket.write(request)
    void this.answered.then(
      () => socket.setTimeout(0),
      () => socket.destroy(),
    )
  }

  get isOpen(): boolean {
    return !this.#socket.destroyed
  }

  leave(): Promise<void> {
    this.#socket.destroy()
    return this.#closed
  }
}
