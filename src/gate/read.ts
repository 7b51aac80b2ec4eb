// One read of a release's status: asked once, parsed strictly, every way it can be unusable told apart.
import { stripVTControlCharacters } from 'node:util'
import { type ParsedStatus, parseBody, parseStatus } from '../contract.ts'
import { type Code, type Facts, messageOf } from '../errors.ts'
import { ANSWER_LIMIT_BYTES, AskError, type AskFailure, ask, type Question, urlOf } from '../slots/ask.ts'
import type { Reading } from './judge.ts'

const FAILURES: Record<AskFailure, Code> = {
  unreachable: 'schema_status_unreachable',
  timeout: 'schema_status_timeout',
  too_large: 'schema_status_too_large',
}

/**
 * Reads and parses one status.
 *
 * @returns the status, or the code of DESIGN §3 row 1 with the facts of its sentence; it never throws
 */
export async function readStatus(question: Question): Promise<Reading> {
  const answer = await readText(question)
  if (!answer.ok) return answer
  const parsed = parseStatus(answer.text)
  return parsed.ok ? parsed : refuse(question, parsed.code, factsOf(parsed))
}

/** A status as text that nobody has parsed yet, or why there is none. */
export type StatusText = { ok: true; text: string } | Extract<Reading, { ok: false }>

/** Reads the text of one status, within the limits of every read; it never throws. */
export async function readText(question: Question): Promise<StatusText> {
  try {
    const { status, body } = await ask(question)
    const refused = refuseAnswer(status)
    const text = decode(body)
    if (refused) {
      const said = refused === 'schema_status_unavailable' && { said: wordsIn(text ?? '') }
      return refuse(question, refused, { status_code: status, ...said })
    }
    return text === null
      ? refuse(question, 'schema_status_not_json', { detail: 'it is not UTF-8' })
      : { ok: true, text }
  } catch (error) {
    const code = error instanceof AskError ? FAILURES[error.failure] : 'schema_status_unreachable'
    return refuse(question, code, { detail: messageOf(error) })
  }
}

function refuse(question: Question, code: Code, more: Facts): Extract<Reading, { ok: false }> {
  const { address, path, withinMs } = question
  return {
    ok: false,
    code,
    facts: {
      url: urlOf(address) + path,
      internal_url: urlOf(address),
      within_ms: Math.round(withinMs),
      limit_bytes: ANSWER_LIMIT_BYTES,
      ...more,
    },
  }
}

/** What of a failed parse goes into the sentence. */
function factsOf({ ok: _ok, code: _code, ...facts }: Extract<ParsedStatus, { ok: false }>): Facts {
  return facts
}

/** Refuses what is not UTF-8 instead of guessing; a byte order mark stays in, and is not JSON. */
function decode(body: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return null
  }
}

const MOST_WORDS = 200
/** Of what is looked at; whatever comes after it is none of the words that are said on. */
const MOST_LOOKED_AT = 2_000

/** The app's own words for why it cannot say: of a problem document, or of plain text. They go to terminals and logs. */
function wordsIn(text: string): string {
  const parsed = parseBody(text)
  const { code, error, detail } = parsed.ok ? parsed.body : {}
  const parts = [code, error, detail].filter((part) => typeof part === 'string')
  const isPage = /^\s*</.test(text)
  const words = parsed.ok ? [...new Set(parts)].join(': ') : isPage ? '' : text
  return shorten(tame(words.slice(0, MOST_LOOKED_AT)).replace(/\.$/, '')) || 'it does not say why'
}

/** One line without what would drive a terminal, and without the password of a URL: errors of databases repeat them. */
const tame = (text: string): string =>
  stripVTControlCharacters(text)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replace(/:\/\/\S*@/g, '://…@')
    .trim()

const shorten = (text: string): string =>
  text.length > MOST_WORDS ? `${text.slice(0, MOST_WORDS - 1).replace(/[\uD800-\uDBFF]$/, '')}…` : text

function refuseAnswer(status: number): Code | null {
  if (status === 200) return null
  if (status === 404) return 'schema_status_not_found'
  if (status === 503) return 'schema_status_unavailable'
  if (status >= 300 && status < 400) return 'schema_status_redirected'
  return 'schema_status_http_error'
}
