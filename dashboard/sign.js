// Signs calls of the admin API in a browser: the profile of docs/admin.md ("Signing") with WebCrypto. What src/signing.ts is
// to Node; a test holds both to the same server and to the vectors of RFC 9421.

export const TAG = 'slotgate-admin-v1'

const LABEL = 'slotgate'
export const LIFETIME_S = 60
const MIN_SECRET_BYTES = 32
const COMPONENTS = ['@method', '@authority', '@path', '@query', 'content-digest', 'content-type', 'if-match']

/**
 * A key to sign with. Nobody can read it out of the browser again, not even this page.
 *
 * @typedef {object} SigningKey
 * @property {string} id as in the config
 * @property {'ed25519' | 'hmac-sha256'} algorithm
 * @property {CryptoKey} cryptoKey not extractable
 */

/**
 * @typedef {object} RequestToSign
 * @property {string} method
 * @property {URL} url
 * @property {string} [body] JSON
 * @property {string} [ifMatch] as it is sent, such as `"17"` with its quotes
 * @property {SigningKey} key
 * @property {number} [now] milliseconds since the epoch; for tests
 * @property {string} [nonce]
 */

/**
 * @param {string} text of a key file: PKCS #8 PEM of an Ed25519 key, or a shared secret in base64
 * @param {string} id
 * @returns {Promise<SigningKey>}
 * @throws {Error} with a sentence that says what is wrong
 */
export async function importKey(text, id) {
  const pem = /^-----BEGIN ([A-Z ]+)-----([\s\S]+)-----END \1-----\s*$/.exec(text.trim())
  if (pem === null) return importSecret(fromBase64(text.trim()), id)
  if (pem[1] === 'PUBLIC KEY') throw new Error('This is the public half of a key. The private one signs.')
  if (pem[1] !== 'PRIVATE KEY') throw new Error('This is no private key in PEM, or one with a passphrase.')
  return importPrivateKey(fromBase64((pem[2] ?? '').replace(/\s+/g, '')), id)
}

/**
 * @param {Uint8Array<ArrayBuffer> | null} der PKCS #8
 * @param {string} id
 * @returns {Promise<SigningKey>}
 */
export async function importPrivateKey(der, id) {
  try {
    const cryptoKey = await crypto.subtle.importKey('pkcs8', der ?? new Uint8Array(), 'Ed25519', false, [
      'sign',
    ])
    return { id, algorithm: 'ed25519', cryptoKey }
  } catch (error) {
    if (error instanceof DOMException && error.name === 'NotSupportedError') {
      throw new Error('This browser cannot sign with Ed25519. A newer one can.')
    }
    throw new Error('This is no Ed25519 private key. slotgate keys generate makes one.')
  }
}

/**
 * @param {Uint8Array<ArrayBuffer> | null} secret
 * @param {string} id
 * @returns {Promise<SigningKey>}
 */
async function importSecret(secret, id) {
  if (secret === null) throw new Error('This is no key file: it is neither PEM nor base64.')
  if (secret.length < MIN_SECRET_BYTES) {
    throw new Error(`A shared secret has at least ${MIN_SECRET_BYTES} bytes, this one has ${secret.length}.`)
  }
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const cryptoKey = await crypto.subtle.importKey('raw', secret, algorithm, false, ['sign'])
  return { id, algorithm: 'hmac-sha256', cryptoKey }
}

/**
 * @returns {Promise<{ privateKey: CryptoKey, publicKey: string }>} a new pair; the public half as 32 bytes in base64
 */
export async function generatePair() {
  const pair = await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])
  if (!('privateKey' in pair)) throw new Error('This browser makes no pair of an Ed25519 key.')
  const raw = await crypto.subtle.exportKey('raw', pair.publicKey)
  return { privateKey: pair.privateKey, publicKey: toBase64(new Uint8Array(raw)) }
}

/**
 * @param {RequestToSign} request
 * @returns {Promise<Record<string, string>>} the header fields to send with it, by lower-case name
 */
export async function signRequest({ method, url, body = '', ifMatch, key, now = Date.now(), nonce }) {
  const headers = {
    'content-digest': `sha-256=:${toBase64(await digest(body))}:`,
    ...(body && { 'content-type': 'application/json' }),
    ...(ifMatch && { 'if-match': ifMatch }),
  }
  /** @type {Record<string, string>} */
  const values = {
    ...headers,
    '@method': method,
    '@authority': url.host,
    '@path': url.pathname,
    '@query': url.search || '?',
  }
  const covered = COMPONENTS.flatMap((name) => (values[name] === undefined ? [] : [[name, values[name]]]))
  const created = Math.floor(now / 1000)
  const once = nonce ?? toBase64(crypto.getRandomValues(new Uint8Array(18)))
  const input =
    `(${covered.map(([name]) => `"${name}"`).join(' ')});created=${created};expires=${created + LIFETIME_S}` +
    `;nonce="${once}";keyid="${key.id}";tag="${TAG}"`
  const signature = await sign(key, baseOf([...covered, ['@signature-params', input]]))
  return { ...headers, 'signature-input': `${LABEL}=${input}`, signature: `${LABEL}=:${signature}:` }
}

/**
 * @param {readonly (readonly string[])[]} components names with their values, the parameters last
 * @returns {string} the signature base (RFC 9421 §2.5)
 */
export const baseOf = (components) => components.map(([name, value]) => `"${name}": ${value}`).join('\n')

/**
 * @param {SigningKey} key
 * @param {string} base
 * @returns {Promise<string>} the signature in base64
 */
export async function sign({ algorithm, cryptoKey }, base) {
  const name = algorithm === 'ed25519' ? 'Ed25519' : 'HMAC'
  return toBase64(new Uint8Array(await crypto.subtle.sign(name, cryptoKey, new TextEncoder().encode(base))))
}

/** @param {string} text */
const digest = async (text) =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)))

/** @param {Uint8Array} bytes */
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes))

/**
 * @param {string} text base64 or base64url, padded or not
 * @returns {Uint8Array<ArrayBuffer> | null} the bytes; null if it is neither
 */
export function fromBase64(text) {
  // `atob` would skip white space.
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(text)) return null
  try {
    const decoded = atob(text.replaceAll('-', '+').replaceAll('_', '/'))
    return Uint8Array.from(decoded, (character) => character.charCodeAt(0))
  } catch {
    return null
  }
}
