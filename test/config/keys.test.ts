// Key material: what is read, and what is refused before it can open the admin door.
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { checkKeyMaterial, parsePublicKey } from '../../src/config/keys.ts'

const P = 2n ** 255n - 19n

const mod = (value: bigint) => ((value % P) + P) % P

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) if (e & 1n) result = mod(result * b)
  return result
}

const inverse = (value: bigint) => power(value, P - 2n)
const D = mod(-121665n * inverse(121666n))

const encode = (y: bigint, sign = 0n) =>
  Buffer.from((y | (sign << 255n)).toString(16).padStart(64, '0'), 'hex').reverse()

/** Square root modulo P, where there is one (RFC 8032 §5.1.3). */
function root(value: bigint): bigint | null {
  const candidate = power(value, (P + 3n) / 8n)
  if (mod(candidate * candidate - value) === 0n) return candidate
  const other = mod(candidate * power(2n, (P - 1n) / 4n))
  return mod(other * other - value) === 0n ? other : null
}

t.test('a fresh Ed25519 key is accepted in every form it is written in', async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const der = publicKey.export({ type: 'spki', format: 'der' })
  const raw = der.subarray(12)
  const forms = [
    raw.toString('base64'),
    raw.toString('base64url'),
    der.toString('base64'),
    publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  ]
  for (const form of forms) t.same(Buffer.from(parsePublicKey(form) ?? []), raw, form)
  t.equal(checkKeyMaterial('ed25519', raw), null)
})

t.test('text that is no Ed25519 public key is not read as one', async (t) => {
  const { privateKey } = generateKeyPairSync('ed25519')
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey
  const raw = Buffer.alloc(32, 9).toString('base64')
  const others = [
    '',
    'ops',
    privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    rsa.export({ type: 'spki', format: 'pem' }).toString(),
    raw.slice(0, -4),
    `${raw.slice(0, -2)}l=`,
    `${raw.slice(0, 8)}!${raw.slice(8)}`,
  ]
  for (const text of others) t.equal(parsePublicKey(text), null, JSON.stringify(text))
})

t.test('every point of small order is refused, whatever the sign of x', async (t) => {
  // The order 8 points double to y = 0, so x² = -y², and the curve equation becomes d·y⁴ + 2y² - 1 = 0.
  const square = root(mod(1n + D)) ?? 0n
  const ysOfOrder8 = [square, -square].flatMap((term) => {
    const y = root(mod((term - 1n) * inverse(D)))
    return y === null ? [] : [y, P - y]
  })
  t.equal(ysOfOrder8.length, 2)
  for (const y of [0n, 1n, P - 1n, ...ysOfOrder8])
    for (const sign of [0n, 1n])
      t.match(checkKeyMaterial('ed25519', encode(y, sign)), /low order/, y.toString(16))
})

t.test('a y coordinate that is not canonical is refused', async (t) => {
  for (let y = P; y < 2n ** 255n; y++)
    t.match(checkKeyMaterial('ed25519', encode(y)), /canonical/, y.toString(16))
  t.equal(checkKeyMaterial('ed25519', encode(P - 2n)), null)
})

t.test('an Ed25519 key of another length is refused with its length', async (t) => {
  t.match(checkKeyMaterial('ed25519', Buffer.alloc(31, 9)), /31/)
  t.match(checkKeyMaterial('ed25519', Buffer.alloc(64, 9)), /64/)
})

t.test('an HMAC secret needs 32 bytes', async (t) => {
  t.match(checkKeyMaterial('hmac-sha256', Buffer.alloc(31, 9)), /at least 32/)
  t.equal(checkKeyMaterial('hmac-sha256', Buffer.alloc(32, 9)), null)
})
