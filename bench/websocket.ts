// The little of RFC 6455 that an echo of small messages needs, on both sides of it.
import { createHash } from 'node:crypto'
import type { Socket } from 'node:net'

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const TEXT_FRAME = 0x81
const CLOSE_FRAME = 0x88
const MASKED = 0x80
const MASK_BYTES = 4
const HEAD_BYTES = 2
/** Above it, the length does not fit into the second byte. */
const LONGEST = 125

export const acceptKeyOf = (key: string): string =>
  createHash('sha1')
    .update(key + GUID)
    .digest('base64')

/** @returns the answer to a request for an upgrade, as bytes */
export function acceptUpgrade(head: string): Buffer {
  const [, key = ''] = /\r\nsec-websocket-key: *(\S+)/i.exec(head) ?? []
  const fields = ['Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${acceptKeyOf(key)}`]
  return Buffer.from(['HTTP/1.1 101 Switching Protocols', ...fields, '', ''].join('\r\n'))
}

/** A text message as a client sends it, masked. */
export function maskedFrame(message: Buffer): Buffer {
  const mask = Buffer.from([1, 2, 3, 4])
  return Buffer.concat([Buffer.from([TEXT_FRAME, MASKED | message.length]), mask, xor(message, mask)])
}

/** Masks, and takes a mask away again. */
function xor(message: Buffer, mask: Buffer): Buffer {
  return Buffer.from(message.map((byte, at) => byte ^ (mask[at % MASK_BYTES] ?? 0)))
}

/** A message as a server sends it. */
export function plainFrame(message: Buffer, opcode = TEXT_FRAME): Buffer {
  return Buffer.concat([Buffer.from([opcode, message.length]), message])
}

/** Sends back what a client says, frame by frame. */
export class EchoReader {
  readonly #socket: Socket
  #rest: Buffer = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** @throws Error on a frame that is long or not masked */
  push(arrived: Buffer): void {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, arrived]) : arrived
    for (let size = frameSizeOf(bytes); size <= bytes.length; size = frameSizeOf(bytes)) {
      this.#echo(bytes.subarray(0, size))
      bytes = bytes.subarray(size)
    }
    this.#rest = Buffer.from(bytes)
  }

  #echo(frame: Buffer): void {
    const opcode = frame[0] ?? 0
    const mask = frame.subarray(HEAD_BYTES, HEAD_BYTES + MASK_BYTES)
    const message = frame.subarray(HEAD_BYTES + MASK_BYTES)
    const plain = plainFrame(xor(message, mask), opcode)
    if (opcode === CLOSE_FRAME) this.#socket.end(plain)
    else this.#socket.write(plain)
  }
}

/** @returns how long a client's frame is that begins here; infinite while that is not known */
function frameSizeOf(bytes: Buffer): number {
  const [, second] = bytes
  if (second === undefined) return Number.POSITIVE_INFINITY
  const length = second & ~MASKED
  if (length > LONGEST || !(second & MASKED)) throw new Error('only short masked frames are echoed')
  return HEAD_BYTES + MASK_BYTES + length
}
