// Finding the service of a request by host and path, and keeping the app's internal paths off the front door. Pure.
import type { RelayConfig, ServiceConfig } from '../config/types.ts'
import { SlotgateError } from '../errors.ts'
import { previewPlaces } from '../slots/places.ts'

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

/** A route, and what leads there. */
interface Way {
  readonly route: Route
  /** Empty: any host. */
  readonly hosts: readonly string[]
  readonly pathPrefix: string
  readonly hidden: ReadonlySet<string>
}

/** Host match before any-host service, then the longer prefix. */
const byPrecedence = (one: Way, other: Way): number =>
  Number(other.hosts.length > 0) - Number(one.hosts.length > 0) ||
  other.pathPrefix.length - one.pathPrefix.length

/** @param place of its preview; null: it has none */
function waysOf(service: ServiceConfig, index: number, place: number | null, limits: Limits): Way[] {
  const { hosts, pathPrefix, hiddenPaths } = service
  const same = { service, limits, preview: null }
  const preview = place === null ? null : { ...same, index: place, isPreview: true }
  const way = { pathPrefix, hidden: new Set(hiddenPaths.map(plainest)) }
  const live = { ...way, hosts, route: { ...same, index, isPreview: false, preview } }
  const previewHosts = service.preview?.hosts ?? []
  return preview === null || previewHosts.length === 0
    ? [live]
    : [live, { ...way, hosts: previewHosts, route: preview }]
}

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
  /** Its place in the pointer table. */
  readonly index: number
  readonly service: ServiceConfig
  readonly limits: Limits
  /** It leads to what is in the idle slot. */
  readonly isPreview: boolean
  /** The way there for whoever has a pass; of a preview itself, and where there is none: null. */
  readonly preview: Route | null
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
  const places = previewPlaces(services)
  const ways = services
    .flatMap((service, index) =>
      waysOf(service, index, places[index] ?? null, { bodyLimitBytes, upstreamTimeoutMs, ...service.limits }),
    )
    .sort(byPrecedence)

  return function route({ hostname, target }) {
    const path = pathOf(target)
    const found = ways.find(
      ({ hosts, pathPrefix }) =>
        (hosts.length === 0 || hosts.includes(hostname)) && isUnder(path, pathPrefix),
    )
    if (!found) throw new SlotgateError('no_such_site')
    // It is the app's router that would take the path for an internal one, so it is looked at as the app gets it.
    if (found.hidden.size > 0 && found.hidden.has(plainest(targetFor(path, found.route.service)))) {
      throw new SlotgateError('internal_path')
    }
    return found.route
  }
}
