// Reading a Host: what is one, and which name it is routed by. Pure.
import { isIPv6 } from 'node:net'

const LABEL = '[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?'
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*\\.?|\\[([0-9A-Fa-f:.]+)\\])(?::(\\d{1,5}))?$`)

/**
 * @returns whether the value is `uri-host [":" port]`; narrower than the RFC, which allows any registered name
 * @see RFC 9110 §7.2, RFC 3986 §3.2.2
 */
export function isHost(value: string): boolean {
  const match = HOST.exec(value)
  if (!match) return false
  const [, address, port] = match
  return (address === undefined || isIPv6(address)) && Number(port ?? 0) <= 65_535
}

/** The name of a valid Host as services are found by it: lower case, without port and without a final dot. */
export const hostnameOf = (host: string): string => host.toLowerCase().replace(/:\d+$/, '').replace(/\.$/, '')
