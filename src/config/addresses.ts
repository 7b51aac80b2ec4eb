// Addresses: how they are written, and which of them lead to the same place.
import { BlockList, isIP, isIPv6 } from 'node:net'
import { dirname, resolve } from 'node:path'
import { Complaint } from './complaint.ts'
import type { Surroundings } from './reading.ts'
import type { Address, ListenAddress } from './types.ts'

export const MAX_PORT = 65_535

export const portOf = (digits: string | undefined): number | undefined => {
  const port = Number(digits)
  return digits !== undefined && /^\d{1,5}$/.test(digits) && port <= MAX_PORT ? port : undefined
}

/** @returns the host as the WHATWG URL rules write it, so that 127.1 is 127.0.0.1; undefined if it is none */
export function canonicalHost(host: string): string | undefined {
  const bracketed = isIPv6(host) ? `[${host}]` : host
  const url = URL.parse(`http://${bracketed}/`)
  const valid = url !== null && url.pathname === '/' && url.port === '' && url.username === ''
  return valid && !/[%*]/.test(host) ? url.hostname.replace(/^\[|\]$/g, '') : undefined
}

/** `:8080` means every interface: the unspecified IPv6 address takes IPv4 connections too. */
const EVERY_INTERFACE = '::'

export function judgeListenAddress(value: string): ListenAddress | Complaint {
  const [, ipv6, name, digits] = /^(?:\[([^\]]*)\]|([^:[\]/]*)):(\d+)$/.exec(value) ?? []
  if (digits === undefined) {
    const hint = /^\d+$/.test(value)
      ? `write 127.0.0.1:${value}, or :${value} for every interface`
      : undefined
    return new Complaint('must be an address such as 127.0.0.1:8080, :8080 or "[::1]:8080"', hint)
  }
  const port = portOf(digits)
  if (port === undefined) return new Complaint(`has a port above ${MAX_PORT}`)
  if (name === '') return { host: EVERY_INTERFACE, port }
  const host = ipv6 === undefined || isIPv6(ipv6) ? canonicalHost(ipv6 ?? name ?? '') : undefined
  return host === undefined ? new Complaint('has a host that is none') : { host, port }
}

/** The address of a Unix socket is 108 bytes long on Linux, and ends with a NUL. */
const MAX_SOCKET_PATH_BYTES = 107

function unixAddress(path: string, { file }: Pick<Surroundings, 'file'>): Address | Complaint {
  if (path === '') return new Complaint('names no socket')
  const absolute = resolve(dirname(file), path)
  if (Buffer.byteLength(absolute) > MAX_SOCKET_PATH_BYTES) {
    return new Complaint(`is a socket path longer than ${MAX_SOCKET_PATH_BYTES} bytes`)
  }
  return { kind: 'unix', path: absolute }
}

function tcpAddress(value: string, example: string): Address | Complaint {
  const [, host, digits] = /^http:\/\/(\[[^\]]*\]|[^:/?#@[\]\s]+)(?::(\d+))?\/?$/.exec(value) ?? []
  if (value.startsWith('https:')) return new Complaint('must be http: TLS to a slot is not spoken')
  if (host === undefined) return new Complaint(`must be ${example}, without a path`)
  const port = portOf(digits ?? '80')
  const canonical = canonicalHost(host.replace(/^\[|\]$/g, ''))
  if (!port) return new Complaint(`must have a port from 1 to ${MAX_PORT}`)
  return canonical === undefined
    ? new Complaint('has a host that is none')
    : { kind: 'tcp', host: canonical, port }
}

export const judgePublicAddress = (value: string): Address | Complaint =>
  value.startsWith('unix:')
    ? new Complaint('must be http: only the internal address may be a Unix socket')
    : tcpAddress(value, 'a URL such as http://127.0.0.1:3001')

/** @param from where a relative path of a socket starts from: the folder of this file */
export const judgeInternalAddress = (value: string, from: Pick<Surroundings, 'file'>): Address | Complaint =>
  value.startsWith('unix:')
    ? unixAddress(value.slice('unix:'.length), from)
    : tcpAddress(value, 'a URL such as http://127.0.0.1:3901, or unix:/run/app.sock')

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')

/** Whether nobody but this machine reaches the host. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' ||
  host.endsWith('.localhost') ||
  (isIP(host) !== 0 && LOOPBACK.check(host, isIPv6(host) ? 'ipv6' : 'ipv4'))

/** Whether it stands for every interface. */
export const isUnspecified = (host: string): boolean => host === '::' || host === '0.0.0.0'

/** Whether two hosts can be the same place, as far as names and numbers tell: `localhost` may be any loopback address. */
function hostsMeet(a: string, b: string): boolean {
  if (a === b || isUnspecified(a) || isUnspecified(b)) return true
  return isLoopback(a) && isLoopback(b) && (isIP(a) === 0 || isIP(b) === 0)
}

/** Whether two listeners cannot both have what they ask for. Port 0 is a fresh port each time. */
export const listenersMeet = (a: ListenAddress, b: ListenAddress): boolean =>
  a.port !== 0 && a.port === b.port && hostsMeet(a.host, b.host)

/** Whether two addresses lead to the same process. */
export function sameAddress(a: Address, b: Address): boolean {
  if (a.kind === 'unix' || b.kind === 'unix')
    return a.kind === b.kind && 'path' in a && 'path' in b && a.path === b.path
  return a.port === b.port && hostsMeet(a.host, b.host)
}

/** Whether a slot's address is the listener itself. A listener on every interface is met by this machine's own names only. */
export const reachesListener = (address: Address, listener: ListenAddress): boolean =>
  address.kind === 'tcp' &&
  address.port === listener.port &&
  (isUnspecified(listener.host)
    ? isLoopback(address.host) || isUnspecified(address.host)
    : hostsMeet(address.host, listener.host))
