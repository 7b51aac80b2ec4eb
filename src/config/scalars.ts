// The kinds of text a config holds: durations, sizes, addresses, hosts, paths and names.
import { isIP, isIPv6 } from 'node:net'
import { dirname, resolve } from 'node:path'
import { domainToASCII } from 'node:url'
import { isScalar } from 'yaml'
import { canonicalHost, judgeInternalAddress, judgeListenAddress, judgePublicAddress } from './addresses.ts'
import { Complaint } from './complaint.ts'
import { parseDuration } from './durations.ts'
import { type Kind, scalar } from './kinds.ts'
import { judgeKeyId, NOT_AN_ID, RELEASE_NAME } from './names.ts'
import { nearest } from './nearest.ts'
import { ACTIONS } from './types.ts'

/** @returns a kind that yields milliseconds */
export const duration = ({ atLeastMs = 1 } = {}) =>
  scalar('duration', (text) => parseDuration(text, atLeastMs))

const UNITS_BYTES = {
  B: 1,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
} as const

/** @returns a kind that yields bytes */
export const size = ({ atLeastBytes = 1, atMostBytes = Number.MAX_SAFE_INTEGER } = {}) =>
  scalar('size', (text) => {
    const [, digits, unit] = /^(\d{1,9})(B|kB|KB|MB|GB|KiB|MiB|GiB)$/.exec(text) ?? []
    if (/^\d+$/.test(text)) return new Complaint('needs a unit', `write ${text}B, ${text}KiB or ${text}MiB`)
    if (unit === undefined) return new Complaint('must be a size such as 64B, 16KiB or 1MB')
    const bytes = Number(digits) * UNITS_BYTES[unit as keyof typeof UNITS_BYTES]
    if (bytes >= atLeastBytes && bytes <= atMostBytes) return bytes
    return new Complaint(`must be between ${atLeastBytes}B and ${atMostBytes}B`)
  })

export const count = (least: number, most: number) =>
  scalar('number', (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
    return value >= least && value <= most
      ? value
      : new Complaint(`must be a whole number from ${least} to ${most}`)
  })

/** A share, from 0 to below 1. */
export const share = scalar('share', (text) =>
  /^0(\.\d{1,6})?$/.test(text)
    ? Number(text)
    : new Complaint('must be a share from 0 to below 1, such as 0.02'),
)

export const oneOf = <const T extends string>(...words: T[]) => {
  const choice = words.join(', ').replace(/, (?=[^,]+$)/, ' or ')
  return scalar(choice, (value) => {
    const guess = nearest(value, words)
    const found = words.find((candidate) => candidate === value)
    return found ?? new Complaint(`must be ${choice}`, guess && `did you mean "${guess}"?`)
  })
}

const onOrOffWord = oneOf('on', 'off')

/** @returns which share of all: `on` is 1, `off` is 0 */
export const onOffOrShare = scalar('on, off or share', (text) => {
  const digits = /^0\.\d{1,6}$/.test(text)
  if (text === 'on' || text === 'off' || digits) return digits ? Number(text) : Number(text === 'on')
  return new Complaint('must be on, off or a share below 1, such as 0.1')
})

/** Yields whether it is on. Both are words here: the config knows no booleans. */
export const onOrOff: Kind<boolean> = {
  name: onOrOffWord.name,
  read(reading, key, node) {
    const chosen = onOrOffWord.read(reading, key, node)
    return chosen && chosen === 'on'
  },
}

/** A NUL would end the text early wherever the system takes it over. */
const plain = (text: string): string | Complaint =>
  text.includes('\0') ? new Complaint('must not contain a NUL character') : text

export const text = scalar('text', plain)

export const word = scalar('text', (value) =>
  value === '' ? new Complaint('must not be empty') : plain(value),
)

/** A path in the file system, absolute or from the folder of the config; yields it absolute. */
export const filePath = (name: string) =>
  scalar(name, (value, { file }) => {
    if (value === '') return new Complaint('must not be empty')
    const checked = plain(value)
    return checked instanceof Complaint ? checked : resolve(dirname(file), value)
  })

/** What an engine mounts into a container; yields a folder of this machine absolute, and the name of a volume as it is. */
export const volume = scalar('volume', (value, { file }) => {
  const [, source = '', rest] = /^([^:]+)(:\/[^:]*(?::[A-Za-z,]+)?)$/.exec(value) ?? []
  if (rest === undefined)
    return new Complaint('must be a folder or volume and a path, such as ./data:/data or data:/data:ro')
  return plain((/^[./]/.test(source) ? resolve(dirname(file), source) : source) + rest)
})

/** Where something is sent; yields it without a slash at its end. */
export const endpoint = scalar('URL', (value) => {
  const url = URL.parse(value)
  const isOne = url !== null && ['http:', 'https:'].includes(url.protocol) && !url.search && !url.hash
  if (isOne && !url.username && !url.password) return value.replace(/\/+$/, '')
  return new Complaint('must be a URL such as http://127.0.0.1:4318')
})

