// `slotgate verify-app`: asks an app's internal port what of the contract holds. It needs no slotgate that runs.
import { Complaint } from '../../config/kinds.ts'
import { judgeInternalAddress, judgePublicAddress } from '../../config/scalars.ts'
import type { Address } from '../../config/types.ts'
import { urlOf } from '../../slots/ask.ts'
import { checkAccepts } from '../../slots/health.ts'
import { answer, type Call, EXIT, Failure, setting } from '../call.ts'
import { printVerify } from '../print/verify.ts'
import { styleFor } from '../style.ts'
import { verifyApp } from '../verify/verify.ts'
import type { Command } from './command.ts'

const CONNECT_WITHIN_MS = 3_000

export const verify: Command = {
  operands: ['URL'],
  flags: ['public'],
  about: "ask an app's internal port what of the contract holds; a Unix socket is unix:PATH",
  async run(call) {
    const [given = ''] = call.operands
    const internal = addressOf(given, judgeInternalAddress(given, { file: 'here' }), 'The internal address')
    const publicAddress = publicOf(call)
    const problem = await checkAccepts(internal, CONNECT_WITHIN_MS)
    if (problem) throw unreachable(internal, problem)
    const findings = await verifyApp(internal, publicAddress)
    const holds = findings.every((each) => each.holds !== false)
    const body = {
      internal: urlOf(internal),
      ...(publicAddress && { public: urlOf(publicAddress) }),
      holds,
      findings,
    }
    answer(call, body, () => printVerify(internal, findings, styleFor(call.stdout, call.env)))
    return holds ? EXIT.done : EXIT.failed
  },
}

function publicOf(call: Call): Address | undefined {
  const given = setting(call, 'public')
  return given === undefined ? undefined : addressOf(given, judgePublicAddress(given), '--public')
}

function addressOf(given: string, judged: Address | Complaint, what: string): Address {
  if (!(judged instanceof Complaint)) return judged
  throw new Failure(EXIT.usage, `${what} ${judged.sentence}; got ${given}.`, judged.hint ? [judged.hint] : [])
}

const unreachable = (address: Address, problem: string): Failure =>
  new Failure(EXIT.unreachable, `Nothing answers at ${urlOf(address)}: ${problem}.`, [
    'See whether the app runs, and that this is its internal port: INTERNAL_PORT where slotgate booted it.',
  ])
