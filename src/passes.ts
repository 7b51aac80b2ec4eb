// Passes: who has one may look at what is not live yet, until it expires or all of them are ended. The main thread makes
// them, the threads of the front door look at them. A pass says only until when; what it is for is in its key.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, SlotgateError } from './errors.ts'

const SECRET_BYTES = 32
const FILE = 'preview.secret'

/** Anybody but the owner. */
const OTHERS = 0o077

/**
 * The secret that all keys come from. It is made when it is asked for the first time, and stays: a pass outlives a restart.
 *
 * @throws SlotgateError `state_dir_unusable`
 */
export async function passSecret(stateDir: string): Promise<Uint8Array> {
  const path = join(stateDir, FILE)
  try {
    if (!existsSync(path)) await writeWhole(path, randomBytes(SECRET_BYTES))
    if (((await stat(path)).mode & OTHERS) !== 0) {
      throw new Error(`others than its owner may use ${path}; chmod 600 ${path}`)
    }
    const secret = await readFile(path)
    if (secret.length === SECRET_BYTES) return secret
    throw new Error(`${path} is not what slotgate wrote; delete it, and each pass is void`)
  } catch (error) {
    throw new SlotgateError(
      'state_dir_unusable',
      { state_dir: stateDir, detail: messageOf(error) },
      { cause: error },
    )
  }
}

async function writeWhole(path: string, content: Uint8Array): Promise<void> {
  const draft = `${path}.new`
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, path)
}

/** The path of links, below the prefix of their service, and where their pass stands in the query. */
export const LINK_PATH = '/.slotgate/preview'
export const PASS = 'pass'

/**
 * @param number what is counted up to make all passes of the service void
 * @returns the key of its passes
 */
export const passKey = (secret: Uint8Array, service: string, number: number): Uint8Array =>
  createHmac('sha256', secret).update(`slotgate-preview-v1\0${service}\0${number}`).digest()

const macOf = (key: Uint8Array, expires: string): Buffer => createHmac('sha256', key).update(expires).digest()

/** @param expiresMs since the epoch; cut to whole seconds */
export function makePass(key: Uint8Array, expiresMs: number): string {
  const expires = String(Math.floor(expiresMs / 1_000))
  return `${expires}.${macOf(key, expires).toString('base64url')}`
}

/** @returns for how many seconds more it is good; 0: it is not, or no longer */
export function secondsLeft(pass: string, key: Uint8Array, nowMs = Date.now()): number {
  const [, expires = '', mac = ''] = /^(\d{1,12})\.([\w-]{43})$/.exec(pass) ?? []
  if (mac === '' || !timingSafeEqual(macOf(key, expires), Buffer.from(mac, 'base64url'))) return 0
  return Math.max(0, Number(expires) - Math.floor(nowMs / 1_000))
}
