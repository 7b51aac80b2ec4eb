// The signatures that the page makes: those of RFC 9421, and those that the admin door takes.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { baseOf, generatePair, importKey, type SigningKey, sign, signRequest } from '../../dashboard/sign.js'
import { NonceStore } from '../../src/admin/nonces.ts'
import { verificationKey, verifyRequest } from '../../src/admin/signature.ts'
import { generateKey } from '../../src/cli/keyfile.ts'
import { ACTIONS, type AdminKey } from '../../src/config/types.ts'
import { parseSigningKey, signRequest as signInNode } from '../../src/signing.ts'

interface Vectors {
  keys: { 'test-key-ed25519': { pkcs8DerBase64: string }; 'test-shared-secret': { secretBase64: string } }
  cases: { name: string; base: string; signature: string }[]
}
const vectors: Vectors = JSON.parse(readFileSync(new URL('../vectors/rfc9421.json', import.meta.url), 'utf8'))
const { 'test-key-ed25519': ed25519, 'test-shared-secret': shared } = vectors.keys
const PEM = `-----BEGIN PRIVATE KEY-----\n${ed25519.pkcs8DerBase64}\n-----END PRIVATE KEY-----\n`
const KEYS: Record<string, { id: string; text: string }> = {
  'B.2.5': { id: 'test-shared-secret', text: shared.secretBase64 },
  'B.2.6': { id: 'test-key-ed25519', text: PEM },
}

for (const { name, base, signature } of vectors.cases) {
  t.test(`RFC 9421, ${name}: the same base, and the same signature`, async (t) => {
    const { id = '', text = '' } = KEYS[name] ?? {}
    const components = base.split('\n').map((line) => (/^"([^"]+)": (.*)$/.exec(line) ?? []).slice(1))
    t.equal(baseOf(components), base)
    t.equal(`:${await sign(await importKey(text, id), base)}:`, signature.replace(/^[^=]+=/, ''))
  })
}

t.test('it signs as the command line does, byte for byte', async (t) => {
  const requests = [
    { method: 'GET', path: '/v1/services' },
    { method: 'GET', path: '/v1/services/my%20app/advice?to=44' },
    { method: 'GET', path: '/v1/events?since=0' },
    { method: 'POST', path: '/v1/services/invoices/deploy', body: '{"release":"r42"}', ifMatch: '"17"' },
    { method: 'POST', path: '/v1/services/invoices/deploy', body: '{"release":"Größe ☃"}' },
  ]
  for (const text of [PEM, shared.secretBase64]) {
    for (const { path, ...request } of requests) {
      const url = new URL(path, 'http://127.0.0.1:8081')
      const more = { ...request, url, now: 1_795_176_000_000, nonce: 'eGFtcGxlLW9mLWEtbm9uY2U' }
      t.same(
        await signRequest({ ...more, key: await importKey(text, 'ops') }),
        signInNode({ ...more, key: { id: 'ops', ...parseSigningKey(text) } }),
        path,
      )
    }
  }
})

async function isTaken(key: SigningKey, entry: AdminKey, nonces = new NonceStore()): Promise<boolean> {
  const url = new URL('http://127.0.0.1:8081/v1/services/invoices/promote')
  const headers = await signRequest({ method: 'POST', url, body: '{}', ifMatch: '"3"', key })
  const fields = Object.entries({ host: url.host, ...headers }).map(([name, value]) => ({ name, value }))
  const received = {
    method: 'POST',
    target: url.pathname,
    scheme: 'http',
    fields,
    body: Buffer.from('{}'),
  } as const
  const keys = new Map([[entry.id, verificationKey(entry)]])
  return verifyRequest(received, { keys, nonces, acceptAfterS: 0, now: Date.now }).then(
    () => true,
    () => false,
  )
}

t.test('the door takes what a key of slotgate keys generate signs here, and of no other key', async (t) => {
  const { content, publicKey = '' } = generateKey('ed25519')
  const entry: AdminKey = {
    id: 'ops',
    algorithm: 'ed25519',
    material: Buffer.from(publicKey, 'base64'),
    allow: ACTIONS,
  }
  t.equal(await isTaken(await importKey(content, 'ops'), entry), true)
  t.equal(await isTaken(await importKey(content, 'other'), entry), false)
  t.equal(await isTaken(await importKey(generateKey('ed25519').content, 'ops'), entry), false)
  const secret = generateKey('hmac-sha256').content
  const machine: AdminKey = {
    id: 'ops',
    algorithm: 'hmac-sha256',
    material: Buffer.from(secret, 'base64'),
    allow: ACTIONS,
  }
  t.equal(await isTaken(await importKey(secret, 'ops'), machine), true)
})

t.test('the door takes what a pair made here signs, and a nonce is never the same', async (t) => {
  const { privateKey, publicKey } = await generatePair()
  const entry: AdminKey = {
    id: 'page',
    algorithm: 'ed25519',
    material: Buffer.from(publicKey, 'base64'),
    allow: ['read'],
  }
  const nonces = new NonceStore()
  for (let i = 0; i < 20; i++) {
    t.equal(await isTaken({ id: 'page', algorithm: 'ed25519', cryptoKey: privateKey }, entry, nonces), true)
  }
})

t.test('no key can be read out again', async (t) => {
  const { privateKey } = await generatePair()
  const keys = [
    privateKey,
    ...(await Promise.all([PEM, shared.secretBase64].map((text) => importKey(text, 'ops')))).map(
      ({ cryptoKey }) => cryptoKey,
    ),
  ]
  for (const key of keys) {
    t.equal(key.extractable, false)
    await t.rejects(crypto.subtle.exportKey('jwk', key))
  }
})

t.test('what is no key is told from one in a sentence', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const cases: [text: string, words: RegExp][] = [
    ['', /neither PEM nor base64/],
    ['hello, world', /neither PEM nor base64/],
    [randomBytes(16).toString('base64'), /at least 32 bytes, this one has 16/],

    [publicKey.export({ format: 'pem', type: 'spki' }).toString(), /public half/],
    [
      privateKey.export({ format: 'pem', type: 'pkcs8', cipher: 'aes-256-cbc', passphrase: 'x' }).toString(),
      /passphrase/,
    ],
    [
      generateKeyPairSync('ec', { namedCurve: 'P-256' })
        .privateKey.export({ format: 'pem', type: 'pkcs8' })
        .toString(),
      /no Ed25519 private key/,
    ],
    ['-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----', /no Ed25519 private key/],
  ]
  for (const [text, words] of cases) await t.rejects(importKey(text, 'ops'), words)
})
