// Tells on standard error how far a long call is, by asking for the status meanwhile.
import { setInterval as every } from 'node:timers/promises'
import { withShortCommits } from '../contract.ts'
import type { DrainView, ServiceStatus } from '../switch/types.ts'
import { type Call, wantsJson } from './call.ts'
import type { AdminClient } from './client.ts'
import { counted, styleFor } from './style.ts'

const POLL_MS = 300

/** With --json somebody parses the output; they see progress only if a person is watching as well. */
const isWatched = (call: Call): boolean => call.stderr.isTTY === true || !wantsJson(call)

/** Prints a line if it is another than the last one. */
function narrator(call: Call): (line: string | undefined) => void {
  const { dim } = styleFor(call.stderr, call.env)
  let last: string | undefined
  return (line) => {
    if (line !== undefined && line !== last && isWatched(call)) call.stderr.write(`${dim(`  … ${line}`)}\n`)
    last = line
  }
}

/** Runs a call and tells its steps until it ends. */
export async function narrate<T>(
  call: Call,
  admin: AdminClient,
  service: string,
  work: () => Promise<T>,
): Promise<T> {
  const ended = new AbortController()
  const telling = isWatched(call) ? tellSteps(call, admin, service, ended.signal) : undefined
  try {
    return await work()
  } finally {
    ended.abort()
    await telling
  }
}

async function tellSteps(
  call: Call,
  admin: AdminClient,
  service: string,
  signal: AbortSignal,
): Promise<void> {
  const tell = narrator(call)
  try {
    for await (const _ of every(POLL_MS, undefined, { signal })) {
      const { operation } = await admin.status(service, { signal })
      tell(operation?.step)
    }
  } catch {
    // Ended, or the key may not read: then the call goes on without a word, and its own answer says what counts.
  }
}

const describeDrain = ({ release, claims }: DrainView): string =>
  `${release} drains: ${counted(claims.requests, 'request')}, ${counted(claims.tunnels, 'tunnel')} left`

/** Waits until nothing that was live before `generation` drains any more. slotgate bounds how long that takes. */
export async function waitDrained(
  call: Call,
  admin: AdminClient,
  service: string,
  generation: number,
): Promise<void> {
  const tell = narrator(call)
  const left = ({ draining }: ServiceStatus) => draining.filter((drain) => drain.generation < generation)
  let drains = left(await admin.status(service))
  if (drains.length === 0) return
  for await (const _ of every(POLL_MS)) {
    tell(withShortCommits(drains.map(describeDrain).join('; ')))
    drains = left(await admin.status(service))
    if (drains.length === 0) return
  }
}
