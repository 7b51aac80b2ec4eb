// Asks slotgate, before a migration runs, what it would break, and refuses what nobody has accepted by name. Where the
// environment does not say where slotgate is, nothing is asked.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { messageOf, SlotgateError } from '../errors.ts'
import { parseSigningKey, type SigningKey, signRequest } from '../signing.ts'

/** slotgate answers at once, whatever state the releases are in. */
const ANSWER_WITHIN_MS = 5_000

export interface AdviceOptions {
  /** What to do when slotgate does not answer: `refuse`, the default, or `run` as if there were none. */
  whenSlotgateIsAway?: 'refuse' | 'run'
  /** Where SLOTGATE_ADMIN, SLOTGATE_SERVICE, SLOTGATE_KEY and SLOTGATE_KEY_ID are read from; `process.env` by default. */
  env?: Readonly<Record<string, string | undefined>>
}

/** What the caller of a run accepts; without effect where slotgate is not asked. */
export interface Acceptance {
  /** The releases that may stop fitting, by name. */
  accept_breaks?: string[]
  /** The consequence by name: `one_way_door`. */
  confirm?: string
}

/** What the kit reads of the answer; docs/admin.md has the whole. */
interface Advice {
  verdict: 'two_way_door' | 'one_way_door' | 'breaks_live' | 'no_rollback_target' | null
  sentence: string
  hint?: string
  live: string | null
  breaks: string[]
  operation: Record<string, unknown> | null
}

interface Question {
  url: URL
  /** The signature and what it covers. */
  headers: Record<string, string>
  service: string
  to: number
}

/**
 * @param to the version that the run would reach
 * @throws SlotgateError 409 `operation_in_progress`, `would_break_live`, `one_way_door`, `advice_unknown`, for what is not
 *   accepted; 503 `slotgate_away`, unless that is no reason; 503 `advice_unavailable` when the question cannot be put
 */
export async function askSlotgate(
  to: number,
  acceptance: Acceptance,
  { whenSlotgateIsAway = 'refuse', env = process.env }: AdviceOptions = {},
): Promise<void> {
  if (!env.SLOTGATE_ADMIN) return
  const question = questionFrom(env, to)
  try {
    refuseUnlessAccepted(question, await ask(question), acceptance)
  } catch (error) {
    const isAway = error instanceof SlotgateError && error.code === 'slotgate_away'
    if (!isAway || whenSlotgateIsAway === 'refuse') throw error
  }
}

const unavailable = (to: number, detail: string): SlotgateError =>
  new SlotgateError('advice_unavailable', { to, detail })

function questionFrom(env: NonNullable<AdviceOptions['env']>, to: number): Question {
  const {
    SLOTGATE_ADMIN: admin = '',
    SLOTGATE_SERVICE: service,
    SLOTGATE_KEY: file,
    SLOTGATE_KEY_ID: id,
  } = env
  if (!service) throw unavailable(to, 'SLOTGATE_SERVICE is not set')
  if (!file) throw unavailable(to, 'SLOTGATE_KEY is not set')
  const path = `/v1/services/${encodeURIComponent(service)}/advice?to=${to}`
  const url = URL.parse(path, admin.includes('://') ? admin : `http://${admin}`)
  if (!url) throw unavailable(to, `SLOTGATE_ADMIN is no address: ${admin}`)
  try {
    const key: SigningKey = {
      id: id || basename(file).replace(/\.key$/, ''),
      ...parseSigningKey(readFileSync(file, 'utf8')),
    }
    return { url, headers: signRequest({ method: 'GET', url, key }), service, to }
  } catch (error) {
    throw unavailable(to, `the key file ${file} cannot be used: ${messageOf(error)}`)
  }
}

async function ask({ url, headers, to }: Question): Promise<Advice> {
  const away = (detail: string, cause?: unknown) =>
    new SlotgateError('slotgate_away', { to, admin: url.origin, detail }, { cause })
  let answer: { status: number; text: string }
  try {
    const response = await fetch(url, {
      headers,
      redirect: 'manual',
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    })
    answer = { status: response.status, text: await response.text() }
  } catch (error) {
    throw away(messageOf((error as Error).cause ?? error), error)
  }
  const { status, text } = answer
  const body = parse(text)
  if (status === 200 && isAdvice(body)) return body
  const detail = typeof body?.detail === 'string' ? body.detail.replace(/\.$/, '') : `it answered ${status}`
  throw status >= 500 || status === 429 ? away(detail) : unavailable(to, `${url.origin}: ${detail}`)
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : null
  } catch {
    return null
  }
}

const isAdvice = (body: object | null): body is Advice =>
  body !== null && ['verdict', 'sentence', 'live', 'breaks', 'operation'].every((name) => name in body)

/** Each consequence has its own word, so that nobody accepts one by accepting another. */
function refuseUnlessAccepted(
  { service, to }: Question,
  { verdict, sentence, hint, live, breaks, operation }: Advice,
  { accept_breaks: accepted = [], confirm }: Acceptance,
): void {
  if (operation) throw new SlotgateError('operation_in_progress', { ...operation, service })
  const facts = { to, release: live, detail: sentence, remedy: hint ?? '' }
  const isNamed = live !== null && accepted.includes(live)
  if (verdict === 'breaks_live' && !isNamed) {
    throw new SlotgateError('would_break_live', { ...facts, breaks: breaks.length > 0 ? breaks : [live] })
  }
  const isConfirmed = confirm === 'one_way_door' || breaks.every((release) => accepted.includes(release))
  if (verdict === 'one_way_door' && !isConfirmed)
    throw new SlotgateError('one_way_door', { ...facts, closes: breaks })
  if (verdict === null && live !== null && !isNamed) throw new SlotgateError('advice_unknown', facts)
}
