// Signing and verifying against the vectors of RFC 9421 (Appendix B), and against signatures made by hand.
import { createPublicKey, createSecretKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSignatureSync } from 'http-message-sig'
import t from 'tap'
import { checkDigest } from '../../src/admin/digest.ts'
import { NonceStore } from '../../src/admin/nonces.ts'
import { type ReceivedRequest, verificationKey, verifyRequest } from '../../src/admin/signature.ts'
import { REQUIRED_COMPONENTS, signRequest, TAG } from '../../src/signing.ts'
import { adminKeys, componentOf, freshNonce, machine, ops, privateKey, signBase } from './door.ts'

interface Vectors {
  request: { method: string; target: string; headers: [string, string][]; body: string }
  keys: {
    'test-key-ed25519': { spkiDerBase64: string }
    'test-shared-secret': { secretBase64: string }
  }
  cases: {
    name: string
    keyid: string
    label: string
    base: string
    signatureInput: string
    signature: string
  }[]
}

const vectors: Vectors = JSON.parse(readFileSync(new URL('../vectors/rfc9421.json', import.meta.url), 'utf8'))
const { request } = vectors
const secret = createSecretKey(Buffer.from(vectors.keys['test-shared-secret'].secretBase64, 'base64'))

const keyOf = (keyid: string) => (keyid === 'test-shared-secret' ? secret : privateKey)

for (const { name, keyid, label, base, signatureInput, signature } of vectors.cases) {
  const components = [...(/\(([^)]*)\)/.exec(signatureInput)?.[1] ?? '').matchAll(/"([^"]+)"/g)].map(
    ([, component = '']) => component,
  )

  t.test(`the library builds the base of ${name} and our keys reproduce its signature`, async (t) => {
    const bases: string[] = []
    const signed = createSignatureSync(
      {
        kind: 'request',
        method: request.method,
        targetUri: `https://example.com${request.target}`,
        fields: request.headers.map(([field, value]) => ({ name: field, value })),
      },
      {
        label,
        components,
        parameters: { created: 1618884473, keyid },
        signer: {
          algorithm: keyid === 'test-shared-secret' ? 'hmac-sha256' : 'ed25519',
          sign: (bytes) => {
            bases.push(Buffer.from(bytes).toString())
            return signBase(keyOf(keyid), Buffer.from(bytes).toString())
          },
        },
      },
    )
    t.same(bases, [base])
    t.same(signed, { signature, signatureInput })
  })

  t.test(`the tests sign ${name} by hand to the same base`, async (t) => {
    const parts = { ...request, authority: 'example.com', fields: request.headers }
    const lines = components.map((component) => `"${component}": ${componentOf(component, parts)}`)
    t.equal([...lines, `"@signature-params": ${signatureInput.replace(`${label}=`, '')}`].join('\n'), base)
  })
}

t.test('the Ed25519 vector verifies with its public key', async (t) => {
  const { base, signature } = vectors.cases.find(({ name }) => name === 'B.2.6') ?? {
    base: '',
    signature: '',
  }
  const key = createPublicKey({
    key: Buffer.from(vectors.keys['test-key-ed25519'].spkiDerBase64, 'base64'),
    format: 'der',
    type: 'spki',
  })
  const bytes = Buffer.from(signature.split(':')[1] ?? '', 'base64')
  t.ok(verify(null, Buffer.from(base), key, bytes))
})

t.test('the digest of the vector fits its body and no other', async (t) => {
  const digest = request.headers.find(([name]) => name === 'Content-Digest')?.[1] ?? ''
  t.doesNotThrow(() => checkDigest(digest, Buffer.from(request.body)))
  t.throws(() => checkDigest(digest, Buffer.from(`${request.body} `)), { code: 'digest_mismatch' })
})

const keys = new Map(adminKeys.map((key) => [key.id, verificationKey(key)]))
const policy = () => ({ keys, nonces: new NonceStore(), acceptAfterS: 0, now: Date.now })

