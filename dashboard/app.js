// The dashboard: finds a key, and shows live what slotgate does. Everything it knows comes from signed calls.
import { Api, Refused, Unanswered, Unheard } from './api.js'
import { el, icon, show } from './dom.js'
import { createHistory } from './history.js'
import { forgetKey, loadKey, saveKey } from './keys.js'
import { createService } from './service.js'
import { fromBase64, generatePair, importPrivateKey } from './sign.js'
import { createSignIn } from './sign-in.js'
import { clock, short, tell } from './words.js'

/** @typedef {import('./sign.js').SigningKey} SigningKey */
/** @typedef {import('../src/admin/keyring.ts').KeyView} KeyView */
/** @typedef {import('../src/journal/record.ts').JournalRecord} JournalRecord */
/** @typedef {import('../src/switch/types.ts').FeedEvent} FeedEvent */
/** @typedef {import('../src/switch/types.ts').ServiceStatus} ServiceStatus */
/** @typedef {import('../src/switch/types.ts').AdviceResult} AdviceResult */

/** Between events only what nobody tells changes: claims, uptimes, what a release says of its schema. */
const LOOK_EVERY_MS = 5_000
const COME_BACK_MS = 2_000
const NEWS_MS = 8_000
/** Whoever comes back after a while has the history for the rest. */
const NEWS_AT_ONCE = 3
/** Where a browser keeps the key may be slow, or not to be had: then one goes on without it. */
const KEEP_WITHIN_MS = 2_000
/** What is said to whoever looks elsewhere, or listens. */
const NEWS = ['flipped', 'alarm', 'paused', 'resumed', 'bake_failed', 'schema_live_incompatible']

/** @param {string} id */
const byId = (id) => document.getElementById(id) ?? document.body

const main = byId('main')
const connection = byId('connection')
const whose = byId('whose')
const news = byId('news')

/** @param {string} sentence */
function say(sentence) {
  const words = el('p', {}, short(sentence))
  if (news.childElementCount >= NEWS_AT_ONCE) news.firstElementChild?.remove()
  news.append(words)
  setTimeout(() => words.remove(), NEWS_MS)
}

/** @param {'live' | 'lost' | ''} state */
function showConnection(state) {
  connection.dataset.state = state
  show(
    connection,
    ...(state === ''
      ? []
      : [
          icon(state === 'live' ? 'dot' : 'warning'),
          state === 'live' ? 'live' : 'connection lost, trying again',
        ]),
  )
}

/** What ends with the key. */
let session = new AbortController()

/** @returns {AbortSignal} that of its end */
function beginSession() {
  session.abort()
  session = new AbortController()
  return session.signal
}

/** @param {string} [message] why */
function signIn(message) {
  session.abort()
  showConnection('')
  show(whose)
  document.title = 'slotgate'
  main.replaceChildren(
    createSignIn(async (key) => {
      const view = await viewOf(new Api(key))
      await keep(key)
      await open(key, view, beginSession())
    }, message),
  )
}

/** @param {SigningKey} key */
async function keep(key) {
  const kept = saveKey(key).catch((error) => say(`This browser does not keep the key: ${error.message}`))
  await Promise.race([kept, new Promise((resolve) => setTimeout(resolve, KEEP_WITHIN_MS))])
}

/**
 * @template T
 * @param {Promise<T>} answer
 * @param {string} refused what it means that the signature is not accepted
 * @returns {Promise<T>}
 * @throws {Error} with a sentence for who holds the key
 */
async function heard(answer, refused) {
  try {
    return await answer
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const { code, detail, hint } = error.problem
    throw new Error([code === 'signature_refused' ? refused : detail, hint].filter(Boolean).join(' '))
  }
}

/**
 * @param {Api} api
 * @returns {Promise<KeyView>}
 */
const viewOf = async (api) =>
  (await heard(api.get('/v1/key'), 'slotgate does not take this key under this id.')).key

/**
 * A key in the address was in a terminal, and in the arguments of a process: it is given away for one that nobody has seen.
 *
 * @returns {Promise<SigningKey | null>} null: there is none
 */
