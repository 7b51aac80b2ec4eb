// `slotgate verify-app`: asks an app's internal port what of the contract holds. It needs no slotgate that runs.
import { judgeInternalAddress, judgePublicAddress } from '../../config/addresses.ts'
import { Complaint } from '../../config/complaint.ts'
import type { Address } from '../../config/types.ts'
import { answer, type Call, EXIT, Failure, setting } from '../call.ts'
import { printVerify } from '../print/verify.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'

/** The path of a socket starts from the folder of a config; here there is none. */
const WORKING_FOLDER = { file: '.' }

export const verify: Command = {
  operands: ['URL'],
  flags: ['public'],
  about: "ask an app's internal port what of the contract holds; a Unix socket is unix:PATH",
  async run(call) {
    const [given = ''] = call.operands
    const internal = addressOf(given, judgeInternalAddress(given, WORKING_FOLDER), 'The internal address')
    const publicAddress = publicOf(call)
    // The HTTP client takes longer to load than all else; the other commands start without it.
    const { verifyApp } = await import('../verify/verify.ts')
    const verification = await verifyApp(internal, publicAddress)
    answer(call, verification, () => printVerify(verification, styleFor(call.stdout, call.env)))
    return verification.holds ? EXIT.done : EXIT.failed
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
