// Switches back and forth between two running releases under a load, and judges what the load saw.
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { JournalRecord } from '../../src/journal/record.ts'
import type { Sample } from './load.ts'
import type { Answer, World } from './world.ts'

/** One switch as its caller and the journal saw it. Moments are epoch milliseconds. */
export interface Flip {
  /** Who took the traffic, and from whom. */
  release: string
  former: string
  calledAt: number
  answeredAt: number
  /** From the call until the answer. */
  callMs: number
  /** What the answer says that the switch took. */
  tookMs: number
  /** When the journal says that the former release had answered its last; null if the next switch came before that. */
  drainedAt: number | null
  /** From the flip to the last byte of the former release. */
  drainMs: number | null
}

/** Every fourth switch comes while the one before is still draining. */
const HURRIES_EVERY = 4
const POLL_MS = 10
const DRAIN_WITHIN_MS = 20_000

/**
 * Switches `count` times, promotion and rollback by turns; r43 must be live, and the release before it running.
 *
 * @throws Error when a switch is refused, or a former release is never drained
 */
export async function switchOften(world: World, count: number): Promise<Flip[]> {
  const journal = await Tail.open(join(world.stateDir, 'journal.jsonl'))
  const flips: Flip[] = []
  try {
    for (let turn = 0; turn < count; turn++) {
      const hurries = turn % HURRIES_EVERY === HURRIES_EVERY - 1
      flips.push(
        await switchOnce(() => (turn % 2 ? world.promote() : world.rollback()), hurries ? null : journal),
      )
    }
  } finally {
    await journal.close()
  }
  return flips
}

async function switchOnce(call: () => Promise<Answer>, journal: Tail | null): Promise<Flip> {
  const calledAt = Date.now()
  const startedMs = performance.now()
  const { status, body } = await call()
  const callMs = performance.now() - startedMs
  if (status !== 200) throw new Error(`a switch was answered ${status}: ${JSON.stringify(body)}`)
  const answeredAt = Date.now()
  const drained = await journal?.find(
    ({ event, generation }) => event === 'drained' && generation === body.generation - 1,
  )
  return {
    release: body.live.release,
    former: body.previous.release,
    calledAt,
    answeredAt,
    callMs,
    tookMs: body.took_ms,
    drainedAt: drained ? Date.parse(drained.time) : null,
    drainMs: drained ? Number(drained.took_ms) : null,
  }
}

/** Reads what is appended to a journal, without asking slotgate. */
class Tail {
  readonly #handle: FileHandle
  #rest = ''
  #at = 0

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  static async open(file: string): Promise<Tail> {
    return new Tail(await open(file))
  }

  /** Waits for a record; those before it are skipped for good. */
  async find(isIt: (record: JournalRecord) => boolean): Promise<JournalRecord> {
    for (const end = performance.now() + DRAIN_WITHIN_MS; performance.now() < end; await pause(POLL_MS)) {
      const found = (await this.#news()).find(isIt)
      if (found) return found
    }
    throw new Error(`the record was not written within ${DRAIN_WITHIN_MS} ms`)
  }

  async #news(): Promise<JournalRecord[]> {
    const { size } = await this.#handle.stat()
    const { buffer, bytesRead } = await this.#handle.read(Buffer.alloc(size - this.#at), {
      position: this.#at,
    })
    this.#at += bytesRead
    const lines = (this.#rest + buffer.toString('utf8', 0, bytesRead)).split('\n')
    this.#rest = lines.pop() ?? ''
    return lines.map((line) => JSON.parse(line))
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

/** What must never happen, found in the samples; empty if all is well. */
export function violations(samples: readonly Sample[], flips: readonly Flip[]): string[] {
  const failed = samples
    .filter(({ problem }) => problem !== null)
    .map(({ kind, sentAt, release, problem }) => `${kind} at ${sentAt}, answered by ${release}: ${problem}`)
  return [...failed, ...samples.flatMap((sample) => misrouted(sample, flips))]
}

/**
 * A request that was sent when a switch had been answered is not for the former release any more; and after the
 * journal said that this one was drained, it answers nothing at all.
 */
function misrouted({ kind, sentAt, begunAt, release }: Sample, flips: readonly Flip[]): string[] {
  if (begunAt === null) return []
  return flips.flatMap((flip, index) => {
    const untilAt = flips[index + 1]?.calledAt ?? Number.POSITIVE_INFINITY
    const settledAt = Math.min(flip.answeredAt, flip.drainedAt ?? Number.POSITIVE_INFINITY)
    const between = sentAt > settledAt && begunAt < untilAt
    if (!between || release === flip.release) return []
    const when = flip.drainedAt !== null && sentAt > flip.drainedAt ? 'drained' : 'switched away from'
    return [`${kind} sent at ${sentAt} was answered by ${release}, which was ${when}`]
  })
}

/** @param rank between 0 and 1 @returns NaN of nothing */
export function quantile(values: readonly number[], rank: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * rank))] ?? Number.NaN
}