async function keyFromAddress() {
  const { hash, pathname } = location
  if (hash === '') return null
  history.replaceState(null, '', pathname)
  const said = new URLSearchParams(hash.slice(1))
  const id = said.get('id')
  if (id === null) return null
  const brought = await importPrivateKey(fromBase64(said.get('key') ?? ''), id)
  const { privateKey, publicKey } = await generatePair()
  const { key } = await heard(
    new Api(brought).lend(publicKey),
    'The key in the address has been used, or its time is over.',
  )
  return { id: key.id, algorithm: 'ed25519', cryptoKey: privateKey }
}

async function forget() {
  session.abort()
  try {
    await forgetKey()
    tabs.postMessage('forgotten')
    signIn()
  } catch (error) {
    signIn(`The browser still keeps the key: ${error instanceof Error ? error.message : error}`)
  }
}

async function begin() {
  session.abort()
  const before = session
  if (!window.isSecureContext)
    return signIn('The browser signs only on a page that came over TLS or from this machine.')
  try {
    const brought = await keyFromAddress()
    if (brought) await keep(brought)
    const key = brought ?? (await keptKey())
    // Whoever was asked for one meanwhile has loaded one.
    if (session !== before) return
    if (!key) return signIn()
    await enter(key, beginSession())
  } catch (error) {
    signIn(error instanceof Error ? error.message : String(error))
  }
}

/**
 * Where slotgate hangs, or is away, the key is still a good one: it is tried again.
 *
 * @param {SigningKey} key
 * @param {AbortSignal} signal of the session
 */
async function enter(key, signal) {
  while (!signal.aborted) {
    try {
      const view = await viewOf(new Api(key))
      if (!signal.aborted) await open(key, view, signal)
      return
    } catch (error) {
      if (!(error instanceof Unheard)) throw error
      if (signal.aborted) return
      showConnection('lost')
      main.replaceChildren(el('p', { class: 'bad', role: 'alert' }, error.message))
      await new Promise((resolve) => setTimeout(resolve, COME_BACK_MS))
    }
  }
}

/** Asks for a key where the browser takes its time to tell of one. */
async function keptKey() {
  const late = setTimeout(
    () => signIn('The browser has not said yet whether it keeps a key.'),
    KEEP_WITHIN_MS,
  )
  return loadKey().finally(() => clearTimeout(late))
}

/**
 * @param {SigningKey} key
 * @param {KeyView} view
 * @param {AbortSignal} signal of the session
 */
