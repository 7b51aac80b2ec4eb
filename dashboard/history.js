// What happened, from the journal: a sentence for each record, with the evidence of decisions.
import { problemWords } from './dialog.js'
import { el, icon, show } from './dom.js'
import { clock, evidenceOf, rangeText, tell } from './words.js'

/** @typedef {import('../src/journal/record.ts').JournalRecord} JournalRecord */

/** What follows live stays short; what somebody asks for comes on top of it. */
const SHOWN = 60

/**
 * @param {(before: number) => Promise<JournalRecord[]>} loadEarlier newest first
 * @param {boolean} hasSeveral whether the service has to be named
 */
export function createHistory(loadEarlier, hasSeveral) {
  const list = el('ol', { class: 'history' })
  const more = el('button', { type: 'button', class: 'plain', onclick: () => void earlier() }, 'Show earlier')
  const complaint = el('div', { class: 'complaint', role: 'alert' })
  const element = el(
    'section',
    { class: 'journal', 'aria-label': 'History' },
    el('h2', {}, 'History'),
    list,
    complaint,
    more,
  )
  let most = SHOWN
  let oldest = Number.POSITIVE_INFINITY
  let newest = 0
  /** The first record there is: not 1 where full files of the journal were moved away. */
  let first = 1

  async function earlier() {
    more.disabled = true
    show(complaint)
    try {
      const records = await loadEarlier(oldest)
      if (records.length === 0) first = oldest
      most += records.length
      put(records)
    } catch (error) {
      show(complaint, ...problemWords(error))
    } finally {
      more.disabled = false
    }
  }

  /** @param {readonly JournalRecord[]} records newest first, all of them older or all newer than those shown */
  function put(records) {
    const items = records
      .filter(({ seq }) => seq > newest || seq < oldest)
      .map((record) => itemOf(record, hasSeveral))
    if ((records[0]?.seq ?? 0) > newest) list.prepend(...items)
    else list.append(...items)
    newest = Math.max(newest, records[0]?.seq ?? 0)
    while (list.children.length > most) list.lastElementChild?.remove()
    oldest = Number(list.lastElementChild?.getAttribute('data-seq') ?? oldest)
    more.hidden = oldest <= first
  }

  return {
    element,
    /** @param {readonly JournalRecord[]} records newest first */
    begin: (records) => put(records),
    /** @param {JournalRecord} record the next one */
    add: (record) => put([record]),
  }
}

/**
 * @param {JournalRecord} record
 * @param {boolean} hasSeveral
 */
function itemOf(record, hasSeveral) {
  const { icon: sign, mood, sentence } = tell(record)
  const { seq, time, actor, service, event, generation } = record
  const about = [
    hasSeveral && service ? service : '',
    event === 'flipped' && generation !== undefined ? `generation ${generation}` : '',
    actor === 'slotgate' ? '' : `by ${actor}`,
  ]
  return el(
    'li',
    { class: `record ${mood}`, 'data-seq': seq, 'data-event': event },
    icon(sign),
    el(
      'div',
      { class: 'record-words' },
      el('p', {}, sentence),
      el(
        'p',
        { class: 'quiet' },
        el('time', { datetime: time, title: `${time} (record ${seq})` }, `${clock(time)} UTC`),
        ...about.filter(Boolean).map((words) => ` · ${words}`),
      ),
      evidence(record),
    ),
  )
}

/** @param {JournalRecord} record */
function evidence(record) {
  const heard = evidenceOf(record)
  if (heard.length === 0) return null
  const body = el(
    'ul',
    { class: 'evidence' },
    ...heard.map(({ who, range, current, misfit }) =>
      el('li', {}, `${who}: works with ${rangeText(range)}, read schema ${current}: ${misfit ?? 'fits'}`),
    ),
  )
  return el('details', {}, el('summary', {}, 'Evidence'), body)
}
