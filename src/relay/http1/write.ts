// Writing a message, or a part of one, with a single system call.
import type { Socket } from 'node:net'

/** Up to here copying costs less than writing a piece of its own. */
export const SMALL_BYTES = 8 * 1024

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
