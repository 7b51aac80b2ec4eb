// The private key of a caller: how it is made, written and read again.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { judgeKeyId } from '../config/names.ts'
import { messageOf } from '../errors.ts'
import { type Algorithm, MIN_SECRET_BYTES, parseSigningKey, type SigningKey } from '../signing.ts'
import { EXIT, Failure } from './call.ts'

export interface NewKey {
  /** What goes into the file: PKCS #8 PEM, or the secret in base64. */
  content: string
  /** The raw public key in base64; a shared secret has none. */
  publicKey?: string
}

export function generateKey(algorithm: Algorithm): NewKey {
  if (algorithm === 'hmac-sha256') return { content: `${randomBytes(MIN_SECRET_BYTES).toString('base64')}\n` }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = Buffer.from(String(publicKey.export({ format: 'jwk' }).x), 'base64url')
  return {
    content: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    publicKey: raw.toString('base64'),
  }
}

/** Writes a new file that only its owner can read. A key that is overwritten is a key that nobody has any more. */
export function writeKeyFile(file: string, content: string): void {
  try {
    writeFileSync(file, content, { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new Failure(EXIT.failed, `${file} exists already and is not overwritten.`, [
        'Name another file with --out.',
      ])
    }
    throw new Failure(EXIT.failed, `The key cannot be written to ${file}: ${messageOf(error)}.`)
  }
}

const OTHERS = 0o077

export interface KeyFile {
  key: SigningKey
  /** Whether somebody besides the owner may read or write the file. */
  isOpenToOthers: boolean
}

/**
 * @param id the key id; the file's name without `.key` if not given
 * @throws Failure if the id can be none, or the file cannot be read or holds no key that can sign
 */
export function readKeyFile(file: string, id = basename(file).replace(/\.key$/, '')): KeyFile {
  const complaint = judgeKeyId(id)
  if (complaint) {
    throw new Failure(EXIT.usage, `The key id ${JSON.stringify(id)} ${complaint.sentence}.`, [
      'Name the one in the config with --key-id ID or SLOTGATE_KEY_ID.',
    ])
  }
  const { content, mode } = contentOf(file)
  return { key: { id, ...parseKey(file, content) }, isOpenToOthers: (mode & OTHERS) !== 0 }
}

function contentOf(file: string): { content: string; mode: number } {
  try {
    const opened = openSync(file, 'r')
    try {
      return { content: readFileSync(opened, 'utf8'), mode: fstatSync(opened).mode }
    } finally {
      closeSync(opened)
    }
  } catch (error) {
    throw new Failure(EXIT.usage, `The key file ${file} cannot be read: ${messageOf(error)}.`, [
      'Name it with --key FILE or SLOTGATE_KEY; slotgate keys generate makes one.',
    ])
  }
}

function parseKey(file: string, content: string): Omit<SigningKey, 'id'> {
  try {
    return parseSigningKey(content)
  } catch (error) {
    throw notAKey(file, messageOf(error))
  }
}

const notAKey = (file: string, why: string): Failure =>
  new Failure(EXIT.usage, `The key file ${file} cannot be used: ${why}.`, [
    'slotgate keys generate makes one that can.',
  ])
