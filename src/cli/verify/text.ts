// What an answer at `/schema/status` has to be before anybody looks at its fields: in time, small, 200, one JSON object.
import { parseBody } from '../../contract.ts'
import { type Code, type Facts, reason } from '../../errors.ts'
import type { StatusText } from '../../gate/read.ts'
import { broken, type Finding, holds, untold } from './finding.ts'

/** One demand on the answer, and the codes of those who do not meet it. The order is that in which a read fails. */
interface Demand {
  rule: string
  what: string
  codes: readonly Code[]
}

const DEMANDS: readonly Demand[] = [
  { rule: 'status_answer', what: '/schema/status answers', codes: ['schema_status_unreachable'] },
  { rule: 'status_time', what: 'The whole answer came within 3 s', codes: ['schema_status_timeout'] },
  { rule: 'status_size', what: 'It is at most 64 KiB', codes: ['schema_status_too_large'] },
  {
    rule: 'status_200',
    what: 'It answers 200, and no redirect',
    codes: [
      'schema_status_not_found',
      'schema_status_redirected',
      'schema_status_unavailable',
      'schema_status_http_error',
    ],
  },
  { rule: 'status_json', what: 'It is one JSON object in UTF-8', codes: ['schema_status_not_json'] },
]

interface Failed {
  code: Code
  facts: Facts
}

/** @returns the object, if the answer is one */
export function bodyIn(answer: StatusText): Record<string, unknown> | null {
  const parsed = parseBody(answer.ok ? answer.text : '')
  return parsed.ok ? parsed.body : null
}

/** Why there is no object: from the read, or from the parse. */
function failureOf(answer: StatusText): Failed | null {
  if (!answer.ok) return answer
  const parsed = parseBody(answer.text)
  return parsed.ok ? null : { code: parsed.code, facts: { detail: parsed.detail } }
}

/** One finding for each demand: what comes after the one that failed could not be told. */
export function aboutText(answer: StatusText, tookMs: number): Finding[] {
  const failed = failureOf(answer)
  const at = failed ? DEMANDS.findIndex(({ codes }) => codes.includes(failed.code)) : DEMANDS.length
  return DEMANDS.map(({ rule, what }, index) => {
    if (failed && index === at) return refused(rule, failed)
    if (index > at) return untold(rule, `${what}: could not be told.`)
    return holds(rule, `${what}${rule === 'status_time' ? ` (${tookMs} ms)` : ''}.`)
  })
}

/** In the words of the gate, which would refuse with them; nothing is known of a release here. */
function refused(rule: string, { code, facts }: Failed): Finding {
  const { sentence, hint = '' } = reason(code, { ...facts, url: '/schema/status', release: 'the app' })
  return broken(rule, plain(sentence), plain(hint), code)
}

const plain = (text: string): string =>
  text.replace(/^Release the app/, 'The app').replace(/ of release the app/, '')
