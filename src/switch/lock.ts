// One switch at a time: the lock of a service, which also says what is under way and how far it is.
import { type Code, SlotgateError } from '../errors.ts'
import type { Operation, OperationView, StepEvent } from './types.ts'

/** The steps of an operation as the status shows them, in their order (docs/life-of-a-promotion.md). */
export type Step =
  | 'booting'
  | 'checking health'
  | 'asking'
  | 'rehearsing'
  | 'preparing the front door'
  | 'asking again'
  | 'draining'
  | 'writing the journal'
  | 'flipping'
  | 'confirming'

export type Progress = (step: Step) => void

export interface OperationRequest {
  service: string
  operation: Operation
  release: string | null
  actor: string
}

/** Where an operation is, for who follows. */
export const stepOf = (
  service: string,
  operation: OperationView,
  state: StepEvent['state'] = 'under way',
  code: Code | null = null,
): StepEvent => ({
  kind: 'step',
  time: new Date().toISOString(),
  service,
  operation: { ...operation },
  state,
  code,
})

export class Lock {
  readonly #tell: (step: StepEvent) => void
  #current: OperationView | null = null
  #ended: Promise<unknown> = Promise.resolve()
  #closed = false

  /** @param tell is told when an operation begins, goes to another step, and ends */
  constructor(tell: (step: StepEvent) => void = () => {}) {
    this.#tell = tell
  }

  get current(): OperationView | null {
    return this.#current
  }

  /** Resolves when what runs now has ended, well or not. */
  get ended(): Promise<unknown> {
    return this.#ended
  }

  /**
   * Runs one operation alone.
   *
   * @throws SlotgateError `operation_in_progress` if another one runs, `shutting_down`; else what `work` throws
   */
  async run<Result>(
    { service, operation, release, actor }: OperationRequest,
    work: (progress: Progress) => Promise<Result>,
  ): Promise<Result> {
    if (this.#closed) throw new SlotgateError('shutting_down')
    if (this.#current) {
      const { operation: running, since, step, actor: holder } = this.#current
      throw new SlotgateError('operation_in_progress', {
        service,
        operation: running,
        since,
        step,
        actor: holder,
      })
    }
    const view: OperationView = {
      operation,
      release,
      actor,
      since: new Date().toISOString(),
      step: 'starting',
    }
    this.#current = view
    this.#tell(stepOf(service, view))
    const result = work((step) => {
      view.step = step
      this.#tell(stepOf(service, view))
    }).finally(() => {
      this.#current = null
    })
    // Told before the caller hears of it.
    this.#ended = result.then(
      () => this.#tell(stepOf(service, view, 'done')),
      (error) => this.#tell(stepOf(service, view, 'failed', codeOf(error))),
    )
    return result
  }

  /** Starts nothing new; resolves when what runs has ended. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#ended
  }
}

const codeOf = (error: unknown): Code => (error instanceof SlotgateError ? error.code : 'internal_error')
