// Verifies admin calls, signed with HTTP Message Signatures (RFC 9421). The one file that knows `http-message-sig`, which
// parses the fields and builds the signature base; what may be signed, by whom and when is decided here.
import {
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
  verify,
} from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  isSignatureError,
  type RequestDescriptor,
  type UntrustedSignatureCandidate,
  verifySignature,
} from 'http-message-sig'
import type { AdminKey } from '../config/types.ts'
import { COVERED_IF_PRESENT, REQUIRED_COMPONENTS, TAG } from '../signing.ts'
import { checkDigest } from './digest.ts'
import { byteSequences, type Fields, has, single } from './fields.ts'
import type { NonceStore } from './nonces.ts'
import { Refusal } from './refusal.ts'

export const REQUIRED_PARAMETERS = ['created', 'expires', 'nonce', 'keyid', 'tag'] as const

export const MAX_LIFETIME_S = 300
export const SKEW_S = 5

/** 128 bits are 22 characters of base64; longer ones only fill memory. */
const NONCE = /^[A-Za-z0-9+/_=-]{22,128}$/
const KEY_ID_LIMIT = 128
const FIELD_LIMITS_BYTES = { 'signature-input': 1024, signature: 256, 'content-digest': 512 } as const

type Algorithm = AdminKey['algorithm']

/** A key to verify with, and what its holder may do. */
export interface VerificationKey {
  id: string
  algorithm: Algorithm
  key: KeyObject
  allow: AdminKey['allow']
}

/** A request as it came in: nothing decoded, joined or made shorter. */
export interface ReceivedRequest {
  method: string
  /** The request target of the request line. */
  target: string
  scheme: 'http' | 'https'
  fields: Fields
  body: Uint8Array
}

export interface Policy {
  keys: Pick<ReadonlyMap<string, VerificationKey>, 'get'>
  nonces: NonceStore
  /** Signatures made in this second or before are refused: an earlier process may have accepted them already. */
  acceptAfterS: number
  /** Milliseconds since the epoch. */
  now: () => number
}

export interface VerifiedRequest {
  key: VerificationKey
  nonce: string
}

/** @returns the configured key in the form that verifies; its material was checked when the config was read */
export function verificationKey({ id, algorithm, material, allow }: AdminKey): VerificationKey {
  const bytes = Buffer.from(material)
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: bytes.toString('base64url') }
  const key = algorithm === 'ed25519' ? createPublicKey({ key: jwk, format: 'jwk' }) : createSecretKey(bytes)
  return { id, algorithm, key, allow }
}

/**
 * Decides whether a call was signed by one of the keys, for just these bytes, just now and for the first time.
 *
 * @throws Refusal: `unsigned`, `signature_malformed` for what the caller can see in its own request,
 * `signature_refused` for all that depends on keys, clock and signature, `digest_mismatch`, `replayed`,
 * `nonce_store_full`
 * @see ADMIN.md §6.3, in its order: sizes, form, key, time, signature, digest, and only then the nonce
 */
export async function verifyRequest(received: ReceivedRequest, policy: Policy): Promise<VerifiedRequest> {
  checkForm(received)
  const { key, created, expires, nonce } = await checkSignature(received, policy)
  checkDigest(single(received.fields, 'content-digest') ?? '', received.body)
  await reach(created, policy)
  useNonce(policy, key, nonce, expires)
  return { key, nonce }
}

/** @returns the key id that a call claims, for the log; whether it is true only the signature says */
export const claimedKeyId = (fields: Fields): string | undefined =>
  /;keyid="([^"\\]{1,128})"/.exec(fields.find(({ name }) => name === 'signature-input')?.value ?? '')?.[1]

const malformed = (detail: string): Refusal => new Refusal('signature_malformed', { detail })

function checkForm({ fields, target, scheme }: ReceivedRequest): void {
  if (!has(fields, 'signature') && !has(fields, 'signature-input')) throw new Refusal('unsigned', {})
  for (const [name, limit] of Object.entries(FIELD_LIMITS_BYTES)) {
    const value = single(fields, name)
    if (value === undefined) throw malformed(`${name} is missing`)
    if (value.length > limit) throw malformed(`${name} is longer than ${limit} bytes`)
  }
  // RFC 9421 §2.2.7 gives `/x` and `/x?` the same @query, and a Host in capitals the same @authority; here each
  // request has one spelling.
  if (target.endsWith('?')) throw malformed('an empty query is written without its question mark')
  if (!isNormalHost(scheme, single(fields, 'host') ?? '')) throw malformed('Host is not in its normal form')
  if (byteSequences('signature', single(fields, 'signature') ?? '').size !== 1) {
    throw malformed('there must be one signature')
  }
}

function isNormalHost(scheme: string, host: string): boolean {
  if (!/^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?$/.test(host)) return false
  return URL.parse(`${scheme}://${host}/`)?.host === host
}

interface Judged {
  key: VerificationKey | undefined
  created: number
  expires: number
  nonce: string
  /** Why the call is refused although the signature may fit. */
  fault: string | null
}

