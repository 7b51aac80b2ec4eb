// One worker thread as the main thread sees it, from its start until nothing of it runs any more. Main thread.
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { messageOf, SlotgateError } from '../errors.ts'
import type { LineSink } from '../log.ts'
import type { Birth, CallName, Calls, FromWorker, Sink } from './messages.ts'

/** TypeScript as it is, or what was built of it: as this file. */
const FILE = new URL(`./worker${extname(import.meta.url)}`, import.meta.url)

type Answer = Extract<FromWorker, { kind: 'done' | 'failed' }>

/**
 * What a request leaves behind is garbage at once. In a small nursery it stays in the core's cache, and connections that
 * only wait do not fill a large one: 2 KiB for each of them instead of 4.
 */
const YOUNG_MB = 12

export class Thread {
  readonly #worker: Worker
  readonly #number: number
  readonly #waiting = new Map<number, (answer: Answer | null) => void>()
  readonly #ready = Promise.withResolvers<void>()
  #calls = 0
  #why: string | undefined
  /** Resolves with how it ended, once its connections are closed and it counts no more. */
  readonly exited: Promise<string>

  /** @param sinks take its lines */
  constructor(birth: Birth, sinks: Record<Sink, LineSink>) {
    this.#number = birth.worker
    this.#worker = new Worker(FILE, {
      workerData: birth,
      name: `relay-${birth.worker}`,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    })
    this.#worker.on('message', (message: FromWorker) => this.#onMessage(message, sinks))
    // Its 'exit' follows.
    this.#worker.on('error', (error) => {
      this.#why ??= messageOf(error)
    })
    this.exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#why ??= `exit code ${code}`
        this.#ready.reject(new Error(`thread ${this.#number} of the front door ended: ${this.#why}`))
        for (const settle of this.#waiting.values()) settle(null)
        resolve(this.#why)
      })
    })
    // Whoever does not wait for it sees it in `exited`.
    this.#ready.promise.catch(() => {})
  }

  /** Resolves when it takes calls; rejects if it ended before. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  /**
   * Has the thread do something.
   *
   * @returns its answer; undefined if it ended before it gave one
   * @throws SlotgateError what it threw; Error if it does not answer in time, it may do it later then
   */
  call<Name extends CallName>(
    name: Name,
    args: Parameters<Calls[Name]>,
    withinMs: number,
  ): Promise<ReturnType<Calls[Name]> | undefined> {
    const id = this.#calls++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Error(`thread ${this.#number} of the front door did not answer within ${withinMs} ms`))
      }, withinMs)
      this.#waiting.set(id, (answer) => {
        this.#waiting.delete(id)
        clearTimeout(timer)
        if (answer?.kind === 'failed') reject(new SlotgateError(answer.code, answer.facts))
        else resolve(answer?.value as ReturnType<Calls[Name]> | undefined)
      })
      this.#worker.postMessage({ kind: 'call', id, name, args })
    })
  }

  /** Ends it at once, whatever it does. */
  async end(why: string): Promise<void> {
    this.#why ??= why
    await this.#worker.terminate()
  }

  #onMessage(message: FromWorker, sinks: Record<Sink, LineSink>): void {
    if (message.kind === 'ready') this.#ready.resolve()
    else if (message.kind === 'lines') {
      const { sink, lines } = message
      sinks[sink].write(lines)
      this.#worker.postMessage({ kind: 'linesTaken', sink })
    } else this.#waiting.get(message.id)?.(message)
  }
}
