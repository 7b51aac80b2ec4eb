// Previews at the front door: who may see what is in the idle slot, and the link that lets a browser in. Runs in the thread of
// the exchange.
import { SlotgateError } from '../errors.ts'
import { LINK_PATH, PASS, passKey, secondsLeft } from '../passes.ts'
import type { Table } from '../slots/table.ts'
import { dateField } from './http1/outgoing.ts'
import type { Answer } from './refuse.ts'
import { pathOf, type Route } from './route.ts'

/** What all passes in cookies begin with. */
const COOKIE = 'slotgate-preview-'

/** Services may share a host. */
const cookieOf = ({ service }: Route): string => COOKIE + service.name

/** Lives as long as the door. */
export class Passes {
  readonly #secret: Uint8Array
  readonly #table: Table
  /** By the place of the preview. */
  readonly #keys = new Map<number, { number: number; key: Uint8Array }>()

  constructor(secret: Uint8Array, table: Table) {
    this.#secret = secret
    this.#table = table
  }

  /** @returns for how many seconds more this pass is good for the preview; 0: it is not */
  secondsLeft(pass: string, preview: Route): number {
    return secondsLeft(pass, this.#keyOf(preview))
  }

  #keyOf({ index, service }: Route): Uint8Array {
    const number = this.#table.passes(index)
    const known = this.#keys.get(index)
    if (known?.number === number) return known.key
    const key = passKey(this.#secret, service.name, number)
    this.#keys.set(index, { number, key })
    return key
  }
}

const COOKIES = /^cookie: (.*)\r\n/gim

const pairsOf = (line: string): string[] => line.split(';').map((pair) => pair.trim())

/** A browser sends one or two. To look at as many as fit into a head would cost a hundred times what a request costs. */
const MOST_PASSES = 4

/** @param fields of a request, each with its line end */
export function mayPreview(fields: string, preview: Route, passes: Passes): boolean {
  const start = `${cookieOf(preview)}=`
  if (!fields.includes(start)) return false
  return [...fields.matchAll(COOKIES)]
    .flatMap(([, line = '']) => pairsOf(line))
    .filter((pair) => pair.startsWith(start))
    .slice(0, MOST_PASSES)
    .some((pair) => passes.secondsLeft(pair.slice(start.length), preview) > 0)
}

/**
 * @returns the fields without any pass: an app has no use for one, might log it, and is not to have that of another service,
 *   which a browser sends as well where they share a host
 */
export function withoutPasses(fields: string): string {
  if (!fields.includes(COOKIE)) return fields
  return fields.replace(COOKIES, (line: string, value: string) => {
    const pairs = pairsOf(value)
    const others = pairs.filter((pair) => !pair.startsWith(COOKIE))
    if (others.length === pairs.length) return line
    return others.length === 0 ? '' : `Cookie: ${others.join('; ')}\r\n`
  })
}

/** Whether the target is that of a link; never the app's, since nobody would notice the difference. */
export const isLink = (target: string, { service: { pathPrefix } }: Route): boolean =>
  pathOf(target) === `${pathPrefix === '/' ? '' : pathPrefix}${LINK_PATH}`

/**
 * The answer to a link: its pass becomes a cookie, and the browser goes on to the front page of the service, wherever it came
 * from. Without a pass the cookie goes, and with it the preview. What the browser has kept of the other release goes as well.
 *
 * @param isSecure whether the browser came over TLS
 * @throws SlotgateError preview_over
 */
export function linkAnswer(target: string, preview: Route, passes: Passes, isSecure: boolean): Answer {
  const pass = new URLSearchParams(target.slice(pathOf(target).length)).get(PASS)
  const seconds = pass === null ? 0 : passes.secondsLeft(pass, preview)
  if (pass !== null && seconds === 0) throw new SlotgateError('preview_over')
  const { pathPrefix } = preview.service
  const lines = [
    'HTTP/1.1 303 See Other',
    `Location: ${pathPrefix}`,
    `Set-Cookie: ${cookieOf(preview)}=${pass ?? ''}; Path=${pathPrefix}; Max-Age=${seconds}; HttpOnly; SameSite=Lax${isSecure ? '; Secure' : ''}`,
    'Cache-Control: no-store',
    'Referrer-Policy: no-referrer',
    'Clear-Site-Data: "cache"',
    'Content-Length: 0',
  ]
  return { status: 303, head: `${lines.join('\r\n')}\r\n${dateField()}`, body: '' }
}
