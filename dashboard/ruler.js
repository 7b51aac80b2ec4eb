// The version ruler: the schema's axis, where the schema is now, and for each known release the range it works with.
// Whoever points at a version, or walks there with the arrow keys, reads what a migration to it would close.
import { sentenceOf } from './api.js'
import { el, icon, show, svg } from './dom.js'
import { draw, layout, roleText } from './picture.js'
import { ADVICE, declaredText, short } from './words.js'

/** @typedef {import('../src/switch/types.ts').AdviceResult} AdviceResult */
/** @typedef {import('../src/switch/types.ts').ServiceStatus} ServiceStatus */
/** @typedef {import('./picture.js').Row} Row */

/** Beyond that, only the versions where something begins or ends are on the axis: versions may be dates. */
const MOST_VERSIONS = 40
/** Earlier releases. */
const MOST_EARLIER = 6
/** What is pointed at for a shorter time is only passed. */
const PASSES_MS = 80
/** The size of the text that the picture is drawn for; with larger text all of it is larger. */
const DRAWN_FOR_PX = 15

/**
 * @param {(to: number) => Promise<AdviceResult>} ask
 */
export function createRuler(ask) {
  const picture = svg('svg', { class: 'ruler-picture', 'aria-hidden': 'true' })
  const axis = el(
    'div',
    {
      class: 'ruler',
      role: 'slider',
      tabindex: 0,
      'aria-label': 'Schema version to ask advice for',
      onpointermove: (event) => point(/** @type {PointerEvent} */ (event)),
      onpointerdown: (event) => point(/** @type {PointerEvent} */ (event)),
      onpointerleave: () => choose(null),
      onkeydown: (event) => walk(/** @type {KeyboardEvent} */ (event)),
      onfocus: () => choose(chosen ?? now),
      onblur: () => choose(null),
    },
    picture,
  )
  const table = el('ul', { class: 'unseen' })
  const advice = el('div', { class: 'advice' })
  const element = el('div', {}, axis, table, advice)

  /** @type {Row[]} */
  let rows = []
  /** @type {number[]} */
  let versions = []
  /** @type {number | null} */
  let now = null
  /** @type {number | null} */
  let chosen = null
  /** @type {AdviceResult | null} */
  let standing = null
  /** @type {Map<number, Promise<AdviceResult>>} */
  let known = new Map()

  new ResizeObserver(redraw).observe(axis)

  function measure() {
    const scale = Number.parseFloat(getComputedStyle(axis).fontSize) / DRAWN_FOR_PX
    return { scale, width: axis.clientWidth / scale }
  }

  /** @param {PointerEvent} event */
  function point({ clientX }) {
    const { scale, width } = measure()
    const { left, cell } = layout({ versions, width })
    const x = (clientX - axis.getBoundingClientRect().left) / scale
    choose(versions[Math.floor((x - left) / cell)] ?? null)
  }

  /** @param {KeyboardEvent} event */
  function walk(event) {
    const at = versions.indexOf(chosen ?? now ?? versions[0] ?? 0)
    const steps = {
      ArrowLeft: at - 1,
      ArrowDown: at - 1,
      ArrowRight: at + 1,
      ArrowUp: at + 1,
      Home: 0,
      End: versions.length - 1,
    }
    const next = Object.entries(steps).find(([key]) => key === event.key)?.[1]
    if (next === undefined) return
    event.preventDefault()
    choose(versions[Math.max(0, Math.min(versions.length - 1, next))] ?? null)
  }

  /** @param {number | null} version */
  function choose(version) {
    if (version === chosen) return
    chosen = version
    redraw()
    void explain()
  }

  async function explain() {
    const to = chosen
    if (to === null) return show(advice, ...standingWords(standing))
    if (!known.has(to)) await new Promise((resolve) => setTimeout(resolve, PASSES_MS))
    if (chosen !== to) return
    const asked = known.get(to) ?? ask(to)
    known.set(to, asked)
    try {
      const result = await asked
      if (chosen !== to) return
      show(advice, ...adviceWords(result))
      axis.setAttribute('aria-valuetext', `${to}: ${result.sentence}`)
    } catch (error) {
      known.delete(to)
      if (chosen === to) show(advice, el('p', {}, sentenceOf(error)))
    }
  }

  function redraw() {
    if (versions.length === 0 || !axis.isConnected) return
    const { scale, width } = measure()
    const { height, nodes } = draw({ rows, versions, now, chosen, width })
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`)
    picture.setAttribute('height', `${height * scale}`)
    show(picture, ...nodes)
    axis.setAttribute('aria-valuemin', `${versions[0]}`)
    axis.setAttribute('aria-valuemax', `${versions.at(-1)}`)
    axis.setAttribute('aria-valuenow', `${chosen ?? now ?? versions[0]}`)
    if (chosen !== null) return
    axis.setAttribute('aria-valuetext', now === null ? 'not known' : `${now}, where the schema is now`)
  }

  return {
    element,
    /**
     * @param {ServiceStatus} status
     * @param {AdviceResult} current the advice for where the schema is: it names every release that matters
     */
    update(status, current) {
      standing = current
      known = new Map()
      now = status.schema.current ?? current.from
      rows = rowsOf(status, current)
      versions = axisOf(rows, now)
      element.hidden = versions.length === 0
      show(table, ...rows.map((row) => el('li', {}, rowWords(row))))
      redraw()
      void explain()
    },
  }
}

/** @param {Row} row */
const rowWords = (row) => `${row.release} (${roleText(row)}) ${declaredText(row.range, row.fits)}`

/**
 * @param {ServiceStatus} status
 * @param {AdviceResult} advice
 * @returns {Row[]} live first, then idle, then what could be gone back to
 */
function rowsOf({ live, idle }, { per_release: all }) {
  const rows = all.map(({ release, range, fits_now: fits }) => ({
    release,
    range,
    fits,
    ...placeOf(release),
  }))

  /**
   * @param {string} release
   * @returns {Pick<Row, 'role' | 'slot'>}
   */
  function placeOf(release) {
    if (release === live?.release) return { role: 'live', slot: live.slot }
    return release === idle.release ? { role: 'idle', slot: idle.slot } : { role: 'earlier', slot: null }
  }

  return [
    ...rows.filter(({ role }) => role === 'live'),
    ...rows.filter(({ role }) => role === 'idle'),
    ...rows.filter(({ role }) => role === 'earlier').slice(0, MOST_EARLIER),
  ]
}

/**
 * @param {readonly Row[]} rows
 * @param {number | null} now
 * @returns {number[]} the versions of the axis, in order
 */
function axisOf(rows, now) {
  const ranges = rows.flatMap(({ range }) => range ?? [])
  const ends = [...ranges.flatMap(({ min, max }) => [min, max]), ...(now === null ? [] : [now])]
  if (ends.length === 0) return []
  const first = Math.max(0, Math.min(...ends) - 1)
  const last = Math.max(...ends) + 1
  if (last - first < MOST_VERSIONS) return Array.from({ length: last - first + 1 }, (_, at) => first + at)
  return [...new Set([first, ...ends, last])].sort((a, b) => a - b)
}

/** @param {AdviceResult | null} advice */
function standingWords(advice) {
  if (!advice || advice.from === null)
    return [el('p', { class: 'quiet' }, 'Where the schema is, is not known.')]
  const { highest_two_way: highest, from } = advice
  const words =
    highest === null
      ? 'There is nothing to go back to, here or at any later version.'
      : highest === from
        ? `There is a way back at ${from}; any migration would close it.`
        : `A migration up to ${highest} keeps a way back.`
  return [
    el('p', {}, words),
    el(
      'p',
      { class: 'quiet' },
      'Point at a version, or walk there with the arrow keys, to read what a migration to it would do.',
    ),
  ]
}

/** @param {AdviceResult} advice */
function adviceWords({ to, from, verdict, sentence, hint, breaks, opens, warnings }) {
  const { icon: sign, mood, title } = ADVICE[verdict ?? 'unknown']
  return [
    el(
      'p',
      { class: `advice-head ${mood}` },
      icon(sign),
      el('strong', {}, to === from ? `At ${to}, as it is now` : `At ${to}`),
      el('span', { class: 'chip' }, title),
    ),
    el('p', {}, short(sentence)),
    hint && el('p', { class: 'hint' }, short(hint)),
    (breaks.length > 0 || opens.length > 0) &&
      el(
        'p',
        { class: 'quiet' },
        [
          breaks.length > 0 ? `Would stop fitting: ${breaks.map(short).join(', ')}.` : '',
          opens.length > 0 ? `Would begin to fit: ${opens.map(short).join(', ')}.` : '',
        ]
          .filter(Boolean)
          .join(' '),
      ),
    ...warnings.map((warning) => el('p', { class: 'warning' }, short(warning.sentence))),
  ]
}
