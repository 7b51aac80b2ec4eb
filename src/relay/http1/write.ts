// Writing a message, or a part of one, with a single system call. Runs in the thread of the exchange.
import type { Socket } from 'node:net'
import type { BodyReader } from './body.ts'

/** Up to here copying costs less than writing a piece of its own. */
export const SMALL_BYTES = 8 * 1024

/** Octets of a body, at `body.from` to `body.to` of the buffer. */
export interface Content {
  readonly body: BodyReader
  readonly buffer: Buffer
  /** The buffer is read into again at once: what is not written by then has to be copied. */
  readonly common: boolean
}

/** What became of the octets. */
export interface Taken {
  /** They are still being written: their buffer must not be used again. */
  held: boolean
  /** The socket wants no more for now. */
  full: boolean
}

/** Writes a part of a message: text, content and text. */
export function writeContent(
  socket: Socket,
  head: string,
  { body, buffer, common }: Content,
  tail: string,
): Taken {
  const { from, to } = body
  // Up to that size it is written as text, which is a copy already.
  const copied = common && to - from > SMALL_BYTES
  if (copied) writeMessage(socket, head, Buffer.from(buffer.subarray(from, to)), 0, to - from, tail)
  else writeMessage(socket, head, buffer, from, to, tail)
  return { held: socket.writableLength > 0 && !copied, full: socket.writableNeedDrain }
}

/**
 * Writes text, octets and text. If `socket.writableLength` is above 0 afterwards, octets beyond a small number are
 * still being written from the buffer itself.
 */
export function writeMessage(
  socket: Socket,
  head: string,
  buffer: Buffer,
  from: number,
  to: number,
  tail: string,
): void {
  const size = to - from
  if (size <= SMALL_BYTES) {
    const text = size === 0 ? head + tail : head + buffer.toString('latin1', from, to) + tail
    if (text !== '') socket.write(text, 'latin1')
    return
  }
  const whole = head === '' && tail === ''
  if (!whole) socket.cork()
  if (head !== '') socket.write(head, 'latin1')
  socket.write(from === 0 && to === buffer.length ? buffer : buffer.subarray(from, to))
  if (tail !== '') socket.write(tail, 'latin1')
  if (!whole) socket.uncork()
}
