// The commands that only look: `status`, `check`, `advice` and `history`.
import type { AdviceVerdict } from '../../gate/advice.ts'
import type { JournalRecord } from '../../journal/record.ts'
import type { AdviceResult, CheckResult, ServiceStatus } from '../../switch/types.ts'
import { answer, type Call, EXIT, Failure, readable, setting } from '../call.ts'
import { type AdminClient, serviceOf, withAdmin } from '../client.ts'
import { CLIENT } from '../flags.ts'
import { printAdvice } from '../print/advice.ts'
import { printHistory } from '../print/history.ts'
import { printStatus } from '../print/status.ts'
import { printCheck } from '../print/verdict.ts'
import { narrate } from '../progress.ts'
import { styleFor } from '../style.ts'
import type { Command } from './command.ts'
import { numberOf, pathTo, toOf } from './parts.ts'

const stdoutStyle = (call: Call) => styleFor(call.stdout, call.env)

export const status: Command = {
  operands: [],
  flags: CLIENT,
  about: 'show what is live, what is idle, and how both fit the schema',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const found = await statusesOf(call, admin)
      const [only, ...others] = Object.values(found)
      const isOne = only !== undefined && others.length === 0
      answer(call, isOne ? only : { services: found }, () =>
        Object.values(found)
          .map((each) => printStatus(readable(each), stdoutStyle(call)))
          .join('\n\n'),
      )
      return EXIT.done
    }),
}

async function statusesOf(call: Call, admin: AdminClient): Promise<Record<string, ServiceStatus>> {
  const named = setting(call, 'service', 'SLOTGATE_SERVICE')
  if (named !== undefined) return { [named]: await admin.status(named) }
  const { services } = await admin.get<{ services: Record<string, ServiceStatus> }>('/v1/services')
  return services
}

export const check: Command = {
  operands: ['promote|rollback'],
  flags: [...CLIENT, 'to'],
  about: 'ask the gate without switching; a rollback check boots the release to ask it',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const [operation] = call.operands
      if (operation === 'promote' && setting(call, 'to') !== undefined) {
        throw new Failure(EXIT.usage, 'A promotion takes what is staged; --to is for a rollback.')
      }
      const service = await serviceOf(call, admin)
      const body = { operation, ...toOf(call) }
      const result = await narrate(call, admin, { service, operation: 'check' }, () =>
        admin.post<CheckResult>(pathTo(service, 'check'), { body }),
      )
      answer(call, result, (body) => printCheck(body, stdoutStyle(call)))
      return result.allowed ? EXIT.done : EXIT.refused
    }),
}

/** What the kit's `/migrations/run` does without being told that the consequence is accepted. */
const IS_HARMLESS: Record<AdviceVerdict, boolean> = {
  two_way_door: true,
  no_rollback_target: true,
  one_way_door: false,
  breaks_live: false,
}

export const advice: Command = {
  operands: [],
  flags: [...CLIENT, 'to'],
  about: 'say what a migration of the database would break, and whether there would be a way back',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const to = numberOf(call, 'to')
      if (to === undefined) throw new Failure(EXIT.usage, 'Say which schema version: slotgate advice --to N.')
      const service = await serviceOf(call, admin)
      const result = await admin.get<AdviceResult>(`${pathTo(service, 'advice')}?to=${to}`)
      answer(call, result, (body) => printAdvice(body, stdoutStyle(call)))
      return result.verdict !== null && IS_HARMLESS[result.verdict] ? EXIT.done : EXIT.refused
    }),
}

const HISTORY_LIMIT = 20

export const history: Command = {
  operands: [],
  flags: [...CLIENT, 'limit', 'before'],
  about: 'show what happened, from the journal, the newest last',
  run: (call) =>
    withAdmin(call, async (admin) => {
      const service = setting(call, 'service', 'SLOTGATE_SERVICE')
      const before = numberOf(call, 'before')
      const query = new URLSearchParams({
        limit: String(numberOf(call, 'limit') ?? HISTORY_LIMIT),
        ...(before !== undefined && { before: String(before) }),
        ...(service !== undefined && { service }),
      })
      const result = await admin.get<{ records: JournalRecord[] }>(`/v1/history?${query}`)
      answer(call, result, ({ records }) => printHistory(records, stdoutStyle(call)))
      return EXIT.done
    }),
}
