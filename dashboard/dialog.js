// Asks before anything is done: what would be done, what the gate says to it right now, and only then yes or no.
import { Refused, sentenceOf } from './api.js'
import { el, icon, show } from './dom.js'
import { done, partyOf, rangeText, short } from './words.js'

/** @typedef {import('../src/switch/types.ts').CheckResult} CheckResult */

/**
 * @typedef {object} Question
 * @property {string} title
 * @property {string} lead what would be done, as a sentence
 * @property {string} [action] the word on the button; absent: there is only something to read
 * @property {HTMLElement[]} [fields] what else there is to choose
 * @property {() => Promise<CheckResult>} [check] asks the gate; absent where it has nothing to say beforehand
 * @property {() => boolean} [isComplete] whether the fields are filled in; changes with their input
 */

/**
 * @param {Question} question
 * @returns {Promise<{ generation: number | undefined } | null>} null: no; else with what was seen
 */
export function confirm({ title, lead, action, fields = [], check, isComplete = () => true }) {
  const { promise, resolve } = Promise.withResolvers()
  const heading = el('h2', { id: 'question' }, title)
  const verdict = el('div', { class: 'verdict', 'aria-live': 'polite' })
  const yes = el(
    'button',
    { type: 'button', class: 'primary', disabled: true, hidden: !action, onclick: () => finish(true) },
    action,
  )
  const again = el('button', { type: 'button', hidden: true, onclick: () => void ask() }, 'Ask again')
  const no = el('button', { type: 'button', onclick: () => finish(false) }, action ? 'Cancel' : 'Close')
  const dialog = el(
    'dialog',
    { 'aria-labelledby': 'question', onclose: () => finish(false), oninput: () => settle() },
    heading,
    el('p', {}, lead),
    verdict,
    ...fields,
    el('div', { class: 'buttons' }, no, again, yes),
  )
  /** @type {CheckResult | null} */
  let result = null

  function settle() {
    yes.disabled = !isComplete() || (check !== undefined && result?.allowed !== true)
  }

  async function ask() {
    if (!check) return settle()
    result = null
    again.hidden = true
    settle()
    show(verdict, el('p', { class: 'quiet' }, icon('wait'), ' Asking the gate…'))
    try {
      result = await check()
      show(verdict, ...verdictWords(result))
    } catch (error) {
      show(verdict, ...problemWords(error))
    }
    again.hidden = result?.allowed === true
    settle()
  }

  /** @param {boolean} isYes */
  function finish(isYes) {
    resolve(isYes ? { generation: result?.generation } : null)
    dialog.close()
    dialog.remove()
  }

  document.body.append(dialog)
  dialog.showModal()
  void ask()
  return promise
}

/** @param {CheckResult} result */
function verdictWords({ operation, release, allowed, verdict }) {
  const { reasons, warnings, target, live, evidence, code } = verdict
  const heard = [partyOf(target, ''), partyOf(live, ', live')].flatMap((party) => party ?? [])
  return [
    el(
      'p',
      { class: `answer ${allowed ? 'good' : 'bad'}` },
      icon(allowed ? 'ok' : 'bad'),
      el('strong', {}, `${short(release)} ${allowed ? 'may' : 'must not'} be ${done(operation)} now`),
      el('code', {}, code),
    ),
    evidence === 'recorded' &&
      el('p', { class: 'quiet' }, `${short(release)} was not asked: what it declared earlier says enough.`),
    ...reasons.flatMap(reasonWords),
    heard.length > 0 &&
      el(
        'ul',
        { class: 'evidence' },
        ...heard.map(({ who, range, current, misfit }) =>
          el(
            'li',
            {},
            `${who}: works with ${rangeText(range)}, reads schema ${current}: ${misfit ?? 'fits'}`,
          ),
        ),
      ),
    ...warnings.map(({ sentence }) => el('p', { class: 'warning' }, icon('warning'), ' ', short(sentence))),
  ]
}

/** @param {import('../src/errors.ts').Reason} reason */
const reasonWords = ({ sentence, hint }) => [
  el('p', {}, short(sentence)),
  ...(hint ? [el('p', { class: 'hint' }, short(hint))] : []),
]

/** @param {unknown} error */
export const problemWords = (error) =>
  error instanceof Refused
    ? [
        el(
          'p',
          { class: 'answer bad' },
          icon('bad'),
          el('strong', {}, short(error.problem.detail)),
          el('code', {}, error.problem.code),
        ),
        ...(error.problem.hint ? [el('p', { class: 'hint' }, short(error.problem.hint))] : []),
      ]
    : [el('p', { class: 'answer bad' }, icon('bad'), el('strong', {}, sentenceOf(error)))]
