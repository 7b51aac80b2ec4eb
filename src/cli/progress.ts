// Tells on standard error how far a long call is: its steps and what the release writes, as slotgate tells them meanwhile.
import { setInterval as every } from 'node:timers/promises'
import { withShortCommits } from '../contract.ts'
import type { DrainView, Operation, OperationView, ServiceStatus } from '../switch/types.ts'
import { within } from '../wait.ts'
import { type Call, wantsJson } from './call.ts'
import type { AdminClient } from './client.ts'
import { counted, styleFor, tame } from './style.ts'

const POLL_MS = 300
/** No call waits longer than this to be told of, neither before it is made nor after it has ended. */
const LATE_MS = 1_000

/** With --json somebody parses the output; they see progress only if a person is watching as well. */
const isWatched = (call: Call): boolean => call.stderr.isTTY === true || !wantsJson(call)

const say = (call: Call, line: string): void =>
  void call.stderr.write(`${styleFor(call.stderr, call.env).dim(line)}\n`)

/** Which operation of which service a call is about to begin. */
interface Meant {
  service: string
  operation: Operation
}

/** Makes a call and tells its steps, and what the release writes, until it ends. */
export async function narrate<T>(
  call: Call,
  admin: AdminClient,
  meant: Meant,
  work: () => Promise<T>,
): Promise<T> {
  if (!isWatched(call)) return work()
  const told = new Narration(call, admin, meant)
  await told.hasBegun
  try {
    return await work()
  } finally {
    await told.end()
  }
}

class Narration {
  /** Resolves when slotgate tells what happens from now on, or will not. */
  readonly hasBegun: Promise<unknown>
  readonly #call: Call
  readonly #meant: Meant
  readonly #actor: string
  readonly #stop = new AbortController()
  readonly #telling: Promise<void>
  #isUnderWay = false

  constructor(call: Call, admin: AdminClient, meant: Meant) {
    this.#call = call
    this.#meant = meant
    this.#actor = admin.keyId
    const { promise, resolve } = Promise.withResolvers<void>()
    // The key may not read, or the connection breaks: then the call goes on without a word, and its answer says what counts.
    this.#telling = this.#tell(admin, resolve)
      .catch(() => {})
      .finally(resolve)
    this.hasBegun = within(promise, LATE_MS)
  }

  async #tell(admin: AdminClient, begin: () => void): Promise<void> {
    const { service } = this.#meant
    for await (const event of admin.events({ service, kinds: 'step,output' }, this.#stop.signal)) {
      if (event.kind === 'live') begin()
      if (event.kind === 'output' && this.#isUnderWay) say(this.#call, `    │ ${tame(event.line)}`)
      if (event.kind !== 'step' || !this.#isMeant(event.operation)) continue
      this.#isUnderWay = event.state === 'under way'
      if (!this.#isUnderWay) return
      say(this.#call, `  … ${event.operation.step}`)
    }
  }

  #isMeant({ operation, actor }: OperationView): boolean {
    return operation === this.#meant.operation && actor === this.#actor
  }

  /** What was on its way when the answer came is told, too. */
  async end(): Promise<void> {
    if (this.#isUnderWay) await within(this.#telling, LATE_MS)
    this.#stop.abort()
    await this.#telling
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
  let said: string | undefined
  const left = ({ draining }: ServiceStatus) => draining.filter((drain) => drain.generation < generation)
  let drains = left(await admin.status(service))
  if (drains.length === 0) return
  for await (const _ of every(POLL_MS)) {
    const line = withShortCommits(`  … ${drains.map(describeDrain).join('; ')}`)
    if (line !== said && isWatched(call)) say(call, line)
    said = line
    drains = left(await admin.status(service))
    if (drains.length === 0) return
  }
}
