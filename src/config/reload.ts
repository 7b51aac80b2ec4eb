// What a running slotgate can take over from a changed config (SIGHUP), and what needs a restart.
import { isDeepStrictEqual } from 'node:util'
import type { Config, ServiceConfig } from './types.ts'

/** What may change while running, per service, by its name in the file. */
const LIVE_SERVICE_KEYS = {
  health: 'health',
  schema: 'schema',
  drain: 'drain',
  errorPages: 'error_pages',
  bake: 'bake',
  previous: 'previous',
} as const satisfies Partial<Record<keyof ServiceConfig, string>>
/** What may not. */
const FIXED_SERVICE_KEYS = {
  hosts: 'hosts',
  pathPrefix: 'path_prefix',
  stripPrefix: 'strip_prefix',
  limits: 'limits',
  preview: 'preview',
  releases: 'releases',
  slots: 'slots',
  hold: 'hold',
  first: 'first',
} as const satisfies Partial<Record<keyof ServiceConfig, string>>

export interface Reload {
  /** The running config with everything that can change taken over. */
  apply: Config
  /** The keys that change by it; empty if nothing does. */
  changed: string[]
  /** One sentence for each difference that needs a restart. */
  cannot: string[]
}

const needsRestart = (key: string): string => `${key} changed; that takes a restart of slotgate.`

/**
 * @param old the running config
 * @param next the config as it is now in the file
 * @see DESIGN.md §8b: SIGHUP re-reads what can change while running and says what cannot
 */
export function reloadable(old: Config, next: Config): Reload {
  const services = old.services.map((service) => reloadService(service, find(next, service.name)))
  const keysChanged = !isDeepStrictEqual(old.admin.keys, next.admin.keys)
  return {
    apply: Object.freeze({
      ...old,
      admin: Object.freeze({ ...old.admin, keys: next.admin.keys }),
      services: Object.freeze(services.map(({ apply }) => apply)),
      // With new keys there may be new ones; what was a secret stays one.
      withheld: Object.freeze([...new Set([...old.withheld, ...next.withheld])]),
    }),
    changed: [...(keysChanged ? ['admin.keys'] : []), ...services.flatMap(({ changed }) => changed)],
    cannot: [
      ...topLevel(old, next),
      ...services.flatMap(({ cannot }) => cannot),
      ...addedServices(old, next),
    ],
  }
}

const find = (config: Config, name: string): ServiceConfig | undefined =>
  config.services.find((service) => service.name === name)

/** In the file it is one thing; the front door needs the one half of it. */
const tracingOf = ({ tracing, relay }: Config) => ({ ...tracing, share: relay.traceShare })

function topLevel(old: Config, next: Config): string[] {
  const pairs: [key: string, old: unknown, next: unknown][] = [
    ['listen', old.listen, next.listen],
    ['threads', old.threads, next.threads],
    ['admin.listen', old.admin.listen, next.admin.listen],
    ['admin.tls', old.admin.tls, next.admin.tls],
    ['metrics', old.metrics, next.metrics],
    ['tracing', tracingOf(old), tracingOf(next)],
    ['state_dir', old.stateDir, next.stateDir],
    ['relay', { ...old.relay, traceShare: null }, { ...next.relay, traceShare: null }],
  ]
  return pairs
    .filter(([, before, after]) => !isDeepStrictEqual(before, after))
    .map(([key]) => needsRestart(key))
}

const addedServices = (old: Config, next: Config): string[] =>
  next.services
    .filter(({ name }) => find(old, name) === undefined)
    .map(({ name }) => `services.${name} is new; that takes a restart of slotgate.`)

interface ServiceReload {
  apply: ServiceConfig
  changed: string[]
  cannot: string[]
}

function reloadService(old: ServiceConfig, next: ServiceConfig | undefined): ServiceReload {
  const at = `services.${old.name}`
  if (next === undefined) {
    return { apply: old, changed: [], cannot: [`${at} is gone; it is served until slotgate restarts.`] }
  }
  const differs = (key: keyof ServiceConfig) => !isDeepStrictEqual(old[key], next[key])
  const among = (keys: Partial<Record<keyof ServiceConfig, string>>) =>
    Object.entries(keys)
      .filter(([key]) => differs(key as keyof ServiceConfig))
      .map(([, name]) => `${at}.${name}`)
  const cannot = among(FIXED_SERVICE_KEYS).map(needsRestart)
  if (differs('hiddenPaths')) {
    // The front door hides these paths since its start; asking others would show them.
    const sentence = `The internal paths of ${at} changed, and the front door hides them; that takes a restart of slotgate.`
    return { apply: old, changed: [], cannot: [...cannot, sentence] }
  }
  const { health, schema, drain, errorPages, bake, previous } = next
  const { bake: _, ...fixed } = old
  return {
    apply: Object.freeze({ ...fixed, health, schema, drain, errorPages, ...(bake && { bake }), previous }),
    changed: among(LIVE_SERVICE_KEYS),
    cannot,
  }
}
