// Reads and judges the key material of the admin door, so that a key which would let anybody in is never loaded.
import { checkSecret, parseBase64 } from '../signing.ts'

/** RFC 8032 §5.1: coordinates are numbers modulo this prime. */
const P = 2n ** 255n - 19n

/** What precedes the 32 raw bytes in the DER form of an Ed25519 public key (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

/**
 * The y coordinates of the eight points of small order. With such a point as public key one signature fits any
 * message on some Node versions, so whoever can write a config line could plant a key that everybody holds. The sign of
 * x makes no difference: it leads from one of the eight to another.
 */
const SMALL_ORDER_Y: readonly bigint[] = [
  0n,
  1n,
  P - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]

/** The y coordinate of an encoded point: little-endian, the top bit is the sign of x (RFC 8032 §5.1.2). */
function yOf(bytes: Uint8Array): bigint {
  const bigEndian = Buffer.from(bytes).reverse()
  return BigInt(`0x${bigEndian.toString('hex')}`) & (2n ** 255n - 1n)
}

function checkPublicKey(bytes: Uint8Array): string | null {
  if (bytes.length !== 32) return `an Ed25519 public key has 32 bytes, this one has ${bytes.length}`
  const y = yOf(bytes)
  if (y >= P) return 'the key is not a canonical Ed25519 public key'
  if (SMALL_ORDER_Y.includes(y)) return 'the key is a point of low order: anybody could sign for it'
  return null
}

/**
 * @param bytes the 32 raw bytes of an Ed25519 public key, or an HMAC secret
 * @returns why the key must not be used, as part of a sentence; null if nothing speaks against it
 * @see ADMIN.md §6.3 item 7 and its abuse tests
 */
export const checkKeyMaterial = (algorithm: 'ed25519' | 'hmac-sha256', bytes: Uint8Array): string | null =>
  algorithm === 'ed25519' ? checkPublicKey(bytes) : checkSecret(bytes)

/**
 * @param text an Ed25519 public key: its 32 bytes or its SPKI DER in base64 or base64url, or SPKI PEM
 * @returns the 32 raw bytes, not yet checked; null if the text is none of these
 */
export function parsePublicKey(text: string): Uint8Array | null {
  const pem = /^-----BEGIN PUBLIC KEY-----([\s\S]+)-----END PUBLIC KEY-----$/.exec(text.trim())
  const bytes = parseBase64((pem?.[1] ?? text).replace(/\s+/g, ''))
  if (bytes?.length === 32) return pem ? null : bytes
  if (bytes?.length !== SPKI_PREFIX.length + 32) return null
  return SPKI_PREFIX.equals(bytes.subarray(0, SPKI_PREFIX.length)) ? bytes.subarray(SPKI_PREFIX.length) : null
}
