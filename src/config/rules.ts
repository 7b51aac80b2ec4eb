// What the values of a config must be to one another. Each rule looks at what was read and notes its problems.
import { SLOTS, type SlotName } from '../contract.ts'
import { isLoopback, listenersMeet, reachesListener, sameAddress } from './addresses.ts'
import { isSlotName, NOT_AN_ID, RELEASE_ID } from './names.ts'
import type { Reading } from './reading.ts'
import type { ConfigDraft, ServiceDraft } from './schema.ts'
import type { Address } from './types.ts'

type Services = [name: string, service: ServiceDraft][]

/** The services that could be read at all; a part of one may still be undefined. */
const servicesOf = (draft: ConfigDraft): Services =>
  (draft.services ?? []).flatMap(([name, service]) => (service ? [[name, service]] : []))

function someServices(reading: Reading, draft: ConfigDraft): void {
  if (draft.services?.length === 0) reading.complain('services', 'must name at least one service')
}

function releasesOrSlots(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { releases, slots }] of servicesOf(draft)) {
    const key = `services.${name}`
    if (releases === null && slots === null) {
      reading.complain(
        key,
        'has neither releases nor slots',
        'say how slotgate boots releases, or where the slots are',
      )
    }
    if (releases !== null && slots !== null) {
      reading.complain(
        `${key}.slots`,
        'stands beside releases',
        'keep one: slotgate boots releases, or something else runs the slots',
      )
    }
  }
}

function whatSlotsCannot(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { slots, first, previous }] of servicesOf(draft)) {
    if (!slots) continue
    if (first && !isSlotName(first)) {
      reading.complain(
        `services.${name}.first`,
        'must be blue or green: with `slots`, the first to be promoted is a slot',
      )
    }
    if (previous === 'stop') {
      reading.complain(
        `services.${name}.previous`,
        'cannot be stop: slotgate does not run what is in `slots`',
        'write keep',
      )
    }
  }
}

/** The keys that not every driver has a use for, and which have. */
const DRIVERS_OF = {
  cwd: ['process'],
  repo: ['git'],
  keep: ['git'],
  shared: ['git'],
  setup: ['process', 'git'],
  setup_within: ['process', 'git'],
  image: ['docker'],
  engine: ['docker'],
  volumes: ['docker'],
  network: ['docker'],
  memory: ['docker'],
  cpus: ['docker'],
} as const
const WHAT_IS_A_RELEASE = {
  process: 'a folder that is there already',
  git: 'a commit, which runs in its checkout',
  docker: 'an image, which is built elsewhere',
} as const

function keysOfDriver(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { releases }] of servicesOf(draft)) {
    if (!releases?.driver) continue
    const { driver } = releases
    for (const [key, drivers] of Object.entries(DRIVERS_OF) as [
      keyof typeof DRIVERS_OF,
      readonly string[],
    ][]) {
      // What could not be read is given, and was told already.
      if (drivers.includes(driver) || !releases[key]) continue
      const theirs = drivers.map((one) => `\`driver: ${one}\``).join(' or ')
      const why = `is for ${theirs}: here a release is ${WHAT_IS_A_RELEASE[driver]}`
      reading.complain(`services.${name}.releases.${key}`, why, 'take it out')
    }
  }
}

function keysThatDriversNeed(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { releases }] of servicesOf(draft)) {
    if (!releases?.driver) continue
    const [key, what] =
      releases.driver === 'docker'
        ? (['image', 'the image of a release, such as "shop:{release}"'] as const)
        : (['command', 'the program and its arguments'] as const)
    if (releases[key] === null)
      reading.complain(`services.${name}.releases.${key}`, 'is missing', `it is ${what}`)
  }
}

function firstIsAnId(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { releases, first }] of servicesOf(draft)) {
    if (!releases?.driver || releases.driver === 'git' || !first || RELEASE_ID.test(first)) continue
    reading.complain(`services.${name}.first`, `${NOT_AN_ID}; got ${JSON.stringify(first)}`)
  }
}

