// Tells an app when it became the live release, so that background work runs in one release only.
import { ENV, ROLE_HEADER } from '../contract.ts'

/** Learns from slotgate's own requests what the process is; once live, it stays so until it is stopped. */
export class Liveness {
  #live: boolean
  #waiting: (() => void)[] = []

  /** Without slotgate there is nobody to say so, and only one release: it is live at once. */
  constructor(env = process.env) {
    this.#live = env[ENV.slotgate] === undefined
  }

  /** Calls back once, as soon as the process is live. What the callback throws ends the process, as in an event handler. */
  onLive(callback: () => void): void {
    if (this.#live) queueMicrotask(callback)
    else this.#waiting.push(callback)
  }

  /** Takes note of the role that a request says the process has. */
  hear(headers: Record<string, string | string[] | undefined>): void {
    if (this.#live || headers[ROLE_HEADER] !== 'live') return
    this.#live = true
    for (const callback of this.#waiting.splice(0)) queueMicrotask(callback)
  }
}
