// Whether `/healthz` says 200, and does so in time.
import { messageOf } from '../../errors.ts'
import { type Answer, ask, type Question } from '../../slots/ask.ts'
import { broken, type Finding, holds } from './finding.ts'

const REMEDY = 'Answer 200 as soon as a request would be served, without waiting for anything else.'

/** @returns the finding, and what was answered where it was 200 */
export async function checkHealth(question: Question): Promise<{ finding: Finding; text?: string }> {
  const { path } = question
  const startedAt = performance.now()
  try {
    const { status, body }: Answer = await ask(question)
    const tookMs = Math.round(performance.now() - startedAt)
    if (status === 200) {
      return { finding: holds('health', `${path} answered 200 in ${tookMs} ms.`), text: body.toString() }
    }
    return { finding: broken('health', `${path} answered ${status}; only 200 is healthy.`, REMEDY) }
  } catch (error) {
    return { finding: broken('health', `${path} could not be asked: ${messageOf(error)}.`, REMEDY) }
  }
}