/** A link within a link would lie in the folder that all releases share. */
function sharedApart(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { releases }] of servicesOf(draft)) {
    const paths = releases?.shared ?? []
    for (const [index, path] of paths.entries()) {
      const other = paths.find(
        (one, at) => at !== index && `${path}/`.startsWith(`${one}/`) && (one !== path || at < index),
      )
      if (other === undefined) continue
      const how = other === path ? 'is there twice' : `lies within ${other}, which is shared as a whole`
      reading.complain(`services.${name}.releases.shared[${index}]`, how, 'take it out')
    }
  }
}

function somePrefixToStrip(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { strip_prefix: strip, path_prefix: prefix }] of servicesOf(draft)) {
    if (strip !== true || prefix !== '/') continue
    reading.complain(
      `services.${name}.strip_prefix`,
      'is on, and there is no path_prefix to take off',
      'set path_prefix, or take this out',
    )
  }
}

function drainTimes(reading: Reading, draft: ConfigDraft): void {
  for (const [name, { drain }] of servicesOf(draft)) {
    const { within, tunnels_within: tunnels } = drain ?? {}
    if (within !== undefined && tunnels !== undefined && tunnels < within) {
      reading.complain(
        `services.${name}.drain.tunnels_within`,
        `is shorter (${tunnels} ms) than drain.within (${within} ms)`,
        'tunnels get at least the time of requests',
      )
    }
  }
}

// Two services must not claim the same requests.

interface Claimed {
  service: string
  key: string
  host: string
  path: string
}

const ANY_HOST = 'any host'

function claimsOf([service, { hosts, preview, path_prefix: path }]: Services[number]): Claimed[] {
  if (hosts === undefined || path === undefined) return []
  const key = `services.${service}.${hosts.length > 0 ? 'hosts' : 'path_prefix'}`
  const previewKey = `services.${service}.preview.hosts`
  return [
    ...(hosts.length > 0 ? hosts : [ANY_HOST]).map((host) => ({ service, key, host, path })),
    ...(preview?.hosts ?? []).map((host) => ({ service, key: previewKey, host, path })),
  ]
}

function oneServicePerRequest(reading: Reading, draft: ConfigDraft): void {
  const first = new Map<string, Claimed>()
  for (const claimed of servicesOf(draft).flatMap(claimsOf)) {
    const id = `${claimed.host} ${claimed.path}`
    const other = first.get(id)
    if (other === undefined) first.set(id, claimed)
    else if (other.service === claimed.service) reading.complain(claimed.key, `names ${claimed.host} twice`)
    else {
      const sentence = `${claimed.host} with path ${claimed.path} is claimed by service ${other.service} already`
      reading.complain(claimed.key, sentence, 'give one of them another host or path_prefix')
    }
  }
}

// Addresses of slots: the front door must not reach an internal port, and no two slots may be one process.

interface Endpoint {
  key: string
  service: string
  slot: SlotName
  side: 'public' | 'internal'
  address: Address
}

function endpointsOf([service, { slots }]: Services[number]): Endpoint[] {
  return SLOTS.flatMap((slot) =>
    (['public', 'internal'] as const).flatMap((side) => {
      const address = slots?.[slot]?.[side]
      return address
        ? [{ key: `services.${service}.slots.${slot}.${side}`, service, slot, side, address }]
        : []
    }),
  )
}

/** @returns why the two must not be the same address; undefined if they may */
function whyApart(one: Endpoint, other: Endpoint): string | undefined {
  const here = `is also ${one.service === other.service ? '' : `service ${one.service}'s `}${one.slot}.${one.side}`
  if (one.side !== other.side) {
    // One slot's own two sides may meet: its internal paths are hidden then.
    if (one.service === other.service && one.slot === other.slot) return undefined
    return `${here}: the front door would reach an internal address`
  }
  if (one.service !== other.service) return undefined
  return one.side === 'public'
    ? `${here}: both slots would be the same process`
    : `${here}: the gate would ask the same process for both slots`
}

function slotsApart(reading: Reading, draft: ConfigDraft): void {
  const endpoints = servicesOf(draft).flatMap(endpointsOf)
  for (const [index, other] of endpoints.entries()) {
    for (const one of endpoints.slice(0, index)) {
      const why = sameAddress(one.address, other.address) ? whyApart(one, other) : undefined
      if (why) reading.complain(other.key, why)
    }
  }
}

