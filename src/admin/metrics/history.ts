// What is counted of what happens: verdicts, alarms, operations, flips and drains, from the feed. Since slotgate runs.
import type { Code } from '../../errors.ts'
import type { JournalRecord } from '../../journal/record.ts'
import type { FeedEvent, StepEvent } from '../../switch/types.ts'
import { Counts, Durations } from './series.ts'

const CLAIM_KINDS = ['requests', 'tunnels']

/** What somebody should look at: the codes of an `alarm`, and events of their own. */
export const ALARMS: readonly Code[] = [
  'bake_failed',
  'bake_not_undone',
  'former_release_gone',
  'no_release_fits',
  'schema_changed_by_rehearsal',
  'schema_changed_during_switch',
  'schema_live_incompatible',
  'schema_version_regressed',
]

const msBetween = (from: string, to: string): number => Math.max(0, Date.parse(to) - Date.parse(from))

export class History {
  readonly verdicts = new Counts()
  readonly alarms = new Counts()
  /** What drains had to cut. */
  readonly cut = new Counts()
  readonly operations = new Durations()
  readonly flips = new Durations()
  readonly drains = new Durations()
  /** By service, when its pointer moved last, in milliseconds since the epoch. */
  readonly lastFlips = new Map<string, number>()
  /** By service, when its pointer was about to move. */
  readonly #begun = new Map<string, string>()

  /**
   * @param lastFlips by service, the ISO time of the last one, or null. Each service begins with no alarm and nothing cut: a
   *   counter that was not there has not grown
   */
  constructor(lastFlips: ReadonlyMap<string, string | null>) {
    for (const [service, time] of lastFlips) {
      if (time) this.lastFlips.set(service, Date.parse(time))
      for (const code of ALARMS) this.alarms.add({ service, code }, 0)
      for (const kind of CLAIM_KINDS) this.cut.add({ service, kind }, 0)
    }
  }

  take(event: FeedEvent): void {
    if (event.kind === 'record') this.#takeRecord(event.record)
    if (event.kind === 'step') this.#takeStep(event)
  }

  #takeRecord(record: JournalRecord): void {
    const { event, service = '', operation } = record
    if (event === 'flipped' || event === 'refused' || event === 'asked')
      this.verdicts.add({ service, operation: String(operation), code: codeOf(record) })
    if (event === 'flipped') this.lastFlips.set(service, Date.parse(record.time))
    if (event === 'alarm') this.alarms.add({ service, code: String(record.code) })
    else if (isAlarm(event)) this.alarms.add({ service, code: event })
    if (event === 'drained') this.#takeDrain(service, record)
  }

  #takeDrain(service: string, { took_ms, cut }: JournalRecord): void {
    this.drains.add({ service }, Number(took_ms))
    for (const [kind, count] of Object.entries((cut ?? {}) as Record<string, number>))
      this.cut.add({ service, kind }, count)
  }

  #takeStep({ time, service, operation, state }: StepEvent): void {
    if (state === 'under way') {
      if (operation.step === 'writing the journal') this.#begun.set(service, time)
      const since = this.#begun.get(service)
      if (operation.step === 'confirming' && since !== undefined)
        this.flips.add({ service }, msBetween(since, time))
    } else {
      this.#begun.delete(service)
      const labels = { service, operation: operation.operation, state }
      this.operations.add(labels, msBetween(operation.since, time))
    }
  }
}

const isAlarm = (event: string): boolean => ALARMS.some((code) => code === event)

/** What the gate said: an operation that was not refused was allowed. */
function codeOf({ event, allowed, code }: JournalRecord): string {
  if (event === 'flipped' || allowed === true) return 'allowed'
  return typeof code === 'string' ? code : 'unknown'
}
