// A TCP proxy that harms the connections that run through it: each gets one fault, drawn when it is accepted.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import { between, magnitude, pick, type Random } from './random.ts'

export const FAULTS = [
  'none',
  /** Each piece arrives `amount` milliseconds late. */
  'latency',
  /** Chunks begin with pieces of `amount` bytes. */
  'slice',
  /** No more than `amount` bytes per second. */
  'bandwidth',
  /** After `amount` bytes both sides are reset. */
  'reset',
  /** After `amount` bytes both sides end, as if all had been said. */
  'truncate',
  /** After `amount` bytes this direction ends; the other one goes on. */
  'halfClose',
  /** After `amount` bytes the rest is swallowed; nobody is told. Below 0 nobody is even connected to. */
  'blackHole',
  /** After `amount` bytes nothing more is read. */
  'stall',
] as const
export type FaultKind = (typeof FAULTS)[number]

export interface Fault {
  kind: FaultKind
  /** Only this direction is harmed; `up` is away from whoever connected. */
  way: 'up' | 'down'
  amount: number
}

/** How often each fault is drawn, relative to the others. */
export type Mix = Readonly<Record<FaultKind, number>>

const NONE: Fault = { kind: 'none', way: 'up', amount: 0 }
/** No more pieces than this are cut off one chunk before the rest of it follows, or slicing would be all that a test does. */
const PIECES = 8
const TICK_MS = 10

/** @returns a fault of the mix; where it strikes is near the head as often as far into a body */
export function drawFault(random: Random, mix: Mix): Fault {
  const kind = pick(random, mix)
  const way = random() < 0.5 ? 'up' : 'down'
  return { kind, way, amount: amountOf(kind, random) }
}

function amountOf(kind: FaultKind, random: Random): number {
  if (kind === 'none') return 0
  if (kind === 'latency') return between(random, 1, 40)
  if (kind === 'slice') return magnitude(random, 6)
  if (kind === 'bandwidth') return between(random, 800_000, 4_000_000)
  if (kind === 'blackHole' && random() < 0.3) return -1
  return magnitude(random, 18)
}

export interface FaultProxy {
  port: number
  /** What later connections draw from. */
  mix: Mix
  /** How many connections got each fault. */
  drawn: Record<FaultKind, number>
  /** How many sockets are open, on either side. */
  readonly open: number
  /** The fault of the connection that was made from this port of 127.0.0.1; the newest, if there were several. */
  faultOf(localPort: number | undefined): Fault
}

/**
 * @param target the port of 127.0.0.1 that it leads to
 * @param random where the faults come from: the same seed gives the same faults in the order of connections
 */
export async function startFaultProxy(
  t: Pick<Test, 'teardown'>,
  target: () => number,
  random: Random,
  mix: Mix,
): Promise<FaultProxy> {
  const open = new Set<Socket>()
  const faults = new Map<number, Fault>()
  const track = (socket: Socket) => {
    open.add(socket.setNoDelay(true))
    socket.on('error', () => {}).once('close', () => open.delete(socket))
  }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const fault = drawFault(random, proxy.mix)
    proxy.drawn[fault.kind]++
    if (near.remotePort !== undefined) faults.set(near.remotePort, fault)
    track(near)
    if (fault.kind === 'blackHole' && fault.amount < 0)
      return void near.resume().once('end', () => near.end())
    const far = connect({ port: target(), host: '127.0.0.1', allowHalfOpen: true })
    track(far)
    void pump(near, far, fault.way === 'up' ? fault : NONE)
    void pump(far, near, fault.way === 'down' ? fault : NONE)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const proxy: FaultProxy = {
    port: (server.address() as AddressInfo).port,
    mix,
    drawn: Object.fromEntries(FAULTS.map((kind) => [kind, 0])) as Record<FaultKind, number>,
    get open() {
      return open.size
    },
    faultOf: (localPort = 0) => faults.get(localPort) ?? NONE,
  }
  return proxy
}

/** Carries one direction until it ends or the fault strikes; each way of ending reaches the other side as it was. */
async function pump(from: Socket, to: Socket, fault: Fault): Promise<void> {
  try {
    const isWhole = await carryAll(from, to, fault)
    if (isWhole) to.end()
    else STRIKES[fault.kind]?.(from, to)
  } catch {
    resetBoth(from, to)
  }
}

/** @returns whether the direction came to its own end */
async function carryAll(from: Socket, to: Socket, fault: Fault): Promise<boolean> {
  const strikesAfter = fault.kind in STRIKES ? fault.amount : Number.POSITIVE_INFINITY
  let passed = 0
  // Not destroyed at the end: the other direction may go on.
  for await (const read of from.iterator({ destroyOnReturn: false })) {
    const chunk = read as Buffer
    await carry(to, chunk.subarray(0, strikesAfter - passed), fault)
    passed += chunk.length
    if (passed >= strikesAfter) return false
  }
  return true
}

type Strike = (from: Socket, to: Socket) => void

/** A socket whose end is on its way cannot be reset: Node 26 would say EINVAL, never close it, and never end its process. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}

const resetBoth: Strike = (from, to) => [from, to].forEach(reset)

/** Nobody is told; when the receiver gives up, so does the proxy. */
const fallSilent: Strike = (from, to) => {
  if (to.readableEnded) resetBoth(from, to)
  else to.once('end', () => resetBoth(from, to))
}

/** What happens after the last byte that passes. */
const STRIKES: Partial<Record<FaultKind, Strike>> = {
  reset: resetBoth,
  truncate: (from, to) => [from.resume(), to].forEach((socket) => void socket.end()),
  halfClose(from, to) {
    from.resume()
    to.end()
  },
  blackHole: (from, to) => fallSilent(from.resume(), to),
  stall: fallSilent,
}

/** Writes a chunk as the fault would have it arrive. */
async function carry(to: Socket, chunk: Buffer, { kind, amount }: Fault): Promise<void> {
  if (chunk.length === 0) return
  if (kind === 'latency') await pause(amount)
  if (kind === 'slice') return sendSliced(to, chunk, amount)
  if (kind !== 'bandwidth') return send(to, chunk)
  const size = Math.ceil((amount * TICK_MS) / 1_000)
  for (let at = 0; at < chunk.length; at += size) {
    await send(to, chunk.subarray(at, at + size))
    await pause(TICK_MS)
  }
}

async function sendSliced(to: Socket, chunk: Buffer, size: number): Promise<void> {
  const end = Math.min(size * PIECES, chunk.length)
  for (let at = 0; at < end; at += size) {
    await send(to, chunk.subarray(at, Math.min(at + size, end)))
    await turn()
  }
  if (end < chunk.length) await send(to, chunk.subarray(end))
}

/** Resolves when the kernel has taken it all, so that a slow reader slows the sender down. */
function send(to: Socket, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => to.write(chunk, (error) => (error ? reject(error) : resolve())))
}
