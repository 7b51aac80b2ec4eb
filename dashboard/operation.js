// What is being done to a service right now, step by step, with what the release writes meanwhile; and how it ended.
import { el, icon, show } from './dom.js'
import { capital, clock, msText, short } from './words.js'

/** @typedef {import('../src/switch/types.ts').StepEvent} StepEvent */
/** @typedef {import('../src/switch/types.ts').OutputEvent} OutputEvent */

/** The last lines are those that matter. */
const LINES = 200

export function createOperation() {
  const head = el('p', { class: 'operation-head' })
  const steps = el('ol', { class: 'steps' })
  const output = el('pre', { class: 'output', tabindex: 0, 'aria-label': 'What the release writes' })
  const close = el('button', { type: 'button', class: 'plain', onclick: hide }, 'Close')
  const element = el(
    'section',
    { class: 'operation', 'aria-label': 'Operation', hidden: true },
    head,
    steps,
    output,
    close,
  )

  /** @type {StepEvent | null} */
  let last = null
  /** @type {{ step: string, time: string }[]} */
  let taken = []
  /** @type {string[]} */
  let lines = []
  let isDrawnSoon = false

  function hide() {
    element.hidden = true
  }

  function draw() {
    if (!last) return
    const { operation, state, time, code } = last
    const isOver = state !== 'under way'
    element.dataset.state = state
    element.setAttribute('aria-busy', `${!isOver}`)
    const title = `${capital(operation.operation)}${operation.release === null ? '' : ` of ${short(operation.release)}`}`
    const tookMs = Date.parse(time) - Date.parse(operation.since)
    const ends = {
      'under way': 'under way',
      done: `done in ${msText(tookMs)}`,
      failed: `failed${code === null ? '' : ` (${code})`}`,
    }
    show(
      head,
      icon(state === 'done' ? 'ok' : state === 'failed' ? 'bad' : 'wait'),
      el('strong', {}, title),
      el('span', {}, ends[state]),
      el('span', { class: 'quiet' }, `by ${operation.actor} at ${clock(operation.since)} UTC`),
    )
    show(steps, ...taken.map(({ step }, at) => stepItem(step, at === taken.length - 1 ? state : 'done')))
    show(output, lines.join('\n'))
    output.hidden = lines.length === 0
    output.scrollTop = output.scrollHeight
    close.hidden = !isOver
    element.hidden = false
  }

  /** Thousands of lines may come at once, and to draw each of them would take the page away from its reader. */
  function drawSoon() {
    if (isDrawnSoon) return
    isDrawnSoon = true
    requestAnimationFrame(() => {
      isDrawnSoon = false
      draw()
    })
  }

  return {
    element,
    /** @param {StepEvent} event */
    step(event) {
      if (event.operation.since !== last?.operation.since) {
        taken = []
        lines = []
      }
      if (taken.at(-1)?.step !== event.operation.step)
        taken.push({ step: event.operation.step, time: event.time })
      last = event
      draw()
    },
    /** @param {OutputEvent} event */
    output({ line, release }) {
      if (last?.state !== 'under way') return
      const whose =
        last.operation.release === null || last.operation.release === release ? '' : `${short(release)}: `
      lines = [...lines.slice(1 - LINES), `${whose}${line}`]
      drawSoon()
    },
  }
}

/**
 * @param {string} step
 * @param {StepEvent['state']} state
 */
const stepItem = (step, state) =>
  el(
    'li',
    { class: 'step', 'data-state': state, 'aria-current': state === 'under way' && 'step' },
    icon(state === 'done' ? 'ok' : state === 'failed' ? 'bad' : 'wait'),
    el('span', {}, step),
    el('span', { class: 'unseen' }, state === 'under way' ? ' (now)' : ` (${state})`),
  )