const MAX_CPUS = 1024

export const cpus = scalar('number', (text) => {
  const value = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0
  return value > 0 && value <= MAX_CPUS ? value : new Complaint('must be a number of CPUs, such as 2 or 0.5')
})

/** More would only share the same cores; each holds its own connections to the app. */
const MAX_THREADS = 64

/** A path below a folder that is chosen later; yields it as it is written, without a slash at its end. */
export const pathWithin = scalar('path', (value) => {
  const parts = value.replace(/\/$/, '').split('/')
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    return new Complaint('must be a path within the release, such as data or var/uploads')
  }
  if (parts[0] === '.git') return new Complaint('is what git keeps of the checkout')
  return plain(parts.join('/'))
})

export const threads = scalar('auto or number', (value): 'auto' | number | Complaint => {
  if (value === 'auto') return value
  const wanted = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN
  return wanted <= MAX_THREADS
    ? wanted
    : new Complaint(`must be auto or a whole number from 0 to ${MAX_THREADS}`)
})

// Addresses.

export const listenAddress = scalar('address', judgeListenAddress)

export const publicAddress = scalar('URL', judgePublicAddress)

export const internalAddress = scalar('URL or unix:PATH', judgeInternalAddress)

/** An address or a CIDR block of the trusted proxies. */
export const block = scalar('address or CIDR block', (value) => {
  const [, address, digits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value) ?? []
  const version = isIP(address ?? '')
  const bits = digits === undefined ? 0 : Number(digits)
  const fits = version !== 0 && bits <= (version === 4 ? 32 : 128)
  return fits ? value : new Complaint('must be an address or a block such as 10.0.0.0/8')
})

// What a request is matched by.

const LABEL = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?'
const HOST_NAME = new RegExp(`^(?=.{1,253}$)${LABEL}(?:\\.${LABEL})*$`)

/** A host as a request names it, without port; yields lower case, IPv6 in brackets. */
export const hostName = scalar('host', (value) => {
  const host = value.toLowerCase()
  const ipv6 = /^\[(.*)\]$/.exec(host)?.[1] ?? host
  if (isIPv6(ipv6)) return `[${canonicalHost(ipv6)}]`
  if (HOST_NAME.test(host)) return host
  if (host.includes('*')) {
    return new Complaint('is a wildcard: only whole names are supported', 'omit `hosts` for any host')
  }
  if (/:\d+$/.test(host)) return new Complaint('must be without a port', 'the port is that of `listen`')
  const ascii = /[^\0-\x7f]/.test(host) ? domainToASCII(host) : ''
  return new Complaint('must be a host name such as shop.example.com', ascii && `write ${ascii}`)
})

/** Visible ASCII without what would be another thing in a URL. */
const URL_PATH = /^\/[!-~]*$/

function judgePath(value: string): Complaint | undefined {
  if (!value.startsWith('/')) return new Complaint('must begin with /')
  if (/[?#]/.test(value)) return new Complaint('must be a path, without ? and #')
  if (!URL_PATH.test(value)) return new Complaint('must be visible ASCII characters without spaces')
}

export const urlPath = scalar('path', (value) => judgePath(value) ?? value)

/** Yields the prefix without a slash at its end, so that /api and /api/ are one claim. */
export const pathPrefix = scalar('path', (value) => {
  const complaint = judgePath(value)
  if (complaint) return complaint
  if (/%|\\|\/\/|\/\.{1,2}(?:\/|$)/.test(value)) {
    return new Complaint(
      'must be without %, \\, // and dot segments: requests are matched as they are written',
    )
  }
  return value.replace(/(?<=.)\/$/, '')
})

// Names.

export const firstRelease = scalar('release or slot', (value) =>
  RELEASE_NAME.test(value) ? value : new Complaint(NOT_AN_ID),
)

export const keyId = scalar('name', (value) => judgeKeyId(value) ?? value)

/** A secret has no place in a file that is committed and shown around. */
export const secretVariable: Kind<string> = {
  name: 'text',
  read(reading, key, node) {
    if (isScalar(node) && /^\$\{\w+\}$/.test(String(node.value))) return reading.expandSecret(key, node)
    // What is written there is not repeated: it may be the secret.
    return reading.complain(key, 'must come from the environment', `write "\${NAME}", or use secret_file`)
  },
}

const FIELD_VALUE = /^[!-~](?:[\t -~]*[!-~])?$/

/** What a field of a request holds. It may be a secret, so a complaint does not repeat it. */
export const fieldValue: Kind<string> = {
  name: 'text',
  read(reading, key, node) {
    const value = isScalar(node) ? reading.expandSecret(key, node) : ''
    if (value === undefined || FIELD_VALUE.test(value)) return value
    return reading.complain(key, 'must be visible ASCII characters in one line')
  },
}

export const action = oneOf(...ACTIONS)
