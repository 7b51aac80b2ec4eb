// `slotgate dev`: runs the app of this folder behind slotgate, and its new code at each change.
import { judgeListenAddress } from '../../config/addresses.ts'
import { Complaint } from '../../config/complaint.ts'
import type { ListenAddress } from '../../config/types.ts'
import { type Call, EXIT, Failure, setting, wantsJson } from '../call.ts'
import type { Command } from './command.ts'

export const dev: Command = {
  operands: [],
  rest: 'COMMAND …',
  flags: ['listen', 'config', 'overlay'],
  about: 'run the app in this folder behind slotgate, and its new code at each change',
  async run(call) {
    const config = setting(call, 'config')
    const command = call.operands
    if (command.length === 0 && config === undefined) {
      throw new Failure(EXIT.usage, 'Say how the app is started: slotgate dev -- COMMAND …', [
        'For example: slotgate dev -- node server.js; or --config FILE, where a config says it.',
      ])
    }
    const listen = listenOf(call)
    const overlay = call.flags.overlay === true
    return call.dev({
      command,
      overlay,
      json: wantsJson(call),
      ...(config && { config }),
      ...(listen && { listen }),
    })
  },
}

function listenOf(call: Call): ListenAddress | undefined {
  const given = setting(call, 'listen')
  if (given === undefined) return undefined
  const judged = judgeListenAddress(given)
  if (!(judged instanceof Complaint)) return judged
  throw new Failure(
    EXIT.usage,
    `--listen ${judged.sentence}; got ${given}.`,
    judged.hint ? [judged.hint] : [],
  )
}
