// Whether the public port of an app keeps the paths of the internal one to itself. Only GET is ever sent, and only to paths that read.
import { sameAddress } from '../../config/addresses.ts'
import type { Address } from '../../config/types.ts'
import { parseBody, readFields } from '../../contract.ts'
import { messageOf } from '../../errors.ts'
import { type Answer, ask, type Question, urlOf } from '../../slots/ask.ts'
import { broken, type Finding, holds, untold } from './finding.ts'

const REMEDY = 'Serve it from a second listener; the public one has no such path.'

/** Both questions as they were asked on the internal port. */
export interface Questions {
  health: Question
  status: Question
}

/** @param healthText what the internal port said to the question about health, if it said 200 */
export async function checkPublic(
  address: Address,
  { health, status }: Questions,
  healthText: string | undefined,
): Promise<Finding[]> {
  if (sameAddress(address, health.address)) {
    return [
      broken(
        'public_port',
        `${urlOf(address)} is the internal port itself.`,
        'Listen twice: one port for each.',
      ),
    ]
  }
  const healthToo = (text: string) => text === healthText
  return [
    await checkPath('public_health', { ...health, address }, healthToo),
    await checkPath('public_status', { ...status, address }, isStatus),
  ]
}

/** @param isLeak whether a body that came with 200 is what the internal port says */
async function checkPath(
  rule: string,
  question: Question,
  isLeak: (text: string) => boolean,
): Promise<Finding> {
  const { path } = question
  try {
    const { status, body }: Answer = await ask(question)
    if (status !== 200) return holds(rule, `The public port does not have ${path}: it answered ${status}.`)
    return isLeak(body.toString())
      ? broken(rule, `The public port answers ${path} as the internal one does.`, REMEDY)
      : holds(rule, `The public port answers ${path} with something else than the internal one.`)
  } catch (error) {
    return untold(rule, `The public port could not be asked for ${path}: ${messageOf(error)}.`)
  }
}

/** Whether a text has any field of the contract. */
function isStatus(text: string): boolean {
  const parsed = parseBody(text)
  return parsed.ok && readFields(parsed.body).some(({ given, required }) => given && required)
}