async function checkSignature(
  received: ReceivedRequest,
  policy: Policy,
): Promise<Judged & { key: VerificationKey }> {
  let judged: Judged | undefined
  try {
    await verifySignature(describe(received), {
      policy: {
        algorithms: ['ed25519', 'hmac-sha256'],
        requiredComponents: [
          ...REQUIRED_COMPONENTS,
          ...COVERED_IF_PRESENT.filter((name) => has(received.fields, name)),
        ],
        requiredParameters: [...REQUIRED_PARAMETERS],
        // The library would refuse a wrong time before the signature is checked, and the answer's time would tell.
        clockSkew: Number.MAX_SAFE_INTEGER,
      },
      resolveVerifier: (candidate) => {
        checkProfile(candidate, received.fields)
        judged = judge(candidate, policy)
        const { key, fault } = judged
        return {
          algorithm: candidate.algorithm ?? key?.algorithm ?? 'ed25519',
          verify: (base, signature) => fits(key, base, signature) && fault === null,
        }
      },
    })
  } catch (error) {
    throw refusalOf(error, judged)
  }
  if (!judged?.key) throw new Refusal('signature_refused', {}, 'no key was found')
  return { ...judged, key: judged.key }
}

const describe = ({ method, target, scheme, fields }: ReceivedRequest): RequestDescriptor => ({
  kind: 'request',
  method,
  targetUri: `${scheme}://${single(fields, 'host')}${target}`,
  fields,
})

/** What can be said about a signature without knowing any key. */
function checkProfile({ components, parameters }: UntrustedSignatureCandidate, fields: Fields): void {
  const { tag, nonce = '', keyid = '', created = 0, expires = 0 } = parameters
  if (tag !== TAG) throw malformed(`the tag must be "${TAG}"`)
  for (const { name, parameters: ofComponent } of components) {
    if (Object.keys(ofComponent).length > 0) throw malformed(`${name} must be covered as it is`)
    single(fields, name)
  }
  if (!NONCE.test(nonce)) throw malformed('the nonce must be 22 to 128 characters of base64')
  if (keyid.length > KEY_ID_LIMIT) throw malformed('the keyid is too long')
  if (expires <= created || expires - created > MAX_LIFETIME_S) {
    throw malformed(`expires must be 1 to ${MAX_LIFETIME_S} seconds after created`)
  }
}

/** What depends on keys and clock. It is only noted here, so that each refusal takes as long as any other. */
function judge({ algorithm, parameters }: UntrustedSignatureCandidate, policy: Policy): Judged {
  const { keyid = '', nonce = '', created = 0, expires = 0 } = parameters
  const found = policy.keys.get(keyid)
  // An algorithm that the caller chooses could turn a public key into a shared secret; the key's own one counts.
  const key = algorithm === undefined || algorithm === found?.algorithm ? found : undefined
  return { key, created, expires, nonce, fault: faultOf({ found, key, created, expires }, policy) }
}

function faultOf(
  { found, key, created, expires }: Pick<Judged, 'key' | 'created' | 'expires'> & { found: unknown },
  { now, acceptAfterS }: Policy,
): string | null {
  const nowS = now() / 1000
  if (!found) return 'the key is unknown'
  if (!key) return 'alg is not the algorithm of the key'
  if (created > nowS + SKEW_S) return `created is ${Math.ceil(created - nowS)} s in the future`
  if (expires + SKEW_S < nowS) return `the signature expired ${Math.ceil(nowS - expires)} s ago`
  if (created <= acceptAfterS) return 'it was signed before slotgate started'
  return null
}

const DECOY = { ed25519: generateKeyPairSync('ed25519').publicKey, secret: createSecretKey(randomBytes(32)) }

/** Each call pays for one check of each kind, so that its time tells neither whether a key exists nor its kind. */
function fits(key: VerificationKey | undefined, base: Uint8Array, signature: Uint8Array): boolean {
  const isPublic = key?.algorithm === 'ed25519'
  const isSecret = key?.algorithm === 'hmac-sha256'
  const signed = verify(null, base, isPublic ? key.key : DECOY.ed25519, signature)
  const mac = createHmac('sha256', isSecret ? key.key : DECOY.secret)
    .update(base)
    .digest()
  const equal = mac.length === signature.length && timingSafeEqual(mac, signature)
  return (isPublic && signed) || (isSecret && equal)
}

function refusalOf(error: unknown, judged: Judged | undefined): unknown {
  if (!isSignatureError(error)) return error
  if (error.cause instanceof Refusal) return error.cause
  if (error.code !== 'VerificationFailed') return malformed(error.message)
  return new Refusal('signature_refused', {}, judged?.fault ?? 'the signature does not fit')
}

/**
 * Waits for the second that a signature bears, if the caller's clock is a little ahead. So nothing is accepted before its
 * time, and a process that starts later can tell by `created` alone what an earlier one may have accepted.
 */
async function reach(created: number, { now }: Policy): Promise<void> {
  const aheadMs = created * 1000 - now()
  if (aheadMs > 0) await sleep(aheadMs)
}

function useNonce({ nonces, now }: Policy, key: VerificationKey, nonce: string, expires: number): void {
  const remembered = nonces.remember(key.id, nonce, expires + SKEW_S, Math.floor(now() / 1000))
  if (remembered === 'seen') throw new Refusal('replayed', {}, 'the nonce was used before')
  if (remembered === 'full') throw new Refusal('nonce_store_full', {}, 'the nonce store is full')
  if (remembered === 'forgotten') {
    throw new Refusal('signature_refused', {}, 'its nonce may be forgotten: the clock went back')
  }
}
