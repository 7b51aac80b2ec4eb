// A steady stream of requests at the front door during the tour: pages, lists and new invoices, at a fixed rate.
import { setTimeout as pause } from 'node:timers/promises'
import { Agent, request } from 'undici'

const EVERY_MS = 20

export interface Load {
  sent: number
  /** Failed although nothing was killed on purpose. */
  failed: string[]
  /** Failed while something was killed on purpose. */
  failedInKills: number
  /** How many answers each release gave. */
  answers: Record<string, number>
  /** While this is set, failures are the killer's. */
  killing: boolean
  stop(): Promise<void>
}

/** Begins at once; requests are sent when they are due, whether or not earlier ones were answered. */
export function startLoad(frontDoor: string): Load {
  const agent = new Agent({ connections: 20, bodyTimeout: 10_000, headersTimeout: 10_000 })
  const stopped = new AbortController()
  const open = new Set<Promise<void>>()
  const load: Load = { sent: 0, failed: [], failedInKills: 0, answers: {}, killing: false, stop }
  const ended = pump()
  return load

  async function pump(): Promise<void> {
    const started = performance.now()
    while (!stopped.signal.aborted) {
      const due = Math.floor((performance.now() - started) / EVERY_MS)
      while (load.sent < due) send()
      await pause(EVERY_MS, undefined, { signal: stopped.signal }).catch(() => {})
    }
    await Promise.all(open)
    await agent.destroy()
  }

  async function stop(): Promise<void> {
    stopped.abort()
    await ended
  }

  function send(): void {
    const number = load.sent++
    const sending = one(number).catch((error) => fail(`request ${number}: ${error.message}`))
    open.add(sending)
    void sending.finally(() => open.delete(sending))
  }

  async function one(number: number): Promise<void> {
    const isNew = number % 5 === 0
    const fresh = number % 7 === 0
    const response = await request(`${frontDoor}${number % 3 === 0 && !isNew ? '/' : '/invoices'}`, {
      dispatcher: agent,
      reset: fresh,
      ...(isNew && {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          customer: `Customer ${number}`,
          total: number,
          notes: 'written during the tour',
        }),
      }),
    })
    await response.body.dump()
    const release = String(response.headers['x-release'])
    if (response.statusCode !== (isNew ? 201 : 200))
      return fail(`request ${number}: ${response.statusCode} from ${release}`)
    load.answers[release] = (load.answers[release] ?? 0) + 1
  }

  function fail(what: string): void {
    if (load.killing) load.failedInKills += 1
    else load.failed.push(what)
  }
}
