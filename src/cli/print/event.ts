// One event as a line: a record as the history has it, a step, or what a release writes.
import type { FeedEvent, GapEvent, StepEvent } from '../../switch/types.ts'
import { type Style, tame } from '../style.ts'
import { printRecord, timeOf } from './history.ts'

/** @returns null for what is of no interest to a person. Times are UTC. */
export function printEvent(event: FeedEvent, style: Style): string | null {
  if (event.kind === 'record') return printRecord(event.record, style)
  if (event.kind === 'step') return stepText(event, style)
  if (event.kind === 'gap') return style.yellow(gapText(event))
  if (event.kind === 'live' || event.kind === 'traffic') return null
  const { time, service, slot, release, line } = event
  return style.dim(`${timeOf(time)}  ${service}  ${slot}  ${release} │ ${tame(line)}`)
}

function stepText({ time, service, operation: view, state, code }: StepEvent, style: Style): string {
  const { operation, release, actor, step } = view
  const what = [service, operation, release ?? ''].filter(Boolean).join('  ')
  const where = { 'under way': `… ${step}`, done: style.green('✓'), failed: style.red(`✗ ${code}`) }[state]
  return `${timeOf(time)}  ${what}  ${where}  by ${actor}`
}

const gapText = ({ after, next }: GapEvent): string =>
  after < next
    ? `What followed #${after}, up to #${next - 1}, is not in the journal any more.`
    : `There is no #${after} in this journal: it goes on with #${next}.`
