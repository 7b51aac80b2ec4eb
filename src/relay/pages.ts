// What the pages of an app say while it is developed: a field in the head of each, and only if that is wanted a few lines
// behind its end. Nobody else's answers are ever touched. Pure.

/** What is said on the pages of a service at the moment. */
export interface Notice {
  /** The value of the field `slotgate-dev`. */
  readonly field: string
  /** Goes behind the end of a page; ASCII, so that it means the same in most charsets. Empty: pages stay as they are. */
  readonly appendix: string
}

/** Only the main thread is told of them, so the front door must have no other. */
export interface Pages {
  /** Whether anything is ever put behind the end of a page. */
  readonly appends: boolean
  /** @param release whose answer it is; null: slotgate's own */
  notice(service: string, release: string | null): Notice
  /** The hash of the script in an appendix, as a source of a content security policy. */
  readonly script: string
  /** @returns JSON where the target is slotgate's own, for that script; null: it is the app's */
  answer(target: string): string | null
}

const FIELD = 'slotgate-dev'

/** What would make the app send what nothing can be put behind: another coding, a part, no body at all. */
const NARROWING = new Set([
  'accept-encoding',
  'range',
  'if-range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
])
/** What would be wrong of a body with something behind it. */
const OF_BODY = new Set(['etag', 'accept-ranges', 'content-md5', 'digest', 'content-digest', 'repr-digest'])
const POLICIES = new Set(['content-security-policy', 'content-security-policy-report-only'])
const WITHOUT_WHOLE_BODY = new Set([204, 206, 304])

const linesOf = (fields: string): string[] => fields.split(/(?<=\r\n)/)
const nameOf = (line: string): string => line.slice(0, line.indexOf(':')).toLowerCase()
const textOf = (line: string): string => line.slice(line.indexOf(':') + 1).trim()

const valuesOf = (fields: string, name: string): string[] =>
  linesOf(fields)
    .filter((line) => nameOf(line) === name)
    .map(textOf)

/**
 * Whether somebody asks who looks at the whole page, and not a script for a part of one.
 *
 * @param fields each with its line end
 */
export function asksForPage(method: string, fields: string): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const [destination = 'document'] = valuesOf(fields, 'sec-fetch-dest')
  return destination === 'document' && /\btext\/html\b/i.test(valuesOf(fields, 'accept').join())
}

/** @returns the fields of a request whose answer is to be one that something can be put behind */
export const askingForWhole = (fields: string): string =>
  `${linesOf(fields)
    .filter((line) => !NARROWING.has(nameOf(line)))
    .join('')}Accept-Encoding: identity\r\n`

/** @param head of the app's answer, as it came */
export function takesAppendix(status: number, head: string): boolean {
  const [type = ''] = valuesOf(head, 'content-type')
  const isHtml = /^text\/html\s*(?:;|$)/i.test(type) && !/charset\s*=\s*["']?utf-?(?:16|32)/i.test(type)
  const isPlain = valuesOf(head, 'content-encoding').every((coding) => /^(?:identity)?$/i.test(coding))
  const mayChange = !/\bno-transform\b/i.test(valuesOf(head, 'cache-control').join())
  return isHtml && isPlain && mayChange && !WITHOUT_WHOLE_BODY.has(status)
}

/** @returns the field as it is in a head */
export const fieldLine = (field: string): string => `${FIELD}: ${field}\r\n`

/**
 * @param head of an answer as it goes to the client, from the status line to the empty line
 * @param script whether the body gets an appendix: then its source, which the page's policy lets run
 */
export function annotated(head: string, field: string, script: string | null): string {
  const [status = '', ...lines] = linesOf(head)
  const kept = lines
    .slice(0, -1)
    .filter((line) => nameOf(line) !== FIELD && !(script !== null && OF_BODY.has(nameOf(line))))
    .map((line) => (script !== null && POLICIES.has(nameOf(line)) ? allowingLine(line, script) : line))
  return `${status}${kept.join('')}${fieldLine(field)}\r\n`
}

const allowingLine = (line: string, script: string): string =>
  `${line.slice(0, line.indexOf(':'))}: ${allowing(textOf(line), script)}\r\n`

/**
 * Lets one inline script run, and nothing else.
 *
 * @param policies the value of the field
 * @see CSP Level 3 §6.8.1: `script-src-elem` governs it, else `script-src`, else `default-src`
 */
export const allowing = (policies: string, script: string): string =>
  policies
    .split(',')
    .map((policy) => allowingIn(policy, script))
    .join(', ')

function allowingIn(policy: string, script: string): string {
  const directives = policy.split(';').map((directive) => directive.trim().split(/\s+/))
  const governing = ['script-src-elem', 'script-src', 'default-src']
    .map((name) => directives.find(([word = '']) => word.toLowerCase() === name))
    .find((directive) => directive !== undefined)
  if (governing === undefined || allowsInline(governing)) return policy.trim()
  const others = directives.filter(([word = '']) => !['', 'script-src-elem'].includes(word.toLowerCase()))
  const sources = governing.slice(1).filter((source) => source.toLowerCase() !== "'none'")
  return [...others, ['script-src-elem', ...sources, script]].map((words) => words.join(' ')).join('; ')
}

/** A nonce or a hash beside it makes it void, and so would ours. */
const allowsInline = (sources: readonly string[]): boolean =>
  sources.some((source) => source.toLowerCase() === "'unsafe-inline'") &&
  !sources.some((source) => /^'(?:nonce-|sha\d|strict-dynamic)/i.test(source))
