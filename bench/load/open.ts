// The open load: requests come by schedule, whatever became of those before, as they do from many people. Latency counts
// from the moment a request was due, so that a proxy that stands still is not spared what would have come meanwhile
// (coordinated omission).
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { clockMs } from '../clock.ts'
import { type CpuTime, cpuTimeOf, difference } from '../usage.ts'
import { leaveAll } from './closed.ts'
import { type Asked, Lane, type LaneOwner } from './lane.ts'
import type { Schedule } from './ticker.ts'

export interface OpenLoad extends Asked {
  perSecond: number
}

export interface OpenMeasured {
  /** Of every request that was due in the window and answered, in the order of the answers. */
  latenciesMs: number[]
  /** How late the load itself was in sending each. */
  lateMs: number[]
  sent: number
  /** Answered wrongly, or cut off. */
  failed: number
  /** Answered well, by whom the watcher does not accept. */
  misrouted: number
  /** Not answered when the load had waited a while after its end. */
  unanswered: number
  /** How many were answered in the window, whenever they were due, and what the proxy used in it. */
  answered: number
  cpu: CpuTime
}

/** Hears of each answer that was right, and says which of them are wrong all the same. */
export interface Watcher {
  asks(lane: Lane): void
  accepts(lane: Lane): boolean
}

const FIRST_CONNECTIONS = 32
/** More wait in the queue of the load; their latency counts all the same. */
const MOST_CONNECTIONS = 512
const LAST_ANSWERS_WITHIN_MS = 3000
const LOOK_AGAIN_MS = 10
const LEAD_MS = 200

export async function runOpen(
  load: OpenLoad,
  { pids, warmMs, measureMs }: { pids: readonly number[]; warmMs: number; measureMs: number },
  watcher?: Watcher,
): Promise<OpenMeasured> {
  const startMs = clockMs() + LEAD_MS
  const queue = new Queue(load, { fromMs: startMs + warmMs, watcher })
  const dueMs = arrivals(load.perSecond, { startMs, endMs: startMs + warmMs + measureMs })
  const ticker = new Worker(new URL('./ticker.ts', import.meta.url), {
    workerData: { dueMs } satisfies Schedule,
  })
  try {
    ticker.on('message', (upTo: number) => queue.send(dueMs, upTo))
    await pause(LEAD_MS + warmMs)
    const before = { cpu: cpuTimeOf(pids), answered: queue.answers }
    await once(ticker, 'exit')
    const measured = {
      cpu: difference(cpuTimeOf(pids), before.cpu),
      answered: queue.answers - before.answered,
    }
    await queue.settle()
    return { ...measured, ...queue.counts() }
  } finally {
    await ticker.terminate()
    await queue.leave()
  }
}

/** Exponential gaps, as of clients who do not know of each other; the same in every run. */
function arrivals(perSecond: number, { startMs, endMs }: { startMs: number; endMs: number }): Float64Array {
  const due: number[] = []
  let state = 42
  for (let atMs = startMs; atMs < endMs; due.push(atMs)) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    atMs += (-Math.log(1 - state / 2 ** 32) * 1000) / perSecond
  }
  return Float64Array.from(due)
}

class Queue implements LaneOwner {
  readonly #load: OpenLoad
  readonly #fromMs: number
  readonly #watcher: Watcher | undefined
  readonly #lanes: Lane[] = []
  readonly #free: Lane[] = []
  readonly #waiting: number[] = []
  readonly #latenciesMs: number[] = []
  readonly #lateMs: number[] = []
  /** So many have come. */
  answers = 0
  #sent = 0
  #failed = 0
  #misrouted = 0

  constructor(load: OpenLoad, { fromMs, watcher }: { fromMs: number; watcher: Watcher | undefined }) {
    this.#load = load
    this.#fromMs = fromMs
    this.#watcher = watcher
    for (let count = 0; count < FIRST_CONNECTIONS; count++) this.#open()
  }

  #open(): void {
    const lane = new Lane(this.#load, this)
    this.#lanes.push(lane)
    lane.connect()
  }

  /** Sends what is due, up to this place in the schedule. */
  send(dueMs: Float64Array, upTo: number): void {
    for (; this.#sent < upTo; this.#sent++) this.#sendOne(dueMs[this.#sent] ?? 0)
  }

  #sendOne(dueMs: number): void {
    if (dueMs >= this.#fromMs) this.#lateMs.push(clockMs() - dueMs)
    const lane = this.#free.pop()
    if (lane) {
      this.#ask(lane, dueMs)
      return
    }
    this.#waiting.push(dueMs)
    if (this.#lanes.length < MOST_CONNECTIONS) this.#open()
  }

  #ask(lane: Lane, dueMs: number): void {
    lane.dueMs = dueMs
    this.#watcher?.asks(lane)
    lane.ask()
  }

  ready(lane: Lane): void {
    const dueMs = this.#waiting.shift()
    if (dueMs === undefined) this.#free.push(lane)
    else this.#ask(lane, dueMs)
  }

  answered(lane: Lane, isRight: boolean): void {
    this.answers += 1
    if (!isRight) this.#failed += 1
    else if (this.#watcher?.accepts(lane) === false) this.#misrouted += 1
    else if (lane.dueMs >= this.#fromMs) this.#latenciesMs.push(clockMs() - lane.dueMs)
  }

  /** Waits for the last answers, but not for ever. */
  async settle(): Promise<void> {
    const endMs = clockMs() + LAST_ANSWERS_WITHIN_MS
    while (this.#left() > 0 && clockMs() < endMs) await pause(LOOK_AGAIN_MS)
  }

  #left(): number {
    return this.#waiting.length + this.#lanes.filter((lane) => lane.isBusy).length
  }

  lost(lane: Lane): void {
    const at = this.#free.indexOf(lane)
    if (at >= 0) this.#free.splice(at, 1)
  }

  counts(): Pick<OpenMeasured, 'latenciesMs' | 'lateMs' | 'sent' | 'failed' | 'misrouted' | 'unanswered'> {
    return {
      latenciesMs: this.#latenciesMs,
      lateMs: this.#lateMs,
      sent: this.#sent,
      failed: this.#failed,
      misrouted: this.#misrouted,
      unanswered: this.#left(),
    }
  }

  leave(): Promise<void> {
    return leaveAll(this.#lanes)
  }
}
