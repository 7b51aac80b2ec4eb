// Where one WebSocket frame ends and the next begins, in octets that pass by. Contents are not looked at. Pure.

/** A close frame with the code 1001, going away (RFC 6455 §7.4.1), as a server sends it: without a mask. */
export const GOING_AWAY = Buffer.from([0x88, 0x02, 0x03, 0xe9])

const LENGTH_BITS = 0x7f
const MASK_BIT = 0x80
const MASK_BYTES = 4

/** One direction of a WebSocket, from its first octet on (RFC 6455 §5.2). */
export class Frames {
  /** Octets of the head so far: the first two, then the long length. */
  #head = 0
  /** Octets of the long length that are still to come. */
  #lengthLeft = 0
  #masked = false
  /** Octets of the mask and of the payload that are still to come. */
  #left = 0

  /** Between two frames. */
  get isBoundary(): boolean {
    return this.#head === 0 && this.#left === 0
  }

  /** @returns where the frame that is under way ends, or `buffer.length` if it goes on */
  readFrame(buffer: Uint8Array, start: number): number {
    let at = start
    while (at < buffer.length) {
      if (this.#head === 2 && this.#lengthLeft === 0) {
        const next = Math.min(buffer.length, at + this.#left)
        this.#left -= next - at
        at = next
      } else this.#readHead(buffer[at++] ?? 0)
      if (this.#head === 2 && this.#lengthLeft === 0 && this.#left === 0) {
        this.#head = 0
        return at
      }
    }
    return at
  }

  /** Takes all of it. */
  read(buffer: Uint8Array): void {
    for (let at = 0; at < buffer.length; ) at = this.readFrame(buffer, at)
  }

  #readHead(octet: number): void {
    if (this.#head === 0) {
      this.#head = 1
    } else if (this.#head === 1) {
      this.#head = 2
      const length = octet & LENGTH_BITS
      this.#masked = (octet & MASK_BIT) !== 0
      this.#lengthLeft = length === 126 ? 2 : length === 127 ? 8 : 0
      this.#left = this.#lengthLeft > 0 ? 0 : length + this.#maskBytes
    } else {
      this.#left = this.#left * 256 + octet
      if (--this.#lengthLeft === 0) this.#left += this.#maskBytes
    }
  }

  get #maskBytes(): number {
    return this.#masked ? MASK_BYTES : 0
  }
}
