// How much a row of connections takes from a writer before it makes it wait. In the test's process.
import type { Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

/** More than all buffers on the way hold together, those of the system included. */
export const LARGE_BYTES = 32 * 1024 * 1024

export const PIECE_BYTES = 16 * 1024

/** Writes as fast as it is taken, in pieces: of a single write nothing is known to have left before all of it has. */
export function feed(socket: Socket, octets: Buffer): void {
  let at = 0
  const more = () => {
    while (at < octets.length && socket.write(octets.subarray(at, at + PIECE_BYTES))) at += PIECE_BYTES
    at += PIECE_BYTES
    if (at < octets.length) socket.once('drain', more)
  }
  more()
}

/** How much of what was written has left the socket. */
export const sentBy = (socket: Socket): number => socket.bytesWritten - socket.writableLength

const PAUSE_MS = 50
/** One turn of a busy event loop may last longer than a pause: so many still ones in a row count. */
const STILL_PAUSES = 5

/** @returns what a number of octets has grown to, once it grows no longer; it has to grow at all */
export async function untilStill(octets: () => number): Promise<number> {
  let before = 0
  for (let still = 0; still < STILL_PAUSES; still = before > 0 && before === octets() ? still + 1 : 0) {
    before = octets()
    await pause(PAUSE_MS)
  }
  return before
}
