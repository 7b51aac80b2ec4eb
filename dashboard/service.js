// One service: its two slots, where its releases stand on the schema, whether there is a way back, and what can be done.
import { confirm, problemWords } from './dialog.js'
import { el, icon, show } from './dom.js'
import { createOperation } from './operation.js'
import { createRuler } from './ruler.js'
import { createSlot } from './slot.js'
import { clock, counted, declaredText, rangeText, short, since } from './words.js'

/** @typedef {import('../src/switch/types.ts').ServiceStatus} ServiceStatus */
/** @typedef {import('../src/switch/types.ts').AdviceResult} AdviceResult */
/** @typedef {import('../src/switch/types.ts').CheckResult} CheckResult */
/** @typedef {import('../src/switch/types.ts').TrafficEvent} TrafficEvent */
/** @typedef {import('../src/contract.ts').SlotName} SlotName */
/** @typedef {import('../src/config/types.ts').Action} Action */

const SLOTS = /** @type {const} */ (['blue', 'green'])

/**
 * @typedef {object} Around what a service is shown in
 * @property {import('./api.js').Api} api
 * @property {(action: Action) => boolean} may what the key allows
 */

/**
 * @param {string} name
 * @param {Around} around
 */
export function createService(name, { api, may }) {
  const path = `/v1/services/${encodeURIComponent(name)}`
  const slots = { blue: createSlot('blue'), green: createSlot('green') }
  const ruler = createRuler((to) => api.get(`${path}/advice?to=${to}`))
  const operation = createOperation()
  const facts = el('p', { class: 'facts' })
  const notices = el('ul', { class: 'notices' })
  const complaint = el('div', { class: 'complaint', role: 'alert' })
  const silence = el('div', { class: 'complaint', role: 'alert' })
  const door = el('p', { class: 'door-words' })
  const button = (/** @type {string} */ words, /** @type {() => Promise<void>} */ act, kind = '') =>
    el('button', { type: 'button', class: kind, onclick: () => void act() }, words)
  const buttons = {
    promote: button('Promote…', promote, 'primary'),
    check: button('Check', check),
    rollback: button('Roll back…', rollback),
    deploy: button('Deploy…', deploy),
    pause: button('Pause…', pause),
    resume: button('Resume…', resume, 'primary'),
  }
  const heading = el('h2', {}, name)
  const element = el(
    'section',
    { class: 'service', 'aria-label': name },
    el(
      'header',
      { class: 'service-head' },
      el('div', {}, heading, facts),
      el(
        'div',
        { class: 'buttons' },
        buttons.promote,
        buttons.check,
        buttons.deploy,
        buttons.pause,
        buttons.resume,
      ),
    ),
    notices,
    silence,
    complaint,
    operation.element,
    el('div', { class: 'slots' }, slots.blue.element, slots.green.element),
    el(
      'div',
      { class: 'schema' },
      el('h3', {}, 'Schema'),
      ruler.element,
      el('div', { class: 'door' }, door, buttons.rollback),
    ),
  )
  /** @type {ServiceStatus | null} */
  let status = null
  /** @type {AdviceResult | null} */
  let advice = null

  /**
   * Carries out what was confirmed. What came of it is in the journal, and so on the page; why nothing did is said here,
   * until it is read or something else is done. It may be none of the steps that are shown below: another operation's are.
   *
   * @param {string} action
   * @param {object} body
   * @param {number} [generation]
   */
  async function act(action, body, generation) {
    show(complaint)
    try {
      await api.post(`${path}/${action}`, body, generation)
    } catch (error) {
      const close = el('button', { type: 'button', class: 'plain', onclick: () => show(complaint) }, 'Close')
      show(complaint, ...problemWords(error), close)
    }
  }

  /**
   * @param {'promote' | 'rollback'} what
   * @returns {Promise<CheckResult>}
   */
  const verdictOn = (what) => api.post(`${path}/check`, { operation: what })

  async function promote() {
    const { release, slot } = status?.idle ?? {}
    if (!release) return
    const exclusive = exclusiveField()
    const answer = await confirm({
      title: `Promote ${short(release)}`,
      lead: `New requests of ${name} will go to ${short(release)} in ${slot}${status?.live ? ` instead of ${short(status.live.release ?? '')}` : ''}.`,
      action: 'Promote',
      check: () => verdictOn('promote'),
      fields: [exclusive.element],
    })
    if (answer) await act('promote', exclusive.body(), answer.generation)
  }

  async function rollback() {
    const to = status?.door.to
    const exclusive = exclusiveField()
    const answer = await confirm({
      title: to ? `Roll back to ${short(to)}` : 'Roll back',
      lead: 'The gate asks the earlier release first. One that does not run any more is booted aside, only to be asked.',
      action: 'Roll back',
      check: () => verdictOn('rollback'),
      fields: [exclusive.element],
    })
    if (answer) await act('rollback', exclusive.body(), answer.generation)
  }

  async function check() {
    await confirm({
      title: `Check of ${short(status?.idle.release ?? '')}`,
      lead: 'The gate is asked, and nothing is changed.',
      check: () => verdictOn('promote'),
    })
  }

  async function deploy() {
    const exclusive = exclusiveField()
    const known = advice?.per_release.filter(({ role }) => role !== 'live') ?? []
    const declared = el('p', { class: 'quiet', 'aria-live': 'polite' })
    const input = el('input', {
      id: `release-${name}`,
      list: `releases-${name}`,
      autocomplete: 'off',
      spellcheck: 'false',
      oninput: () => show(declared, declaredWords()),
    })
    const declaredWords = () => {
      const said = known.find(({ release }) => release === input.value.trim())
      return (
        said && `When it was last asked: ${short(said.release)} ${declaredText(said.range, said.fits_now)}`
      )
    }
    const field = el(
      'div',
      { class: 'field' },
      el('label', { for: input.id }, 'Release'),
      input,
      declared,
      el(
        'datalist',
        { id: `releases-${name}` },
        ...known.map(({ release, range }) =>
          el('option', { value: release }, range ? `schema ${rangeText(range)}` : ''),
        ),
      ),
    )
    const answer = await confirm({
      title: `Deploy on ${name}`,
      lead: 'The release is booted in the idle slot and asked by the gate there. Requests go to it only if it fits; if not, everything stays as it is.',
      action: 'Deploy',
      fields: [field, exclusive.element],
      isComplete: () => input.value.trim() !== '',
    })
    const release = input.value.trim()
    if (answer) await act('deploy', { release, ...exclusive.body() }, status?.generation)
  }

  async function pause() {
    const select = el(
      'select',
      { id: `pause-${name}` },
      el('option', { value: '30000' }, '30 seconds'),
      el('option', { value: '300000' }, '5 minutes'),
      el('option', { value: '' }, 'until somebody resumes'),
    )
    const answer = await confirm({
      title: `Pause ${name}`,
      lead: 'New requests wait at the front door, those under way go on. What waits too long is answered 503.',
      action: 'Pause',
      fields: [el('div', { class: 'field' }, el('label', { for: select.id }, 'For'), select)],
    })
    const body = select.value === '' ? {} : { for_ms: Number(select.value) }
    if (answer) await act('pause', body, status?.generation)
  }

  async function resume() {
    const answer = await confirm({
      title: `Resume ${name}`,
      lead: 'The requests that wait go on in their order, and new ones wait no longer.',
      action: 'Resume',
    })
    if (answer) await act('resume', {})
  }

  function showButtons() {
    if (!status) return
    const { idle, live, paused } = status
    buttons.promote.hidden = !may('promote') || idle.release === null
    buttons.check.hidden = !may('read') || idle.release === null
    buttons.rollback.hidden = !may('rollback') || live === null
    buttons.deploy.hidden = !(may('stage') && may('promote'))
    buttons.pause.hidden = !may('traffic') || paused !== null || live === null
    buttons.resume.hidden = !may('traffic') || paused === null
    buttons.promote.textContent = `Promote ${short(idle.release ?? '')}…`
    buttons.rollback.textContent = status.door.to ? `Roll back to ${short(status.door.to)}…` : 'Roll back…'
  }

  return {
    element,
    /** @param {ServiceStatus} next */
    update(next) {
      status = next
      show(silence)
      const { live, idle } = next
      for (const slot of SLOTS) {
        const view = live?.slot === slot ? live : idle.slot === slot ? idle : null
        if (view) slots[slot].update(view, view === live)
      }
      show(facts, ...factsOf(next))
      show(
        notices,
        ...noticesOf(next).map(({ mood, words }) =>
          el('li', { class: mood }, icon(mood === 'bad' ? 'bad' : 'warning'), el('span', {}, words)),
        ),
      )
      show(door, ...doorWords(next))
      showButtons()
    },
    /** @param {unknown} error why what is shown may be over; said until there is something newer */
    miss(error) {
      show(silence, ...problemWords(error))
    },
    /** @param {AdviceResult} next for where the schema is */
    advise(next) {
      advice = next
      if (status) ruler.update(status, next)
    },
    /** @param {TrafficEvent} event */
    measure(event) {
      for (const traffic of event.slots) slots[traffic.slot].measure(traffic)
    },
    step: operation.step,
    output: operation.output,
  }
}

