// Who the client is and what the app is told about it: X-Forwarded-*, Forwarded and the list of trusted proxies. Pure.
import { BlockList, isIP } from 'node:net'
import type { RelayConfig } from '../config/types.ts'
import { isHost } from './host.ts'

export type Trust = (address: string) => boolean

const familyOf = (address: string) => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** Who is at the other end of a client's connection. */
export interface Peer {
  /** The address of the client, or of the proxy in front. */
  readonly peer: string
  /** Whether what the peer says of others is believed. */
  readonly trusted: boolean
}

/** A dual-stack listener shows IPv4 peers as `::ffff:192.0.2.1`. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

/**
 * @param blocks addresses and CIDR blocks
 * @returns whether the forwarded fields of this peer are believed
 */
export function createTrust(blocks: readonly string[]): Trust {
  const list = new BlockList()
  for (const block of blocks) {
    const [address = '', prefix] = block.split('/')
    if (prefix === undefined) list.addAddress(address, familyOf(address))
    else list.addSubnet(address, Number(prefix), familyOf(address))
  }
  return (address) => isIP(address) !== 0 && list.check(address, familyOf(address))
}

/** What came in of these fields, each value in order; empty where the peer is not trusted. */
export interface ForwardedIn {
  for: readonly string[]
  proto: string | undefined
  host: string | undefined
  forwarded: readonly string[]
}

const tokens = (values: readonly string[]): string[] =>
  values
    .join(',')
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '')

/**
 * The address that the log names: from the right, the first one that no trusted proxy has.
 *
 * @param chain the values of X-Forwarded-For, in order
 */
export function clientOf(peer: string, chain: readonly string[], isTrusted: Trust): string {
  let client = peer
  for (const address of tokens(chain).reverse()) {
    if (!isTrusted(client) || isIP(address) === 0) return client
    client = address
  }
  return client
}

const PROTOS = new Set(['http', 'https', 'ws', 'wss'])
// RFC 7239 §4: pairs of a token and a token or quoted string. Anything else could swallow the element that is added.
const FORWARDED =
  /^[!#$%&'*+.^_`|~\w-]+=(?:[!#$%&'*+.^_`|~\w-]+|"(?:[^"\\]|\\.)*")(?:\s*[;,]\s*[!#$%&'*+.^_`|~\w-]+=(?:[!#$%&'*+.^_`|~\w-]+|"(?:[^"\\]|\\.)*"))*$/

const nodeOf = (address: string): string => (isIP(address) === 6 ? `"[${address}]"` : address)
const quoted = (value: string): string => (/^[\w.-]+$/.test(value) ? value : `"${value}"`)

/**
 * The forwarded fields of an outgoing request.
 *
 * @param peer the address of the client's socket
 * @param host the Host that the request was routed by
 * @param incoming what a trusted peer sent; its client address chain is appended to, never replaced
 * @param family which of the two families the app gets; the other is never passed on
 * @see HTTP.md §3.1, RFC 7239
 */
export function forwardedFields(
  peer: string,
  host: string,
  incoming: ForwardedIn,
  family: RelayConfig['forwarded'],
): [name: string, value: string][] {
  const proto = incoming.proto && PROTOS.has(incoming.proto.toLowerCase()) ? incoming.proto : 'http'
  const forwardedHost = incoming.host && isHost(incoming.host) ? incoming.host : host
  const fields: [string, string][] = []
  if (family !== 'forwarded') {
    fields.push(['x-forwarded-for', [...tokens(incoming.for), peer].join(', ')])
    fields.push(['x-forwarded-proto', proto], ['x-forwarded-host', forwardedHost])
  }
  if (family !== 'x-forwarded') {
    const before = incoming.forwarded.join(', ').trim()
    const own = `for=${nodeOf(peer)};host=${quoted(forwardedHost)};proto=${proto}`
    fields.push(['forwarded', FORWARDED.test(before) ? `${before}, ${own}` : own])
  }
  return fields
}
