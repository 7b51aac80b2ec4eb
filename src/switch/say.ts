// What slotgate says by itself: in the log and in the journal, in the words of the one table.
import { type Code, type Facts, reason } from '../errors.ts'
import type { EventName } from '../journal/record.ts'
import type { Service } from './service.ts'
import type { CallContext } from './types.ts'

/** Who acts where nobody asked for it. */
export const SELF: CallContext = { actor: 'slotgate' }

/** An event that has its own sentence in the table. */
export type Notice = EventName & Code

/** @throws SlotgateError `journal_write_failed`; the log has it all the same */
export async function say(
  service: Service,
  level: 'info' | 'warn' | 'error',
  notice: Notice,
  facts: Facts,
): Promise<void> {
  const { name, log, journal } = service
  const { code, ...said } = reason(notice, facts)
  log[level]({ service: name, ...facts, code }, said.sentence)
  await journal.append({ ...said, ...whose(service), event: notice })
}

/** Something has to be looked at. @throws as `say` */
export async function raise(service: Service, code: Code, facts: Facts): Promise<void> {
  const { name, log, journal } = service
  const alarm = reason(code, facts)
  log.error({ service: name, ...facts, code }, alarm.sentence)
  await journal.append({ ...alarm, ...whose(service), event: 'alarm' })
}

const whose = ({ name, table, index }: Service) => ({
  service: name,
  generation: table.pointer(index).generation,
  ...SELF,
})