/** Of switches. */
function exclusiveField() {
  const box = el('input', { type: 'checkbox' })
  const element = el(
    'label',
    { class: 'choice' },
    box,
    ' Exclusive: old and new code never answer at the same time',
  )
  return { element, body: () => (box.checked ? { exclusive: true } : {}) }
}

/** @param {ServiceStatus} status */
function factsOf({ generation, schema, hosts, path_prefix: prefix, live }) {
  const version = schema.check === 'off' ? 'not checked' : (schema.current ?? 'not known')
  return [
    el('span', { class: 'fact-pill' }, live ? `generation ${generation}` : 'nothing is live'),
    el('span', { class: 'fact-pill' }, `schema ${version}`),
    el('span', { class: 'quiet' }, `${hosts.length > 0 ? hosts.join(', ') : 'any host'} ${prefix}`),
  ]
}

/**
 * @param {ServiceStatus} status
 * @returns {{ mood: 'bad' | 'warning', words: string }[]} what deserves a sentence
 */
function noticesOf({ live, paused, bake, draining, schema }) {
  const warning = (/** @type {string} */ words) => ({ mood: /** @type {const} */ ('warning'), words })
  return [
    ...(live
      ? []
      : [warning('Nothing is live yet: requests are answered 503 until the first release passes the gate.')]),
    ...(paused ? [warning(pauseWords(paused))] : []),
    ...(bake
      ? [
          warning(
            `${short(bake.release)} is on trial until ${clock(bake.until)} UTC: ${bake.failed} of ${counted(bake.requests, 'request')} failed; ${short(bake.former.release)} before it: ${bake.former.failed} of ${bake.former.requests}.`,
          ),
        ]
      : []),
    ...draining.map(({ release, slot, claims, requests_until: until }) =>
      warning(
        `${short(release)} in ${slot} still finishes ${counted(claims.requests, 'request')} and ${counted(claims.tunnels, 'tunnel')}; requests until ${clock(until)} UTC.`,
      ),
    ),
    ...schema.warnings.map(({ sentence }) => warning(short(sentence))),
  ]
}

/** @param {NonNullable<ServiceStatus['paused']>} paused */
function pauseWords({ since: begin, actor, until, held }) {
  const end = until === null ? 'until somebody resumes' : `until ${clock(until)} UTC`
  return `Paused by ${actor} for ${since(begin)}, ${end}: ${counted(held, 'request')} held.`
}

/** @param {ServiceStatus} status */
function doorWords({ door: { open, sentence } }) {
  const word = open === null ? 'not known' : open ? 'open' : 'closed'
  return [
    icon(open === null ? 'info' : open ? 'open' : 'closed'),
    el('strong', { class: `door-state ${word.replace(' ', '-')}` }, `Rollback door: ${word}`),
    el('span', {}, short(sentence)),
  ]
}