async function open(key, view, signal) {
  const api = new Api(key)
  showWhose(view)
  if (!view.allow.includes('read'))
    return show(
      main,
      el('p', { class: 'empty' }, `Key ${view.id} may not read, so there is nothing to show.`),
    )
  const around = {
    api,
    may: (/** @type {KeyView['allow'][number]} */ action) => view.allow.includes(action),
  }
  /** @type {Map<string, ReturnType<typeof createService>>} */
  const shown = new Map()
  /** @type {Map<string, string>} */
  const advised = new Map()

  async function look() {
    const { services } = await api.get('/v1/services')
    if (Object.keys(services).join() !== names.join()) return location.reload()
    await Promise.all(Object.values(services).map((status) => take(status)))
    document.title = titleOf(Object.values(services))
  }

  /** @param {unknown} error */
  async function failToLook(error) {
    // Where nobody is there at all, the connection says so.
    if (error instanceof Unanswered) for (const service of shown.values()) service.miss(error)
    await new Promise((resolve) => setTimeout(resolve, COME_BACK_MS))
  }

  /** @param {ServiceStatus} status */
  async function take(status) {
    const service = shown.get(status.service)
    service?.update(status)
    const about = adviceDependsOn(status)
    if (!service || advised.get(status.service) === about) return
    const to = status.schema.current ?? 0
    const advice = await api.get(`/v1/services/${encodeURIComponent(status.service)}/advice?to=${to}`)
    advised.set(status.service, about)
    service.advise(advice)
  }

  const { records } = /** @type {{ records: JournalRecord[] }} */ (await api.get('/v1/history?limit=60'))
  const { services } = /** @type {{ services: Record<string, ServiceStatus> }} */ (
    await api.get('/v1/services')
  )
  const names = Object.keys(services)
  for (const name of names) shown.set(name, createService(name, around))
  const past = createHistory(
    async (before) => (await api.get(`/v1/history?limit=60&before=${before}`)).records,
    names.length > 1,
  )
  past.begin(records)
  main.replaceChildren(
    el('div', { class: 'services' }, ...[...shown.values()].map(({ element }) => element)),
    past.element,
  )
  await look()
  const lookSoon = once(() => look().catch(failToLook))
  const timer = setInterval(() => document.visibilityState === 'visible' && lookSoon(), LOOK_EVERY_MS)
  signal.addEventListener('abort', () => clearInterval(timer))

  let following = new AbortController()
  let last = records[0]?.seq ?? 0

  /** @param {FeedEvent} event */
  function onEvent(event) {
    // What is shown has no way to what there is now.
    if (event.kind === 'gap') return location.reload()
    if (event.kind === 'live') return lookSoon()
    const service = shown.get((event.kind === 'record' ? event.record.service : event.service) ?? '')
    if (event.kind === 'traffic') return service?.measure(event)
    if (event.kind === 'output') return service?.output(event)
    if (event.kind === 'step') service?.step(event)
    if (event.kind === 'record') {
      last = event.record.seq
      past.add(event.record)
      if (NEWS.includes(event.record.event)) say(newsOf(event.record))
    }
    lookSoon()
  }

  const reader = {
    onEvent,
    onState: showConnection,
    onRefused: (/** @type {Refused} */ { problem: { detail, hint } }) =>
      signIn([`The key is not taken any more: ${detail}`, hint].filter(Boolean).join(' ')),
  }

  /** Only while somebody looks: a browser has six connections to one place, for all its tabs. */
  function follow() {
    following.abort()
    if (document.visibilityState !== 'visible') return
    following = new AbortController()
    void api.follow(last, reader, AbortSignal.any([signal, following.signal]))
  }
  document.addEventListener('visibilitychange', follow, { signal })
  follow()
}

/** @param {JournalRecord} record */
const newsOf = (record) => `${record.service ?? 'slotgate'}: ${tell(record).sentence}`

/** @param {KeyView} view */
function showWhose({ id, allow, until }) {
  const [lender = id] = id.split('~')
  const only = allow.join() === 'read' ? 'may only read' : `may ${allow.join(', ')}`
  show(
    whose,
    el('span', { class: 'key', title: id }, lender),
    el('span', { class: 'quiet' }, until === null ? only : `${only}, until ${clock(until)} UTC`),
    el('button', { type: 'button', class: 'plain', onclick: () => void forget() }, 'Forget key'),
  )
}

/** @param {ServiceStatus[]} statuses */
const titleOf = (statuses) =>
  `${statuses.map(({ service, live }) => `${service} ${short(live?.release ?? '–')}`).join(', ')} · slotgate`

/** @param {ServiceStatus} status */
const adviceDependsOn = ({ generation, schema, live, idle, door }) =>
  JSON.stringify([
    generation,
    schema.current,
    live?.release,
    live?.recorded_range,
    idle.release,
    idle.recorded_range,
    idle.schema?.min,
    idle.schema?.max,
    door.to,
    door.open,
  ])

/**
 * @param {() => Promise<void>} work never fails
 * @returns {() => void} does it, once for all who ask meanwhile
 */
function once(work) {
  let isUnderWay = false
  let isWanted = false
  const run = async () => {
    if (isUnderWay) {
      isWanted = true
      return
    }
    isUnderWay = true
    await work()
    isUnderWay = false
    if (isWanted) {
      isWanted = false
      void run()
    }
  }
  return () => void run()
}

const tabs = new BroadcastChannel('slotgate')
tabs.onmessage = () => session.signal.aborted || signIn('The key was forgotten in another tab.')
// An address with a key may be pasted where the page is open already; that alone loads nothing.
window.addEventListener('hashchange', () => void begin())
void begin()
