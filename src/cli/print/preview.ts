// Prints a link to what is in the idle slot, and the end of all such links.
import type { PreviewResult, PreviewsEndResult } from '../../switch/types.ts'
import type { Style } from '../style.ts'
import { clock } from './status.ts'

/** The link has a line of its own, to be taken as a whole. */
export function printPreview({ service, release, link, until }: PreviewResult, style: Style): string {
  const what = release ?? 'what is staged then (nothing yet)'
  const who = `${style.green('✓')} ${service}: whoever opens this link sees ${what} until ${clock(until)}`
  return [who, link, 'End it, and all others: slotgate preview --end'].join('\n')
}

export const printPreviewsEnd = ({ service }: PreviewsEndResult, style: Style): string =>
  `${style.green('✓')} ${service}: no link to a preview is good any more`
