// Content-Digest (RFC 9530): ties the bytes of the body to the signed header.
import { createHash, timingSafeEqual } from 'node:crypto'
import { byteSequences } from './fields.ts'
import { Refusal } from './refusal.ts'

const HASHES = { 'sha-256': 'sha256', 'sha-512': 'sha512' } as const

/** Listed as deprecated in the registry of RFC 9530 §7.2. Ignoring one would hide that somebody relies on it. */
const DEPRECATED = ['md5', 'sha', 'unixsum', 'unixcksum', 'adler', 'crc32c']

/**
 * @param value the field's one line
 * @param body the bytes as they were received, before any parsing
 * @throws digest_mismatch unless at least one SHA-2 digest is there and every one that is there fits
 */
export function checkDigest(value: string, body: Uint8Array): void {
  const members = byteSequences('content-digest', value)
  const deprecated = DEPRECATED.find((name) => members.has(name))
  if (deprecated) throw new Refusal('digest_mismatch', { detail: `${deprecated} is not accepted` })
  let checked = 0
  for (const [name, hash] of Object.entries(HASHES)) {
    const digest = members.get(name)
    if (!digest) continue
    const actual = createHash(hash).update(body).digest()
    if (digest.length !== actual.length || !timingSafeEqual(digest, actual)) {
      throw new Refusal('digest_mismatch', { detail: `${name} is that of other bytes` })
    }
    checked++
  }
  if (checked === 0) throw new Refusal('digest_mismatch', { detail: 'it needs sha-256 or sha-512' })
}
