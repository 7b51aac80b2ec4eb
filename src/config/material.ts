// Keys, certificates and error pages: reads what the config names and judges it, so that nothing weak or foreign is ever
// loaded.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { messageOf } from '../errors.ts'
import { parseBase64 } from '../signing.ts'
import { checkKeyMaterial, parsePublicKey } from './keys.ts'
import type { Reading } from './reading.ts'
import type { AdminKeyDraft, ConfigDraft } from './schema.ts'
import type { AdminConfig, AdminKey, ServiceConfig } from './types.ts'

/** Anybody but the owner. */
const OTHERS_MAY_READ = 0o044

/** @returns the content of a file that the config names; undefined, and a problem, if it cannot be read */
function contentOf(reading: Reading, key: string, path: string, { secret = false } = {}): string | undefined {
  try {
    if (reading.from.readFile === undefined) throw new Error('no files are read here')
    const { content, mode } = reading.from.readFile(path)
    if (!secret || (mode & OTHERS_MAY_READ) === 0) return content
    reading.complain(key, `${path} can be read by others than its owner`, `chmod 600 ${path}`)
  } catch (error) {
    reading.complain(key, `cannot be read: ${messageOf(error)}`)
  }
}

/** Where each algorithm's key may stand. */
const SOURCES = {
  ed25519: ['public_key'],
  'hmac-sha256': ['secret_file', 'secret'],
} as const

type Source = (typeof SOURCES)[keyof typeof SOURCES][number]
const ALL_SOURCES: readonly Source[] = ['public_key', 'secret_file', 'secret']

/** @returns the one source given for the key, if it is right for its algorithm */
function sourceOf(reading: Reading, key: string, draft: AdminKeyDraft): Source | undefined {
  if (draft.algorithm === undefined) return
  const fitting: readonly Source[] = SOURCES[draft.algorithm]
  const given = ALL_SOURCES.filter((source) => draft[source] !== null)
  const foreign = given.find((source) => !fitting.includes(source))
  const needed = fitting.join(' or ')
  if (foreign)
    return reading.complain(`${key}.${foreign}`, `is not for ${draft.algorithm}`, `give its ${needed}`)
  if (given.length === 1) return given[0]
  return reading.complain(
    key,
    given.length === 0 ? `${needed} is missing` : `gives both ${fitting.join(' and ')}: one is enough`,
  )
}

/** @returns the text a key is read from; undefined, and a problem, if there is none */
function textOf(reading: Reading, key: string, source: Source, draft: AdminKeyDraft): string | undefined {
  const value = draft[source] ?? undefined
  return value && source === 'secret_file' ? contentOf(reading, key, value, { secret: true }) : value
}

function materialOf(reading: Reading, key: string, draft: AdminKeyDraft): Uint8Array | undefined {
  const source = sourceOf(reading, key, draft)
  if (source === undefined || draft.algorithm === undefined) return
  const place = `${key}.${source}`
  const text = textOf(reading, place, source, draft)
  if (text === undefined) return
  const material = source === 'public_key' ? parsePublicKey(text) : parseBase64(text.trim())
  if (material === null) {
    const sentence = source === 'public_key' ? 'is not an Ed25519 public key' : 'is not base64'
    return reading.complain(place, sentence, 'slotgate keys generate prints what belongs here')
  }
  const objection = checkKeyMaterial(draft.algorithm, material)
  return objection === null ? material : reading.complain(place, objection)
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Notes what was seen before under the same name. */
class Seen {
  readonly #first = new Map<string, string>()

  /** @returns the key at which the value was seen first; undefined if this is the first time */
  again(value: string, key: string): string | undefined {
    const first = this.#first.get(value)
    if (first === undefined) this.#first.set(value, key)
    return first
  }
}

/** @returns the keys that can be used; each that cannot is a problem */
export function readKeys(reading: Reading, draft: ConfigDraft): AdminKey[] {
  const ids = new Seen()
  const materials = new Seen()
  return (draft.admin?.keys ?? []).flatMap((entry, index) => {
    const key = `admin.keys[${index}]`
    const sameId = entry.id && ids.again(entry.id, key)
    if (sameId) reading.complain(`${key}.id`, `is the id of ${sameId} too`)
    const material = materialOf(reading, key, entry)
    const same = material && materials.again(hex(material), key)
    if (same) reading.complain(key, `is the same key as ${same}`, 'give each holder a key of their own')
    const { id, algorithm, allow } = entry
    return id && algorithm && material && allow ? [{ id, algorithm, material, allow }] : []
  })
}

/** @returns certificate and key of the admin API, if the config names them and they belong together */
export function readTls(reading: Reading, draft: ConfigDraft): AdminConfig['tls'] {
  const files = draft.admin?.tls
  if (!files?.cert || !files.key) return
  const cert = contentOf(reading, 'admin.tls.cert', files.cert)
  const key = contentOf(reading, 'admin.tls.key', files.key)
  const certificate =
    cert === undefined ? undefined : parsed(reading, 'admin.tls.cert', () => new X509Certificate(cert))
  const privateKey =
    key === undefined ? undefined : parsed(reading, 'admin.tls.key', () => createPrivateKey(key))
  if (cert === undefined || key === undefined || !certificate || !privateKey) return
  if (certificate.checkPrivateKey(privateKey)) return { cert, key }
  return reading.complain('admin.tls.key', 'is not the private key of the certificate in admin.tls.cert')
}

function parsed<T>(reading: Reading, key: string, parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    return reading.complain(key, `is not PEM that can be read: ${messageOf(error)}`)
  }
}

/** Each thread keeps them, and a page that is sent to everybody when the app is down had better be small. */
const PAGE_LIMIT_BYTES = 64 * 1024

/** @returns by service, the pages that can be read; each that cannot is a problem */
export function readErrorPages(
  reading: Reading,
  draft: ConfigDraft,
): Map<string, ServiceConfig['errorPages']> {
  const services = (draft.services ?? []).map(([service, part]) => {
    const files = part?.error_pages ?? []
    const pages = files.flatMap(([name, file]) => {
      const page = file && pageOf(reading, `services.${service}.error_pages.${name}`, file)
      return page === undefined ? [] : [[name, page] as const]
    })
    return [service, Object.fromEntries(pages)] as const
  })
  return new Map(services)
}

function pageOf(reading: Reading, key: string, file: string): string | undefined {
  const page = contentOf(reading, key, file)
  const size = Buffer.byteLength(page ?? '')
  if (size <= PAGE_LIMIT_BYTES) return page
  return reading.complain(key, `${file} has ${size} bytes; ${PAGE_LIMIT_BYTES} are the limit`)
}
