// Runs the differential: the vectors, which are failures of before, and random cases from a seed. In the test's process.
import { equal } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc, { type RunDetails } from 'fast-check'
import { type RequestsCase, type ResponseCase, requestsCase, responseCase } from './cases.ts'
import type { Judge } from './judge.ts'

export type Kind = 'requests' | 'response'

/** A case that failed once, or that shows a difference which is meant. */
export type Vector = { name: string; refusal: string } & (
  | ({ kind: 'requests' } & RequestsCase)
  | ({ kind: 'response' } & ResponseCase)
)

const FILE = join(import.meta.dirname, '..', '..', 'relay', 'differential-vectors.json')

/** They are in the order in which they were found. */
export const VECTORS: readonly Vector[] = JSON.parse(readFileSync(FILE, 'utf8'))

/** @throws AssertionError if it fails again, or is refused for another reason */
export async function replay(judge: Judge, { name, refusal, ...vector }: Vector): Promise<void> {
  const got =
    vector.kind === 'requests' ? await judge.judgeRequests(vector) : await judge.judgeResponse(vector)
  equal(got, refusal, name)
}

export interface Draw {
  kind: Kind
  cases: number
  seed: number
}

/** @returns what there is to say of the first case that fails, made as small as it gets; undefined if none does */
export async function runCases(judge: Judge, { kind, cases, seed }: Draw): Promise<string | undefined> {
  const settings = { numRuns: cases, seed }
  if (kind === 'requests') {
    const property = fc.asyncProperty(requestsCase, async (drawn) => void (await judge.judgeRequests(drawn)))
    return failureOf(kind, await fc.check(property, settings))
  }
  const property = fc.asyncProperty(responseCase, async (drawn) => void (await judge.judgeResponse(drawn)))
  return failureOf(kind, await fc.check(property, settings))
}

function failureOf<Case>(kind: Kind, details: RunDetails<[Case]>): string | undefined {
  const { failed, counterexample, errorInstance, seed, counterexamplePath } = details
  if (!failed) return undefined
  const vector = JSON.stringify({ kind, ...counterexample?.[0] })
  const thrown = errorInstance instanceof Error ? errorInstance.stack : errorInstance
  return `seed ${seed}, path ${counterexamplePath}\n${thrown}\nAs a vector: ${vector}`
}
