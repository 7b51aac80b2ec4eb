// The advice before a migration, drawn: a ruler of schema versions, what each release works with as a bar, where the
// schema is as a line, and up to where there would be a way back.
import type { Range } from '../../contract.ts'
import type { AdviceVerdict, ReleaseAdvice } from '../../gate/advice.ts'
import { contains } from '../../gate/ranges.ts'
import type { AdviceResult } from '../../switch/types.ts'
import { columns, type Style, tame } from '../style.ts'

const WIDTH = 100
/** What stands left and right of the ruler besides release names and ranges. */
const AROUND = 32
const LONGEST_NAME = 20
/** Older ones are counted; the sentence names what matters. */
const PREVIOUS_SHOWN = 5

const HEADLINES: Record<AdviceVerdict, (style: Style, result: AdviceResult) => string> = {
  two_way_door: ({ green }, { to }) => `${green('✓')} a migration to ${to} keeps a way back`,
  no_rollback_target: ({ green }, { to }) =>
    `${green('✓')} a migration to ${to} closes nothing: there is no way back to close`,
  one_way_door: ({ yellow }, { to }) => `${yellow('!')} a migration to ${to} would close the way back`,
  breaks_live: ({ red }, { to, live }) =>
    `${red('✗')} a migration to ${to} would break ${tame(live ?? '')}, which serves`,
}

/** A row of the ruler: at which versions it has a bar. */
type Has = (version: number) => boolean

const hasRange =
  (range: Range | null): Has =>
  (version) =>
    range !== null && contains(range, version)

/** Whether, at a version, live and an earlier release would both work. */
function doorAt({ from, per_release: all }: AdviceResult): Has {
  const works = (version: number, role: ReleaseAdvice['role']) =>
    all.some((one) => one.role === role && hasRange(one.range)(version))
  return (version) => from !== null && version >= from && works(version, 'live') && works(version, 'previous')
}

/** The versions that deserve a mark, in order, as many as there is room for; what matters most finds room first. */
function marksOf(
  { from, to, highest_two_way, per_release }: AdviceResult,
  room: (labelWidth: number) => number,
): number[] {
  const ends = per_release.flatMap(({ range }) => (range ? [range.min, range.max] : []))
  const wanted = [to, from, highest_two_way, ...ends].filter((version) => version !== null)
  const label = Math.max(...wanted.map((version) => String(version).length))
  return [...new Set(wanted)].slice(0, room(label)).sort((a, b) => a - b)
}

interface Ruler {
  marks: readonly number[]
  /** Characters from one mark to the next. */
  step: number
}

function rulerFor(result: AdviceResult): Ruler {
  const names = Math.max(...result.per_release.map(({ release }) => Math.min(release.length, LONGEST_NAME)))
  const left = (label: number) => WIDTH - AROUND - names - 2 * label
  const marks = marksOf(result, (label) => Math.max(2, Math.floor(left(label) / (label + GAP))))
  return { marks, step: Math.max(...marks.map((mark) => String(mark).length)) + GAP }
}

/** Room for ` … ` where versions are left out between two marks. */
const GAP = 3

const labels = ({ marks, step }: Ruler): string =>
  marks
    .map((mark, n) => {
      const isLeap = (marks[n + 1] ?? mark + 1) > mark + 1
      return isLeap ? `${`${mark} …`.padEnd(step)}` : String(mark).padEnd(step)
    })
    .join('')

/** The line under the ruler: where the schema is, and where it would go. */
const pointers = ({ marks, step }: Ruler, { from, to }: AdviceResult): string =>
  marks.map((mark) => (mark === from ? 'now' : mark === to ? 'to' : '').padEnd(step)).join('')

/** @param isKnown false: nobody knows where this row has its bar */
function bar(
  { marks, step }: Ruler,
  { from, to }: AdviceResult,
  has: Has,
  style: Style,
  isKnown = true,
): string {
  const sign = (mark: number): string => {
    if (mark === to) return isKnown ? (has(mark) ? style.green('✓') : style.red('✗')) : style.yellow('?')
    if (mark === from) return has(mark) ? '┿' : '│'
    return has(mark) ? '━' : ' '
  }
  return marks
    .map((mark, n) => {
      const next = marks[n + 1]
      const joins = next !== undefined && has(mark) && has(next)
      return sign(mark) + (joins ? '━' : ' ').repeat(step - 1)
    })
    .join('')
}

/** What becomes of a release, in a few words. */
function change({ range, fits_now: now, fits_then: then }: ReleaseAdvice, style: Style): string {
  if (range === null) return style.yellow('never declared its range')
  const words = {
    'true false': style.red('stops fitting'),
    'false true': style.green('begins to fit'),
    'false false': 'fits neither',
  }
  const text = words[`${now} ${then}` as keyof typeof words] ?? ''
  return `[${range.min}–${range.max}]${text && ` ${text}`}`
}

const shorten = (name: string): string =>
  name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name

function releaseRow(ruler: Ruler, result: AdviceResult, one: ReleaseAdvice, style: Style): string[] {
  const sign = { live: style.green('●'), staged: '○', previous: ' ' }[one.role]
  return [
    `  ${sign} ${one.role}`,
    style.bold(tame(shorten(one.release))),
    bar(ruler, result, hasRange(one.range), style, one.range !== null),
    change(one, style),
  ]
}

function doorRow(ruler: Ruler, result: AdviceResult, style: Style): string[] {
  const { highest_two_way: highest, verdict } = result
  const words = highest === null ? (verdict === null ? 'not known' : 'closed') : `a way back up to ${highest}`
  return ['    door', '', bar(ruler, result, doorAt(result), style, verdict !== null), words]
}

function drawing(result: AdviceResult, style: Style): string[] {
  const { per_release: all } = result
  if (all.length === 0) return []
  const ruler = rulerFor(result)
  const previous = all.filter(({ role }) => role === 'previous')
  const shown = [...all.filter(({ role }) => role !== 'previous'), ...previous.slice(0, PREVIOUS_SHOWN)]
  const hidden = previous.length - PREVIOUS_SHOWN
  return [
    '',
    ...columns([
      ['', '', style.dim(labels(ruler))],
      ...shown.map((one) => releaseRow(ruler, result, one, style)),
      ...(hidden > 0 ? [['', style.dim(`and ${hidden} more`)]] : []),
      ...(previous.length > 0 ? [doorRow(ruler, result, style)] : []),
      ['', '', style.dim(pointers(ruler, result))],
    ]),
  ]
}

/** A hint that the advice itself gives already is not repeated. */
const notes = ({ warnings, hint, operation }: AdviceResult, style: Style): string[] => [
  ...warnings.flatMap((warning) => [
    `  ${style.yellow(`! ${tame(warning.sentence)}`)}`,
    ...(warning.hint && warning.hint !== hint ? [`    ${tame(warning.hint)}`] : []),
  ]),
  ...(operation ? [style.yellow(`  A ${operation.operation} is in progress; wait for it to end.`)] : []),
]

/** @returns a headline, the sentence and what would help, and the drawing, within about 100 columns */
export function printAdvice(result: AdviceResult, style: Style): string {
  const { service, to, verdict, sentence, hint } = result
  const headline = verdict
    ? `${HEADLINES[verdict](style, result)} ${style.dim(`(${verdict})`)}`
    : `${style.yellow('?')} what a migration to ${to} would break is not known`
  return [
    headline.replace(' ', ` ${service}: `),
    `  ${tame(sentence)}`,
    ...(hint ? [`  ${tame(hint)}`] : []),
    ...drawing(result, style),
    ...notes(result, style),
  ].join('\n')
}
