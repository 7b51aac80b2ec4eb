// Which fields ought to go on, one field after the other and straight from the documents (RFC 9110 §7.6, HTTP.md §1.5
// and §3.1); shares nothing with the relay's way of copying runs of fields, and is compared with it. Pure.
import type { Field } from '../http-bytes.ts'

const HOP_BY_HOP =
  /^(?:connection|keep-alive|proxy-(?:authenticate|authorization|connection)|te|trailer|upgrade|http2-settings)$/
const FRAMING = /^(?:transfer-encoding|content-length)$/
const WRITTEN_ANEW = /^(?:via|x-request-id|expect|max-forwards|proxy|slotgate-role)$/
const OF_PROXIES = /^(?:forwarded|x-forwarded-.*|x-real-ip)$/
/** Not to be taken away by naming them in `Connection`. */
const KEPT =
  /^(?:content-length|host|via|authorization|cookie|x-request-id|date|forwarded|x-forwarded-.*|x-real-ip)$/
/** What slotgate makes of the words of a trusted proxy; others of that family go on. */
const CONTINUED = /^(?:forwarded|x-forwarded-(?:for|host|proto))$/

export const valuesOf = (fields: readonly Field[], name: string): string[] =>
  fields.filter(([one]) => one.toLowerCase() === name).map(([, value]) => value)

const members = (values: readonly string[]): string[] =>
  values.flatMap((value) => value.toLowerCase().split(',')).map((one) => one.replace(/^[ \t]+|[ \t]+$/g, ''))

const namedByConnection = (fields: readonly Field[]): string[] =>
  members(valuesOf(fields, 'connection')).filter((name) => !KEPT.test(name))

/** `X_Tenant` where `X-Tenant` is there too, or where `x-tenant` would mean something to the front door. */
function isLookAlike(lower: string, fields: readonly Field[]): boolean {
  if (!lower.includes('_')) return false
  const dashed = lower.replaceAll('_', '-')
  const means = [HOP_BY_HOP, FRAMING, WRITTEN_ANEW, OF_PROXIES, KEPT].some((names) => names.test(dashed))
  return means || fields.some(([name]) => name.toLowerCase() === dashed)
}

/** @param trusted whether the fields come from a proxy that may speak of others */
export function keptOfRequest(fields: readonly Field[], trusted: boolean): Field[] {
  const named = namedByConnection(fields)
  return fields.filter(([name]) => {
    const lower = name.toLowerCase()
    const dropped = HOP_BY_HOP.test(lower) || FRAMING.test(lower) || WRITTEN_ANEW.test(lower)
    const ofProxy = trusted ? CONTINUED.test(lower) : OF_PROXIES.test(lower)
    return !dropped && !ofProxy && !named.includes(lower) && !isLookAlike(lower, fields)
  })
}

export function keptOfResponse(fields: readonly Field[]): Field[] {
  const named = namedByConnection(fields)
  return fields.filter(([name]) => {
    const lower = name.toLowerCase()
    return !HOP_BY_HOP.test(lower) && !FRAMING.test(lower) && !named.includes(lower)
  })
}

/** As they are on the wire. */
export const linesOf = (fields: readonly Field[]): string =>
  fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
