// The commands that change what runs: `stage`, `promote`, `rollback` and `deploy`.
import type { Operation, StageResult, SwitchResult } from '../../switch/types.ts'
import { answer, type Call, EXIT, Failure, setting } from '../call.ts'
import { type AdminClient, type Sending, serviceOf, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { printStage, printSwitch } from '../print/verdict.ts'
import { narrate, waitDrained } from '../progress.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'
import { numberOf, pathTo, toOf } from './parts.ts'

/** Sends one acting call for the service that the command line means. */
async function act<T>(
  call: Call,
  admin: AdminClient,
  action: Exclude<Operation, 'first' | 'check'>,
  body: object,
): Promise<{ service: string; result: T }> {
  const ifGeneration = numberOf(call, 'if-generation')
  const sending: Sending = { body, ...(ifGeneration !== undefined && { ifGeneration }) }
  const service = await serviceOf(call, admin)
  const result = await narrate(call, admin, { service, operation: action }, () =>
    admin.post<T>(pathTo(service, action), sending),
  )
  return { service, result }
}

export const stage: Command = {
  operands: ['RELEASE'],
  flags: [...CLIENT, 'if-generation'],
  about: 'boot a release in the idle slot; nobody is routed to it',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const [release] = call.operands
      const { result } = await act<StageResult>(call, admin, 'stage', { release })
      answer(call, result, (body) => printStage(body, styleFor(call.stdout, call.env)))
      return EXIT.done
    }),
}

/** A command that moves the pointer. */
const switching = (
  action: 'promote' | 'rollback' | 'deploy',
  command: Pick<Command, 'operands' | 'flags' | 'about'>,
  bodyOf: (call: Call) => object,
): Command => ({
  ...command,
  flags: [...CLIENT, ...command.flags, 'if-generation', 'wait'],
  run: (call) =>
    withAdmin(call, async (admin) => {
      const waits = waitsForDrain(call)
      const { service, result } = await act<SwitchResult>(call, admin, action, bodyOf(call))
      if (waits) await waitDrained(call, admin, service, result.generation)
      answer(call, result, (body) => printSwitch(body, styleFor(call.stdout, call.env)))
      return EXIT.done
    }),
})

function waitsForDrain(call: Call): boolean {
  const wait = setting(call, 'wait')
  if (wait === undefined || wait === 'drained') return wait === 'drained'
  throw new Failure(EXIT.usage, `--wait takes drained, not ${wait}.`)
}

export const promote = switching(
  'promote',
  { operands: [], flags: [], about: 'ask the gate about the idle release, then make it live' },
  () => ({}),
)

export const rollback = switching(
  'rollback',
  { operands: [], flags: ['to'], about: 'ask the gate about an earlier release, then go back to it' },
  toOf,
)

export const deploy = switching(
  'deploy',
  { operands: ['RELEASE'], flags: [], about: 'stage, then promote' },
  ({ operands: [release] }) => ({ release }),
)
