// Finding the service of a request by host and path, and keeping the app's internal paths off the front door. Pure.
import type { RelayConfig, ServiceConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'

/** The path as sent, without query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?')
  return query < 0 ? target : target.slice(0, query)
}

/** `/app` has `/app` and `/app/x`, not `/apple`. */
function isUnder(path: string, prefix: string): boolean {
  if (prefix === '/') return true
  const base = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix
  return path === base || path.startsWith(`${base}/`)
}

function unescapeOnce(path: string): string {
  return path.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** More rounds than any chain of decoding routers would make. */
const DECODINGS = 4

function decode(path: string): string {
  let decoded = path
  for (let round = 0; round < DECODINGS; round++) decoded = unescapeOnce(decoded)
  return decoded
}

/**
 * The plainest spelling of a path: what is left when every liberty that routers take was taken at once. Only for
 * comparing; what goes to the app is never rewritten.
 */
function plainest(path: string): string {
  const segments: string[] = []
  for (const segment of decode(path).toLowerCase().split(/[/\\]/)) {
    // `/healthz;v=1` is `/healthz` to some; a NUL or a blank at the end is lost in others.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
    const name = segment.replace(/[;?#].*$/, '').replace(/[\u0000-\u0020\u007f]/g, '')
    if (name === '..') segments.pop()
    else if (name !== '' && name !== '.') segments.push(name)
  }
  return segments.join('/')
}

/** Host match before any-host service, then the longer prefix. */
const byPrecedence = (one: ServiceConfig, other: ServiceConfig): number =>
  Number(other.hosts.length > 0) - Number(one.hosts.length > 0) ||
  other.pathPrefix.length - one.pathPrefix.length

/** What a request is routed by. */
export interface Routed {
  readonly hostname: string
  readonly target: string
}

/** What a request of a service may take. */
export interface Limits {
  /** 0: no limit. */
  readonly bodyLimitBytes: number
  readonly upstreamTimeoutMs: number
  /** At once; 0: no limit. */
  readonly openRequests: number
}

export interface Route {
  /** Index into the config's services, as the pointer table counts them. */
  readonly index: number
  readonly service: ServiceConfig
  readonly limits: Limits
}

/**
 * The target as the app gets it: byte for byte, or without the prefix that its service was found by, if it is to be taken
 * off.
 */
export function targetFor(target: string, { pathPrefix, stripPrefix }: ServiceConfig): string {
  if (!stripPrefix) return target
  const rest = target.slice(pathPrefix.length)
  return rest.startsWith('/') ? rest : `/${rest}`
}

/**
 * @returns a function that finds the service of a screened head
 * @throws SlotgateError from that function: `no_such_site`, or `internal_path` for a path that only the internal
 *   port may answer, in whatever spelling the app's router would take for it
 */
export function createRouter(
  services: readonly ServiceConfig[],
  { bodyLimitBytes, upstreamTimeoutMs }: RelayConfig,
): (request: Routed) => Route {
  const routes = services
    .map((service, index) => ({
      index,
      service,
      limits: { bodyLimitBytes, upstreamTimeoutMs, ...service.limits },
      hidden: new Set(service.hiddenPaths.map(plainest)),
    }))
    .sort((one, other) => byPrecedence(one.service, other.service))

  return function route({ hostname, target }) {
    const path = pathOf(target)
    const found = routes.find(
      ({ service }) =>
        (service.hosts.length === 0 || service.hosts.includes(hostname)) && isUnder(path, service.pathPrefix),
    )
    if (!found) throw new SlotgateError('no_such_site')
    // It is the app's router that would take the path for an internal one, so it is looked at as the app gets it.
    if (found.hidden.size > 0 && found.hidden.has(plainest(targetFor(path, found.service)))) {
      throw new SlotgateError('internal_path')
    }
    return found
  }
}