function slotsApartFromListeners(reading: Reading, draft: ConfigDraft): void {
  for (const { key, address } of servicesOf(draft).flatMap(endpointsOf)) {
    for (const { what, at } of listenersOf(draft)) {
      if (at && reachesListener(address, at)) reading.complain(key, `is the address of ${what} itself`)
    }
  }
}

// The front door.

function knownSenders(reading: Reading, draft: ConfigDraft): void {
  const { proxy_protocol: expected, trusted_proxies: trusted } = draft.relay ?? {}
  if (!expected || trusted?.length !== 0) return
  // One that could not be read was told already, and is one.
  if (reading.problems.some(({ key }) => key.startsWith('relay.trusted_proxies'))) return
  reading.complain(
    'relay.proxy_protocol',
    'is on, and there are no trusted_proxies: every connection would be closed',
    'name the load balancer in relay.trusted_proxies',
  )
}

function targetWithinHead(reading: Reading, draft: ConfigDraft): void {
  const { head_limit: head, target_limit: target } = draft.relay ?? {}
  if (head === undefined || !target || target <= head) return
  reading.complain(
    'relay.target_limit',
    `is more (${target}B) than head_limit (${head}B): the target is a part of the head`,
    'raise head_limit, or lower this',
  )
}

function addressWithinAll(reading: Reading, draft: ConfigDraft): void {
  const { connections: all, connections_per_address: one } = draft.relay ?? {}
  if (typeof all !== 'number' || typeof one !== 'number' || one <= all) return
  reading.complain(
    'relay.connections_per_address',
    `is more (${one}) than connections (${all}): it would never be reached`,
    'lower it, or write off',
  )
}

// The listeners.

const listenersOf = ({ listen, admin, metrics }: ConfigDraft) => [
  { what: 'the front door', key: 'listen', at: listen },
  { what: 'the admin API', key: 'admin.listen', at: admin?.listen },
  { what: 'the listener for metrics', key: 'metrics.listen', at: metrics?.listen },
]

function listenersApart(reading: Reading, draft: ConfigDraft): void {
  const listeners = listenersOf(draft)
  for (const [index, { key, at }] of listeners.entries()) {
    const other = listeners.slice(0, index).find((one) => one.at && at && listenersMeet(one.at, at))
    if (other) reading.complain(key, `is the address of ${other.what} (${other.key})`, 'give it another port')
  }
}

function adminIsPrivate(reading: Reading, draft: ConfigDraft): void {
  const { listen, tls } = draft.admin ?? {}
  if (!listen || tls !== null || isLoopback(listen.host)) return
  const where = listen.host === '::' ? 'every interface' : listen.host
  reading.complain(
    'admin.listen',
    `${where} is not loopback, and there is no admin.tls`,
    'listen on 127.0.0.1, or set admin.tls',
  )
}

function someWayToPromote(reading: Reading, draft: ConfigDraft): void {
  if (reading.from.bringsKey || draft.admin?.keys?.length !== 0) return
  const stuck = servicesOf(draft).filter(([, { first }]) => first === null)
  if (stuck.length === 0) return
  const names = stuck.map(([name]) => name).join(', ')
  reading.complain(
    'admin.keys',
    `there is no key, and no \`first\` for ${names}: nothing could ever be promoted`,
    'make one: slotgate keys generate --id ops',
  )
}

/** Every rule, in the order of the docs. */
export const RULES: readonly ((reading: Reading, draft: ConfigDraft) => void)[] = [
  someServices,
  releasesOrSlots,
  whatSlotsCannot,
  keysOfDriver,
  keysThatDriversNeed,
  firstIsAnId,
  sharedApart,
  somePrefixToStrip,
  drainTimes,
  oneServicePerRequest,
  slotsApart,
  slotsApartFromListeners,
  knownSenders,
  targetWithinHead,
  addressWithinAll,
  listenersApart,
  adminIsPrivate,
  someWayToPromote,
]
