// Reads header lines as they came, because what was signed is the line and not what a parser made of it.
import type { FieldOccurrence } from 'http-message-sig'
import { Refusal } from './refusal.ts'

export type Fields = readonly FieldOccurrence[]

/** Pairs up Node's flat list of names and values; names in lower case, order and repeats kept. */
export function fieldsOf(rawHeaders: readonly string[]): FieldOccurrence[] {
  const fields: FieldOccurrence[] = []
  for (let i = 0; i < rawHeaders.length; i += 2) {
    fields.push({ name: (rawHeaders[i] ?? '').toLowerCase(), value: rawHeaders[i + 1] ?? '' })
  }
  return fields
}

export const has = (fields: Fields, name: string): boolean => fields.some((field) => field.name === name)

/**
 * @returns the value of the field's one line; undefined if there is none
 * @throws signature_malformed if there are several: which of them counts must never be a question
 */
export function single(fields: Fields, name: string): string | undefined {
  const lines = fields.filter((field) => field.name === name)
  if (lines.length > 1) throw new Refusal('signature_malformed', { detail: `${name} is sent more than once` })
  return lines[0]?.value
}

/** A dictionary member whose value is a byte sequence without parameters (RFC 9651 §3.3.5). */
const BYTES_MEMBER = /^([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):$/

/**
 * Reads a dictionary of byte sequences, as `Signature` and `Content-Digest` are. Only the one canonical base64 of each
 * value is taken, so that a captured field cannot be varied.
 *
 * @throws signature_malformed
 */
export function byteSequences(name: string, value: string): Map<string, Buffer> {
  const members = new Map<string, Buffer>()
  for (const text of value.split(',')) {
    const [, key = '', base64 = ''] = BYTES_MEMBER.exec(text.trim()) ?? []
    const bytes = Buffer.from(base64, 'base64')
    if (key === '' || bytes.toString('base64') !== base64) {
      throw new Refusal('signature_malformed', { detail: `${name} must look like name=:base64:` })
    }
    if (members.has(key)) {
      throw new Refusal('signature_malformed', { detail: `${name} has the member ${key} twice` })
    }
    members.set(key, bytes)
  }
  return members
}
