// The commands that change what runs, `stage`, `promote`, `rollback` and `deploy`, and those that hold traffic: `pause` and
// `resume`.
import type { Operation, PauseResult, StageResult, SwitchResult } from '../../switch/types.ts'
import { answer, type Call, EXIT, Failure, setting } from '../call.ts'
import { type AdminClient, serviceOf, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { printPause } from '../print/status.ts'
import { printStage, printSwitch } from '../print/verdict.ts'
import { narrate, waitDrained } from '../progress.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'
import { conditionOf, forOf, pathTo, toOf } from './parts.ts'

async function post<T>(
  call: Call,
  admin: AdminClient,
  service: string,
  action: string,
  body: object,
): Promise<T> {
  return admin.post<T>(pathTo(service, action), { body, ...conditionOf(call) })
}

/** Carries one operation out for the service that the command line means, and tells its steps. */
async function act<T>(
  call: Call,
  admin: AdminClient,
  action: Exclude<Operation, 'first' | 'check'>,
  body: object,
): Promise<{ service: string; result: T }> {
  const service = await serviceOf(call, admin)
  const result = await narrate(call, admin, { service, operation: action }, () =>
    post<T>(call, admin, service, action, body),
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
  flags: [...CLIENT, ...command.flags, 'exclusive', 'if-generation', 'wait'],
  run: (call) =>
    withAdmin(call, async (admin) => {
      const waits = waitsForDrain(call)
      const wanted = { ...bodyOf(call), ...(call.flags.exclusive === true && { exclusive: true }) }
      const { service, result } = await act<SwitchResult>(call, admin, action, wanted)
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

/** A command that holds traffic, or lets it go. */
const holding = (
  action: 'pause' | 'resume',
  command: Pick<Command, 'flags' | 'about'>,
  bodyOf: (call: Call) => object,
): Command => ({
  ...command,
  operands: [],
  flags: [...CLIENT, ...command.flags, 'if-generation'],
  run: (call) =>
    withAdmin(call, async (admin) => {
      const wanted = bodyOf(call)
      const service = await serviceOf(call, admin)
      const result = await post<PauseResult>(call, admin, service, action, wanted)
      answer(call, result, (body) => printPause(body, styleFor(call.stdout, call.env)))
      return EXIT.done
    }),
})

export const pause = holding('pause', { flags: ['for'], about: 'let new requests wait' }, forOf)

export const resume = holding(
  'resume',
  { flags: [], about: 'let requests go on, those that wait first' },
  () => ({}),
)
