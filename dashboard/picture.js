// Draws the version ruler: the axis, a bar for the range of each release, and a line where the schema is.
import { svg } from './dom.js'
import { rangeText, short } from './words.js'

/** @typedef {import('../src/contract.ts').Range} Range */

/**
 * @typedef {object} Row
 * @property {string} release
 * @property {Range | null} range null: it never said one
 * @property {'live' | 'idle' | 'earlier'} role
 * @property {string | null} slot
 * @property {boolean | null} fits now
 */

/**
 * @typedef {object} Scene
 * @property {readonly Row[]} rows
 * @property {readonly number[]} versions those of the axis, in order
 * @property {number | null} now
 * @property {number | null} chosen
 * @property {number} width
 */

const WIDE = 560
const LABELS = 190
const HEAD = 44
const ROW = { wide: 38, narrow: 54 }
const BAR = { height: 24, rx: 5 }
const DIGIT = 8
const LETTERS = 14

/** Where the axis begins, and how wide a version is on it. @param {Pick<Scene, 'versions' | 'width'>} scene */
export function layout({ versions, width }) {
  const isWide = width >= WIDE
  const left = isWide ? LABELS : 0
  return { isWide, left, cell: (width - left) / versions.length, row: isWide ? ROW.wide : ROW.narrow }
}

/** @typedef {ReturnType<typeof layout> & { x: (version: number) => number, middle: (version: number) => number, height: number }} Places */

/**
 * @param {Scene} scene
 * @returns {{ height: number, nodes: SVGElement[] }}
 */
export function draw(scene) {
  const { rows, versions, now, chosen } = scene
  const places = layout(scene)
  const x = (/** @type {number} */ version) => places.left + versions.indexOf(version) * places.cell
  const height = HEAD + rows.length * places.row + 6
  /** @type {Places} */
  const at = { ...places, x, middle: (version) => x(version) + places.cell / 2, height }
  const top = (/** @type {number} */ index) => HEAD + index * places.row
  return {
    height,
    nodes: [
      svg('defs', {}, hatch()),
      ...(chosen === null ? [] : [column(chosen, at)]),
      ...ticks(scene, at),
      ...rows.flatMap((row, index) => barOf(row, top(index), at) ?? []),
      ...(now === null ? [] : nowLine(now, at)),
      ...rows.flatMap((row, index) => wordsOf(row, top(index), at)),
    ],
  }
}

/** For what does not fit: a colour alone says nothing. */
const hatch = () =>
  svg(
    'pattern',
    { id: 'hatch', width: 8, height: 8, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    svg('line', { class: 'hatch', x1: 0, y1: 0, x2: 0, y2: 8 }),
  )

/**
 * What is pointed at.
 *
 * @param {number} version
 * @param {Places} at
 */
const column = (version, { x, cell, height }) =>
  svg('rect', { class: 'column', x: x(version), y: 14, width: cell, height: height - 14 })

/**
 * @param {number} version
 * @param {Places} at
 */
const nowLine = (version, { middle, height }) => [
  svg('line', { class: 'now', x1: middle(version), x2: middle(version), y1: 34, y2: height }),
  svg('text', { class: 'now-label', x: middle(version), y: 11 }, 'schema now'),
]

/**
 * Each version has a tick, and as many of them a number as there is room for.
 *
 * @param {Scene} scene
 * @param {Places} at
 */
function ticks({ versions, now, chosen }, { cell, middle }) {
  const widest = Math.max(...versions.map((version) => `${version}`.length)) * DIGIT + 10
  const every = Math.max(1, Math.ceil(widest / cell))
  const origin = Math.max(0, now === null ? 0 : versions.indexOf(now))
  const pointed = chosen === null ? Number.NEGATIVE_INFINITY : versions.indexOf(chosen)
  return versions.flatMap((version, index) => {
    const distance = Math.abs(index - pointed)
    const hasNumber = distance === 0 || ((index - origin) % every === 0 && distance >= every)
    const x = middle(version)
    const name = version === now ? 'version now' : 'version'
    return [
      svg('line', { class: 'tick', x1: x, x2: x, y1: 34, y2: 40 }),
      ...(hasNumber ? [svg('text', { class: name, x, y: 28 }, `${version}`)] : []),
    ]
  })
}

/** @param {Row} row */
const kindOf = ({ role, slot }) => `row ${role} ${slot ?? ''}`

/**
 * @param {number} y of the row
 * @param {Places} at
 */
const barTop = (y, { isWide }) => (isWide ? y + 7 : y + 21)

/**
 * @param {Row} row
 * @param {number} y
 * @param {Places} at
 */
function barOf(row, y, at) {
  const { range, fits } = row
  const top = barTop(y, at)
  if (!range) {
    const middle = top + BAR.height / 2
    return svg('line', { class: 'bar-unknown', x1: at.left, x2: at.left + 90, y1: middle, y2: middle })
  }
  const from = at.x(range.min) + 2
  const bar = { x: from, y: top, width: Math.max(4, at.x(range.max) + at.cell - 2 - from), ...BAR }
  return svg(
    'g',
    { class: kindOf(row) },
    svg('rect', { class: 'bar', ...bar }),
    fits === false && svg('rect', { fill: 'url(#hatch)', ...bar }),
  )
}

/**
 * @param {Row} row
 * @param {number} y
 * @param {Places} at
 */
function wordsOf(row, y, at) {
  const { release, range, fits } = row
  const top = barTop(y, at)
  const mark = fits === null ? '' : fits ? ' ✓' : ' ✗'
  const words = range
    ? svg(
        'text',
        { class: 'bar-range', x: at.x(range.min) + 11, y: top + 16.5 },
        `${rangeText(range)}${mark}`,
      )
    : svg('text', { class: 'bar-note', x: at.left + 98, y: top + 16.5 }, 'never said')
  const label = svg(
    'text',
    { x: 0, y: at.isWide ? y + 24 : y + 14 },
    svg('tspan', { class: 'row-release' }, clip(short(release))),
    svg('tspan', { class: 'row-role', dx: 7 }, roleText(row)),
  )
  return [svg('g', { class: kindOf(row) }, label, words)]
}

/** Releases may be called anything. @param {string} release */
const clip = (release) => (release.length > LETTERS ? `${release.slice(0, LETTERS - 1)}…` : release)

/** @param {Row} row */
export const roleText = ({ role, slot }) => (role === 'earlier' ? 'earlier' : `${role}, ${slot}`)
