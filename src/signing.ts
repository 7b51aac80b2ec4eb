// Signs calls of the admin API with HTTP Message Signatures (RFC 9421), and reads the keys to sign with. The command line
// and the kit both call; admin/signature.ts verifies with a library of its own, so each checks what the other makes of the RFC.
import {
  createHash,
  createHmac,
  createPrivateKey,
  createSecretKey,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'

export const TAG = 'slotgate-admin-v1'

/** What every signature covers. */
export const REQUIRED_COMPONENTS = ['@method', '@authority', '@path', '@query', 'content-digest'] as const
/** Covered as well when the request has them, because they change what it means. */
export const COVERED_IF_PRESENT = ['content-type', 'if-match'] as const

export const MIN_SECRET_BYTES = 32

const LABEL = 'slotgate'
const LIFETIME_S = 60

export type Algorithm = 'ed25519' | 'hmac-sha256'

/** A key to sign with: a private key, or a shared secret as secret key. */
export interface SigningKey {
  id: string
  algorithm: Algorithm
  privateKey: KeyObject
}

export interface RequestToSign {
  method: string
  url: string | URL
  body?: string | Uint8Array
  /** `application/json` if there is a body and nothing else is said. */
  contentType?: string
  /** The header's value as it is sent, such as `"17"` with its quotes. */
  ifMatch?: string
  key: SigningKey
  /** Milliseconds since the epoch; for tests. */
  now?: number
  nonce?: string
}

/** @returns the value of Content-Digest (RFC 9530) */
export const digestOf = (body: Uint8Array): string =>
  `sha-256=:${createHash('sha256').update(body).digest('base64')}:`

/**
 * @returns the header fields to send with the request, by lower-case name
 * @throws Error if the key's id is not printable ASCII
 * @see docs/admin.md, "Signing"
 */
export function signRequest(request: RequestToSign): Record<string, string> {
  const { key, body = '', ifMatch, now = Date.now() } = request
  const bytes = Buffer.from(body)
  const contentType = request.contentType ?? (bytes.length > 0 ? 'application/json' : undefined)
  const headers = {
    'content-digest': digestOf(bytes),
    ...(contentType && { 'content-type': contentType }),
    ...(ifMatch && { 'if-match': ifMatch }),
  }
  const covered = componentsOf(request, headers)
  const created = Math.floor(now / 1000)
  const nonce = request.nonce ?? randomBytes(18).toString('base64url')
  const input =
    `(${covered.map(([name]) => `"${name}"`).join(' ')});created=${created};expires=${created + LIFETIME_S}` +
    `;nonce=${quoted(nonce)};keyid=${quoted(key.id)};tag="${TAG}"`
  const base = [...covered, ['@signature-params', input]]
    .map(([name, value]) => `"${name}": ${value}`)
    .join('\n')
  return {
    ...headers,
    'signature-input': `${LABEL}=${input}`,
    signature: `${LABEL}=:${signBase(key, Buffer.from(base)).toString('base64')}:`,
  }
}

/** What is covered, with its values (RFC 9421 §2.1, §2.2). */
function componentsOf({ method, url }: RequestToSign, headers: Record<string, string>): [string, string][] {
  const { host, pathname, search } = new URL(url)
  const values: Record<string, string> = {
    ...headers,
    '@method': method,
    '@authority': host,
    '@path': pathname,
    '@query': search || '?',
  }
  return [...REQUIRED_COMPONENTS, ...COVERED_IF_PRESENT].flatMap((name) => {
    const value = values[name]
    return value === undefined ? [] : [[name, value]]
  })
}

/** A string of RFC 9651 §3.3.3. */
function quoted(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text)) throw new Error(`${JSON.stringify(text)} is not printable ASCII`)
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

const signBase = ({ algorithm, privateKey }: SigningKey, base: Buffer): Buffer =>
  algorithm === 'ed25519'
    ? sign(null, base, privateKey)
    : createHmac('sha256', privateKey).update(base).digest()

/**
 * @param content of a key file: PKCS #8 PEM of an Ed25519 key, or a shared secret in base64
 * @throws Error with what is wrong as part of a sentence
 */
export function parseSigningKey(content: string): Omit<SigningKey, 'id'> {
  const text = content.trim()
  if (text.startsWith('-----BEGIN')) return { algorithm: 'ed25519', privateKey: parsePem(text) }
  const secret = parseBase64(text)
  if (secret === null) throw new Error('it is neither PEM nor base64')
  const objection = checkSecret(secret)
  if (objection !== null) throw new Error(objection)
  return { algorithm: 'hmac-sha256', privateKey: createSecretKey(secret) }
}

function parsePem(text: string): KeyObject {
  try {
    const key = createPrivateKey(text)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    throw new Error('it is no private key in PEM, or one with a passphrase')
  }
  throw new Error('only Ed25519 private keys sign')
}

/** @returns why the secret must not be used, as part of a sentence; null if nothing speaks against it */
export function checkSecret(bytes: Uint8Array): string | null {
  if (bytes.length >= MIN_SECRET_BYTES) return null
  return `an HMAC secret needs at least ${MIN_SECRET_BYTES} random bytes, this one has ${bytes.length}`
}

/**
 * Decodes base64 or base64url, padded or not, and nothing else: Node's own decoder skips what it does not know.
 *
 * @returns the bytes, or null if the text has any other character or stray bits
 */
export function parseBase64(text: string): Uint8Array | null {
  const plain = text
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replace(/={1,2}$/, '')
  const bytes = Buffer.from(plain, 'base64')
  return plain !== '' && bytes.toString('base64').replace(/=+$/, '') === plain ? bytes : null
}
