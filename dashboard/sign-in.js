// What the page shows without a key: how to get one, and where to load it. Nothing else.
import { el, show } from './dom.js'
import { importKey } from './sign.js'

/** @typedef {import('./sign.js').SigningKey} SigningKey */

/**
 * @param {(key: SigningKey) => Promise<void>} use throws an Error that says why it is not taken
 * @param {string} [message] why the page asks
 */
export function createSignIn(use, message = '') {
  const file = el('input', { type: 'file', id: 'key-file', onchange: () => nameIt() })
  const id = el('input', { type: 'text', id: 'key-id', autocomplete: 'off', spellcheck: 'false' })
  const complaint = el('p', { class: 'bad', role: 'alert' }, message)
  const load = el('button', { type: 'submit', class: 'primary' }, 'Load key')

  function nameIt() {
    const [chosen] = file.files ?? []
    if (chosen && id.value === '') id.value = chosen.name.replace(/\.(key|pem)$/, '')
  }

  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault()
    const [chosen] = file.files ?? []
    if (!chosen) return show(complaint, 'Choose the file with your private key.')
    if (id.value.trim() === '') return show(complaint, 'Say which id the key has in the config.')
    load.disabled = true
    try {
      await use(await importKey(await chosen.text(), id.value.trim()))
    } catch (error) {
      show(complaint, error instanceof Error ? error.message : String(error))
    } finally {
      load.disabled = false
    }
  }

  return el(
    'section',
    { class: 'sign-in', 'aria-labelledby': 'sign-in' },
    el('h2', { id: 'sign-in' }, 'This page needs a key'),
    el('p', {}, 'Every call to slotgate is signed. Without a key there is nothing to see here.'),
    complaint,
    el(
      'form',
      { onsubmit: (event) => void submit(event) },
      el('div', { class: 'field' }, el('label', { for: 'key-file' }, 'Private key file'), file),
      el('div', { class: 'field' }, el('label', { for: 'key-id' }, 'Key id in the config'), id),
      load,
    ),
    el(
      'p',
      { class: 'quiet' },
      'The key stays in this browser, where it can sign but cannot be read out again, until you forget it.',
    ),
    el('h3', {}, 'Only looking?'),
    el('p', {}, 'This opens the page with a key that may read for an hour:'),
    el('pre', { tabindex: 0 }, 'slotgate dashboard --key ops.key'),
    el('h3', {}, 'No key yet?'),
    el(
      'p',
      {},
      'This makes one, and prints what goes under ',
      el('code', {}, 'admin.keys'),
      ' in the config:',
    ),
    el('pre', { tabindex: 0 }, 'slotgate keys generate --id ops'),
  )
}