/** What arrives at a server when `headers` are sent with the request. */
function received(method: string, url: string, headers: Record<string, string>, body = ''): ReceivedRequest {
  const { host, pathname, search } = new URL(url)
  const fields = Object.entries({ host, ...headers }).map(([name, value]) => ({ name, value }))
  return { method, target: `${pathname}${search}`, scheme: 'http', fields, body: Buffer.from(body) }
}

for (const key of [ops, machine]) {
  t.test(`what is signed with ${key.algorithm} verifies, for the one who signed it`, async (t) => {
    const url = 'http://127.0.0.1:8081/v1/services/invoices/stage?a=1&b'
    const body = '{"release":"r42"}'
    const headers = signRequest({ method: 'POST', url, body, ifMatch: '"17"', key })
    t.match(headers['signature-input'], '"content-type" "if-match"')
    const verified = await verifyRequest(received('POST', url, headers, body), policy())
    t.equal(verified.key.id, key.id)
  })
}

t.test('what is signed has the bytes that the library would have signed', async (t) => {
  for (const url of [
    'http://127.0.0.1:8081/v1/services',
    'https://Slotgate.Test:443/v1/services/my%20app/advice?to=44',
    'http://[::1]:8081/a/../b?x=%22&&y',
  ]) {
    const key = { ...ops, id: 'a "key" with a \\ in it' }
    const signed = signRequest({ method: 'GET', url, key, now: 1_700_000_000_000, nonce: freshNonce() })
    const [, parameters = ''] = /\);(.*)$/.exec(signed['signature-input'] ?? '') ?? []
    const nonce = /nonce="([^"]+)"/.exec(parameters)?.[1] ?? ''
    const expected = createSignatureSync(
      {
        kind: 'request',
        method: 'GET',
        targetUri: new URL(url).href,
        fields: [{ name: 'content-digest', value: signed['content-digest'] ?? '' }],
      },
      {
        label: 'slotgate',
        components: [...REQUIRED_COMPONENTS],
        parameters: { created: 1_700_000_000, expires: 1_700_000_060, nonce, keyid: key.id, tag: TAG },
        signer: { algorithm: 'ed25519', sign: (base) => signBase(privateKey, Buffer.from(base).toString()) },
      },
    )
    t.same([signed['signature-input'], signed.signature], [expected.signatureInput, expected.signature], url)
  }
  t.throws(
    () => signRequest({ method: 'GET', url: 'http://a/', key: { ...ops, id: 'ключ' } }),
    /printable ASCII/,
  )
})

t.test('each call is signed with a nonce of its own', async (t) => {
  const headers = () => signRequest({ method: 'GET', url: 'http://127.0.0.1:8081/v1/services', key: ops })
  t.not(headers()['signature-input'], headers()['signature-input'])
})

t.test('a signature is good for a minute and the time that clocks may differ', async (t) => {
  const url = 'http://127.0.0.1:8081/v1/services'
  const signedAt = 1_700_000_000_000
  const headers = () => signRequest({ method: 'GET', url, key: ops, now: signedAt, nonce: freshNonce() })
  const at = (now: number) => verifyRequest(received('GET', url, headers()), { ...policy(), now: () => now })
  await t.resolves(at(signedAt))
  await t.resolves(at(signedAt + 65_000))
  await t.rejects(at(signedAt + 65_001), { code: 'signature_refused', inner: /expired/ })
  await t.rejects(at(signedAt - 5_001), { code: 'signature_refused', inner: /future/ })
})

t.test(
  'https without a port and http without a port are different callers only by what they sign',
  async (t) => {
    const url = 'https://slotgate.test/v1/services'
    const headers = signRequest({ method: 'GET', url, key: ops })
    const arrived = { ...received('GET', url, headers), scheme: 'https' as const }
    await t.resolves(verifyRequest(arrived, policy()))
  },
)
