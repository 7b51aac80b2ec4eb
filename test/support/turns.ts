// Lets a test in the relay's own process know how much of what it wrote the relay has read, without waiting a time.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Socket } from 'node:net'
import type { Scope } from './scope.ts'

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Turns of the event loop after which something is taken for what will not happen. */
const MANY_TURNS = 2_000

/** @returns whether it came true within so many turns of the event loop */
export async function withinTurns(isSo: () => boolean, turns = MANY_TURNS): Promise<boolean> {
  for (let left = turns; left > 0; left--) {
    if (isSo()) return true
    await turn()
  }
  return isSo()
}

/** Longest wait for something that needs other threads or the clock. */
const LONG_MS = 5_000
/** From then on it is looked for less often: the other tests need the processor too. */
const RARELY_MS = 5

/** @returns whether it came true; asks at each turn of the event loop, then now and then, until a few seconds have gone */
export async function eventually(isSo: () => boolean): Promise<boolean> {
  const until = performance.now() + LONG_MS
  if (await withinTurns(isSo)) return true
  while (!isSo()) {
    if (performance.now() > until) return false
    await new Promise((resolve) => setTimeout(resolve, RARELY_MS))
  }
  return true
}

/** The relay's sockets, found by the ends that a test holds. */
export interface OtherEnds {
  /** The accepted end of a connection that the test opened. */
  accepted(client: Socket): Socket | undefined
  /** The opening end of a connection that the test accepted. */
  opened(server: Socket): Socket | undefined
}

/** Follows every connection of this process from now on. */
export function followSockets(t: Scope): OtherEnds {
  const accepted = new Map<number, Socket>()
  const opened = new Map<number, Socket>()
  const keep = (sockets: Map<number, Socket>, port: number | undefined, socket: Socket) => {
    if (port === undefined) return
    sockets.set(port, socket)
    socket.once('close', () => {
      if (sockets.get(port) === socket) sockets.delete(port)
    })
  }
  const onAccept = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    keep(accepted, socket.remotePort, socket)
  }
  const onOpen = (message: unknown) => {
    const { socket } = message as { socket: Socket }
    socket.once('connect', () => keep(opened, socket.localPort, socket))
  }
  subscribe('net.server.socket', onAccept)
  subscribe('net.client.socket', onOpen)
  t.teardown(() => {
    unsubscribe('net.server.socket', onAccept)
    unsubscribe('net.client.socket', onOpen)
  })
  return {
    accepted: ({ localPort }) => (localPort === undefined ? undefined : accepted.get(localPort)),
    opened: ({ remotePort }) => (remotePort === undefined ? undefined : opened.get(remotePort)),
  }
}

/** @returns whether this end has read exactly that many bytes; false too if it will not read them any more */
export async function untilRead(end: Socket, bytes: number, isOver: () => boolean): Promise<boolean> {
  await eventually(() => end.bytesRead >= bytes || end.destroyed || isOver())
  return end.bytesRead === bytes
}
