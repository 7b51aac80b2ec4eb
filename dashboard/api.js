// Talks to the admin API that this page comes from: signs each call, and reads the stream of events.
import { LIFETIME_S, signRequest } from './sign.js'

/** @typedef {import('./sign.js').SigningKey} SigningKey */
/** @typedef {import('../src/errors.ts').Problem} Problem */
/** @typedef {import('../src/switch/types.ts').FeedEvent} FeedEvent */

/** The sign of life comes every 15 s. */
const SILENT_MS = 45_000
const COME_BACK_MS = 1_000
/** What is asked for is at hand: who takes longer hangs. What is to be done may take its time. */
const ANSWERS_WITHIN_MS = 10_000
/** How far ahead of slotgate a clock may be; behind it, a signature is over at some time. */
const AHEAD_S = 5
/**
 * What was signed before slotgate started, by its clock, it does not take: right after a start a browser whose clock is a
 * little late is refused with a key that is good.
 */
const LATE_MS = 5_000

/** slotgate said no. */
export class Refused extends Error {
  /** @param {Problem} problem */
  constructor(problem) {
    super(problem.detail)
    this.problem = problem
  }
}

/** slotgate said nothing. */
export class Unheard extends Error {
  constructor(sentence = 'slotgate cannot be reached.') {
    super(sentence)
  }
}

/** It is there, and hangs. */
export class Unanswered extends Unheard {
  constructor() {
    super(`slotgate has not answered within ${ANSWERS_WITHIN_MS / 1000} s.`)
  }
}

/**
 * @param {unknown} error of a call
 * @returns {string} a sentence for who waits for what it was to bring
 */
export const sentenceOf = (error) =>
  (error instanceof Refused || error instanceof Unheard ? error : new Unheard()).message

export class Api {
  #key

  /** @param {SigningKey} key */
  constructor(key) {
    this.#key = key
  }

  /**
   * @template T
   * @param {string} path
   * @returns {Promise<T>}
   * @throws {Refused | Unheard}
   */
  get(path) {
    return this.#ask('GET', path)
  }

  /**
   * @param {string} publicKey of a pair of the caller's, in base64
   * @returns {Promise<{ key: { id: string } }>} under which id it may read
   * @throws {Refused | Unheard}
   */
  lend(publicKey) {
    return this.#ask('POST', '/v1/keys/ephemeral', JSON.stringify({ public_key: publicKey }))
  }

  /**
   * @template T
   * @param {string} path
   * @param {object} body
   * @param {number} [generation] that the caller has seen
   * @returns {Promise<T>}
   */
  async post(path, body, generation) {
    const ifMatch = generation === undefined ? undefined : `"${generation}"`
    return (await this.#send('POST', path, { body: JSON.stringify(body), ifMatch })).json()
  }

  /**
   * Follows the events until it is ended, over interruptions: what is missed meanwhile is told later.
   *
   * @param {number} since the last record that is known
   * @param {{ onEvent: (event: FeedEvent) => void, onState: (state: 'live' | 'lost') => void, onRefused: (refused: Refused) => void }} reader
   * @param {AbortSignal} signal
   */
  async follow(since, { onEvent, onState, onRefused }, signal) {
    let last = since
    /** @type {number | null} */
    let refusedSinceMs = null
    while (!signal.aborted) {
      const askedMs = performance.now()
      try {
        for await (const event of this.#events(last, signal)) {
          refusedSinceMs = null
          if (event.kind === 'record') last = event.record.seq
          if (event.kind === 'live') onState('live')
          onEvent(event)
        }
      } catch (error) {
        if (error instanceof Refused && !error.problem.retryable) {
          refusedSinceMs ??= performance.now()
          // By when it was signed: the answer may have taken long.
          if (askedMs - refusedSinceMs > LATE_MS) return onRefused(error)
        }
      }
      if (signal.aborted) return
      onState('lost')
      await new Promise((resolve) => setTimeout(resolve, COME_BACK_MS))
    }
  }

  /**
   * @param {number} since
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<FeedEvent>}
   */
  async *#events(since, signal) {
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), SILENT_MS)
    const response = await this.#send('GET', `/v1/events?since=${since}`, {
      signal: AbortSignal.any([signal, silence.signal]),
    })
    if (!response.body) return
    let rest = ''
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    // Not every browser that can sign has `for await` for this.
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      clearTimeout(timer)
      timer = setTimeout(() => silence.abort(), SILENT_MS)
      const lines = (rest + read.value).split('\n')
      rest = lines.pop() ?? ''
      // slotgate writes each event into one such line.
      for (const line of lines) if (line.startsWith('data: ')) yield JSON.parse(line.slice('data: '.length))
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} [body]
   * @throws {Refused | Unheard}
   */
  async #ask(method, path, body) {
    const signal = AbortSignal.timeout(ANSWERS_WITHIN_MS)
    try {
      return await (await this.#send(method, path, { signal, ...(body && { body }) })).json()
    } catch (error) {
      if (error instanceof Refused) throw error
      throw signal.aborted ? new Unanswered() : new Unheard()
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ body?: string, ifMatch?: string | undefined, signal?: AbortSignal }} [sending]
   * @returns {Promise<Response>}
   * @throws {Refused}
   */
  async #send(method, path, { body, ifMatch, signal } = {}) {
    const url = new URL(path, location.origin)
    const headers = await signRequest({
      method,
      url,
      key: this.#key,
      ...(body && { body }),
      ...(ifMatch && { ifMatch }),
    })
    const response = await fetch(url, {
      method,
      headers,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      ...(body && { body }),
      ...(signal && { signal }),
    })
    if (response.ok) return response
    throw new Refused(withClock(await response.json(), response))
  }
}

/**
 * A signature with a wrong time is refused as any other, and only here somebody can see that it is the clock.
 *
 * @param {Problem} problem
 * @param {Response} response
 * @returns {Problem}
 */
function withClock(problem, response) {
  const ahead = Math.round((Date.now() - Date.parse(response.headers.get('date') ?? '')) / 1000)
  const allowed = ahead > 0 ? AHEAD_S : LIFETIME_S
  if (problem.code !== 'signature_refused' || !(Math.abs(ahead) > allowed)) return problem
  const hint = `The clock of this browser is ${Math.abs(ahead)} s ${ahead > 0 ? 'ahead of' : 'behind'} that of slotgate; at most ${allowed} s are allowed.`
  return { ...problem, hint }
}
