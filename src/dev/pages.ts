// What the pages of an app are told while it is developed: how its service stands, in a field of each, and with `--overlay`
// behind the end of each.
import { createHash } from 'node:crypto'
import { printProblem } from '../cli/print/verdict.ts'
import { styleFor } from '../cli/style.ts'
import { toProblem } from '../errors.ts'
import type { Notice, Pages } from '../relay/pages.ts'
import type { Standing } from './loop.ts'
import { OVERLAY_ID, OVERLAY_PATH, OVERLAY_SCRIPT, type Shown } from './overlay.ts'

const PLAIN = styleFor({ write: () => {} }, {})
/** A head has to stay small, and a page readable. */
const MOST_NAMES = 10
const LONGEST_NAME = 100
const OUTPUT_LINES = 20

const AT_FIRST: Standing = { live: null, refused: null, pending: [] }

/** Lives as long as the session. */
export class DevPages implements Pages {
  readonly appends: boolean
  readonly #standings = new Map<string, Standing>()
  readonly script = `'sha256-${createHash('sha256').update(OVERLAY_SCRIPT).digest('base64')}'`

  constructor(overlay: boolean) {
    this.appends = overlay
  }

  stand(service: string, standing: Standing): void {
    this.#standings.set(service, standing)
  }

  notice(service: string, release: string | null): Notice {
    const standing = this.#standings.get(service) ?? AT_FIRST
    // An answer may come a moment before the switch to its release is told here.
    const now = { ...standing, live: release ?? standing.live }
    return { field: fieldOf(now), appendix: this.appends ? appendixOf(service, now) : '' }
  }

  answer(target: string): string | null {
    if (!this.appends || !target.startsWith(OVERLAY_PATH)) return null
    const url = URL.parse(target, 'http://localhost')
    if (url?.pathname !== OVERLAY_PATH) return null
    const service = url.searchParams.get('service') ?? ''
    const standing = this.#standings.get(service)
    return standing ? asciiJson(shown(service, standing)) : 'null'
  }
}

/** @see RFC 9651 §3.2: a dictionary, as in `live="dev-2", refused="dev-3", code=schema_behind_code, pending=("2_b.sql")` */
function fieldOf({ live, refused, pending }: Standing): string {
  const names = pending.slice(0, MOST_NAMES).map(quoted).join(' ')
  return [
    `live=${live === null ? '?0' : quoted(live)}`,
    ...(refused ? [`refused=${quoted(refused.release)}`, `code=${refused.error.code}`] : []),
    ...(pending.length > 0 ? [`pending=(${names})`] : []),
  ].join(', ')
}

const quoted = (text: string): string =>
  `"${text
    .slice(0, LONGEST_NAME)
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/["\\]/g, '\\$&')}"`

function shown(service: string, { live, refused, pending }: Standing): Shown {
  return { service, live, refused: refused && blockOf(refused), pending: pending.slice(0, MOST_NAMES) }
}

function blockOf({ error }: NonNullable<Standing['refused']>): string {
  const { output, ...problem } = toProblem(error)
  const lines = Array.isArray(output) ? { output: output.slice(-OUTPUT_LINES) } : {}
  return printProblem({ ...problem, ...lines }, PLAIN)
}

const appendixOf = (service: string, standing: Standing): string =>
  `\n<script type="application/json" id="${OVERLAY_ID}">${asciiJson(shown(service, standing))}</script><script>${OVERLAY_SCRIPT}</script>\n`

/** Harmless within a script element, and the same octets in every charset that has ASCII. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[<\u0080-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
