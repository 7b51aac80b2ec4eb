// One of the two places of a service: what runs there, how it is, and what comes over it.
import { el, icon, show, svg } from './dom.js'
import { counted, misfit, msText, rangeText, rateText, short, since } from './words.js'

/** @typedef {import('../src/switch/types.ts').SlotView} SlotView */
/** @typedef {import('../src/switch/types.ts').SlotTraffic} SlotTraffic */
/** @typedef {import('./dom.js').Icon} Icon */

/** A minute. */
const POINTS = 60
const SPARK = { width: 120, height: 28 }

/**
 * @param {import('../src/contract.ts').SlotName} name
 */
export function createSlot(name) {
  const title = el('h3', { class: 'slot-title' })
  const facts = el('div', { class: 'slot-facts' })
  const numbers = el('dl', { class: 'numbers' })
  const line = svg('polyline', { class: 'spark-line', fill: 'none' })
  const spark = svg(
    'svg',
    {
      class: 'spark',
      viewBox: `0 0 ${SPARK.width} ${SPARK.height}`,
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    },
    line,
  )
  const element = el('article', { class: `slot ${name}`, 'data-slot': name }, title, facts, numbers, spark)
  /** @type {number[]} */
  let rates = []
  /** @type {SlotTraffic | null} */
  let traffic = null
  /** @type {SlotView['claims']} */
  let claims = { requests: 0, tunnels: 0 }

  function showNumbers() {
    const isQuiet = traffic === null
    show(
      numbers,
      ...pair('req/s', isQuiet ? '–' : rateText(traffic?.requests_per_s ?? 0)),
      ...pair(
        'err/s',
        isQuiet ? '–' : rateText(traffic?.errors_per_s ?? 0),
        (traffic?.errors_per_s ?? 0) > 0,
      ),
      ...pair('p50', msText(traffic?.p50_ms ?? null)),
      ...pair('p99', msText(traffic?.p99_ms ?? null)),
      ...pair('open', openText(claims)),
    )
  }

  return {
    element,
    /**
     * @param {SlotView} view
     * @param {boolean} isLive
     */
    update(view, isLive) {
      const role = isLive ? 'live' : 'idle'
      if (element.dataset.role && element.dataset.role !== role) element.classList.add('flipped')
      element.dataset.role = role
      element.dataset.state = view.state
      show(
        title,
        el('span', { class: 'badge' }, isLive ? '● live' : '○ idle'),
        el('span', { class: 'slot-name' }, name),
        el(
          'span',
          { class: 'slot-release', title: view.release },
          view.release === null ? 'empty' : short(view.release),
        ),
      )
      show(facts, ...factsOf(view))
      claims = view.claims
      showNumbers()
    },
    /** @param {SlotTraffic} next */
    measure(next) {
      traffic = next
      claims = next.claims
      rates = [...rates.slice(1 - POINTS), next.requests_per_s]
      const most = Math.max(1, ...rates)
      const x = (/** @type {number} */ at) => ((POINTS - rates.length + at) * SPARK.width) / (POINTS - 1)
      const y = (/** @type {number} */ rate) => SPARK.height - 2 - (rate / most) * (SPARK.height - 4)
      line.setAttribute(
        'points',
        rates.map((rate, at) => `${x(at).toFixed(1)},${y(rate).toFixed(1)}`).join(' '),
      )
      showNumbers()
    },
  }
}

/**
 * @param {string} name
 * @param {string} value
 * @param {boolean} [isBad]
 */
const pair = (name, value, isBad = false) => [
  el('div', { class: isBad ? 'number bad' : 'number' }, el('dt', {}, name), el('dd', {}, value)),
]

/** @param {SlotView['claims']} claims */
const openText = ({ requests, tunnels }) =>
  tunnels === 0 ? `${requests}` : `${requests} + ${counted(tunnels, 'tunnel')}`

/** @param {SlotView} view */
function factsOf(view) {
  if (view.release === null) return [el('p', { class: 'quiet' }, 'Nothing is staged here.')]
  const { detail, healthy, schema_problem: problem } = view
  return [
    healthLine(view),
    schemaLine(view),
    previewLine(view),
    detail !== null && !healthy && el('p', { class: 'bad' }, short(detail)),
    problem && el('p', { class: 'bad' }, short(problem.sentence)),
    view.internal_url && el('p', { class: 'quiet internal' }, 'internal ', el('code', {}, view.internal_url)),
  ]
}

/**
 * @param {Icon} sign
 * @param {string} mood
 * @param {string} words
 * @param {string} [more]
 */
const line = (sign, mood, words, more = '') =>
  el(
    'p',
    { class: `fact ${mood}` },
    icon(sign),
    el('span', {}, words),
    more && el('span', { class: 'quiet' }, more),
  )

/** @param {SlotView} view */
function healthLine({ state, healthy, since: bootedAt, restarts, taken_over: takenOver }) {
  const more = [
    bootedAt === null ? '' : `up ${since(bootedAt)}`,
    restarts === 0 ? '' : counted(restarts, 'restart'),
    takenOver ? 'taken over' : '',
  ]
  const said = more.filter(Boolean).join(', ')
  if (state !== 'running')
    return line(state === 'starting' ? 'wait' : 'bad', state === 'starting' ? 'warning' : 'bad', state, said)
  return healthy ? line('ok', 'good', 'healthy', said) : line('bad', 'bad', 'not healthy', said)
}

/** @param {SlotView} view */
const previewLine = ({ previews: { requests, tunnels } }) =>
  requests + tunnels > 0 && line('info', 'plain', `${counted(requests + tunnels, 'preview')} open`)

/** @param {SlotView} view */
function schemaLine({ schema, recorded_range: recorded }) {
  if (schema) {
    const why = misfit(schema)
    const words = `schema ${rangeText(schema)}`
    return why === null ? line('ok', 'good', words, `fits ${schema.current}`) : line('bad', 'bad', words, why)
  }
  return recorded && line('info', 'plain', `schema ${rangeText(recorded)}`, 'as declared earlier')
}
