// What a status says: each field and its type, whether the fields agree with each other, and whether a second read says the same.
import { isDeepStrictEqual } from 'node:util'
import { nearest } from '../../config/nearest.ts'
import {
  type FieldReading,
  parseStatus,
  rangeOf,
  readFields,
  type SchemaStatus,
  statusOf,
} from '../../contract.ts'
import type { StatusText } from '../../gate/read.ts'
import { broken, type Finding, holds, untold } from './finding.ts'

type Body = Record<string, unknown>

export function aboutBody(body: Body): Finding[] {
  const fields = readFields(body)
  const parsed = statusOf(body)
  return [
    ...fields.filter(({ given, required }) => given || required).map(aboutField),
    ...aboutAbsent(fields),
    ...aboutUnknown(body, fields),
    ...(parsed.ok ? [aboutRange(parsed.status), aboutCompatible(parsed.status)] : [UNJUDGED]),
  ]
}

const UNJUDGED = untold('compatible_agrees', 'Whether `compatible` agrees with the range could not be told.')

function aboutField({ field, fits, given, expected, got }: FieldReading): Finding {
  if (fits) return holds(field, `${field} is ${got}.`)
  const sentence = given ? `${field} is ${got}, not ${expected}.` : `${field} is not there.`
  return broken(field, sentence, `Send ${field} as ${expected}.`, 'schema_status_malformed')
}

/** Without the list of pending migrations every answer of the gate warns; the other absent fields cost a check each. */
function aboutAbsent(fields: readonly FieldReading[]): Finding[] {
  const absent = fields.filter(({ given, required }) => !given && !required).map(({ field }) => field)
  const others = absent.filter((field) => field !== 'pending_migrations')
  return [
    ...(absent.length > others.length ? [NO_PENDING] : []),
    ...(others.length > 0 ? [untold('optional', `Not given, and optional: ${others.join(', ')}.`)] : []),
  ]
}

const NO_PENDING = untold(
  'pending_migrations',
  'pending_migrations is not there: nobody can tell what has not run.',
  'Send the names of the migrations that the release ships and that have not run; [] for none.',
  'pending_unknown',
)

function aboutUnknown(body: Body, fields: readonly FieldReading[]): Finding[] {
  const known: string[] = fields.map(({ field }) => field)
  const unknown = Object.keys(body).filter((name) => !known.includes(name))
  if (unknown.length === 0) return []
  const guesses = unknown.flatMap((name) => {
    const guess = nearest(
      name,
      known.filter((field) => !Object.hasOwn(body, field)),
    )
    return guess ? [`${name} as ${guess}`] : []
  })
  const sentence = `Unknown fields, which are ignored: ${unknown.join(', ')}.`
  if (guesses.length === 0) return [holds('unknown_fields', sentence)]
  return [untold('unknown_fields', sentence, `Were they meant to be known? ${guesses.join(', ')}.`)]
}

function aboutRange(status: SchemaStatus): Finding {
  const { min, max } = rangeOf(status)
  return min <= max
    ? holds('range', `The range is ${min} to ${max}.`)
    : broken(
        'range',
        `The minimum ${min} is above the maximum ${max}.`,
        'Mend the range that the code declares.',
        'schema_range_invalid',
      )
}

/** `compatible` must be false outside the range, and may be false inside for a reason that is given. */
function aboutCompatible(status: SchemaStatus): Finding {
  const { compatible, current_schema_version: current } = status
  const { min, max } = rangeOf(status)
  const isInside = min <= current && current <= max
  const place = `${current} is ${isInside ? 'in' : 'outside of'} the range ${min} to ${max}`
  if (isInside === compatible) return holds('compatible_agrees', `${place}, and compatible is ${compatible}.`)
  if (compatible) {
    return broken(
      'compatible_agrees',
      `${place}, and compatible is true all the same.`,
      'Compute it from the three numbers; it must be false outside the range.',
      'schema_status_contradictory',
    )
  }
  const isExplained = (status.problems ?? []).length > 0 || status.dirty || status.migration_running
  return isExplained
    ? holds('compatible_agrees', `${place}, and compatible is false for a reason that is given.`)
    : broken(
        'compatible_agrees',
        `${place}, and compatible is false without a reason.`,
        'Say why in `problems`.',
        'schema_declared_incompatible',
      )
}

/** The first read was asked as `idle`, the second as `rehearsal`. */
export function aboutSecondRead(first: StatusText, second: StatusText): Finding {
  const one = statusIn(first)
  if (!one) return untold('read_twice', 'Whether a second read says the same could not be told.')
  const other = statusIn(second)
  if (!other) {
    return broken(
      'read_twice',
      'The first read, as idle, was answered; the second, as rehearsal, was not.',
      'Answer whatever slotgate-role says, and as often as it is asked.',
    )
  }
  const changed = differences(one, other)
  if (changed.length === 0)
    return holds('read_twice', 'Asked twice, as idle and as rehearsal, it said the same.')
  const sentence = `Asked twice, as idle and as rehearsal, it changed: ${changed.join('; ')}.`
  return one.migration_running || other.migration_running
    ? untold('read_twice', sentence, 'A migration is running; ask again when it has ended.')
    : broken('read_twice', sentence, 'A read must change nothing. If a migration ended just now, ask again.')
}

function statusIn(answer: StatusText): SchemaStatus | null {
  const parsed = parseStatus(answer.ok ? answer.text : '')
  return parsed.ok ? parsed.status : null
}

function differences(one: SchemaStatus, other: SchemaStatus): string[] {
  const changed = readFields({ ...one, ...other }).filter(
    ({ field }) => !isDeepStrictEqual(one[field], other[field]),
  )
  return changed.map(({ field }) => `${field} was ${shown(one[field])}, then ${shown(other[field])}`)
}

const shown = (value: unknown): string =>
  value === undefined ? 'not there' : JSON.stringify(value).slice(0, 60)
