// One service under development: each change becomes a release, which is booted beside the one that serves, asked, and
// made live. The newest wish wins: what boots meanwhile is called off.
import { setTimeout as pause } from 'node:timers/promises'
import { printStatus } from '../cli/print/status.ts'
import { counted } from '../cli/style.ts'
import type { ServiceConfig } from '../config/types.ts'
import { messageOf, SlotgateError, toProblem } from '../errors.ts'
import type { Verdict } from '../gate/judge.ts'
import type { Control, ServiceStatus, SwitchResult } from '../switch/types.ts'
import { Echoes } from './echoes.ts'
import { Learner } from './learn.ts'
import type { Screen } from './screen.ts'
import { DEV_KEY_ID } from './session.ts'
import type { Change } from './watch.ts'

/** Who calls, in the journal. */
const ACTOR = DEV_KEY_ID
/** An operation that somebody began from the command line is waited for. */
const AGAIN_MS = 100
/** What the app writes at the end of its boot is seen so long after it. */
const ECHO_MS = 100

/** What of the journal changes how a service stands. */
const TELLING: ReadonlySet<string> = new Set(['flipped', 'schema_version_changed'])

/** How a service stands: what its pages are told. */
export interface Standing {
  /** null while nothing is live. */
  live: string | null
  /** The newest release, if it could not go live. */
  refused: { release: string; error: SlotgateError } | null
  /** What the newest release that was asked has in store for the database. */
  pending: readonly string[]
}

export interface LoopOptions {
  control: Control
  screen: Screen
  service: ServiceConfig
  /** What to do about a refusal, as the last line below it. */
  advice: string
  /** Gives the running slotgate other settings for the service. */
  configure(service: ServiceConfig): void
  onStanding(standing: Standing): void
}

/** Lives as long as the session. */
export class Loop {
  readonly #options: LoopOptions
  readonly #name: string
  readonly #learner: Learner
  readonly #wereLive = new Set<string>()
  #standing: Standing = { live: null, refused: null, pending: [] }
  #releases = 0
  /** Of which migrations it was last said that they have not run. */
  #reminded = ''
  readonly #echoes: Echoes
  /** When the last thing that was under way ended. */
  #endedMs = Number.NEGATIVE_INFINITY
  #next: ((signal: AbortSignal) => Promise<void>) | null = null
  #current: AbortController | null = null
  #ended: Promise<void> = Promise.resolve()
  /** A switch of its own is under way; others begin theirs from the command line. */
  #switching = false
  readonly #following = new AbortController()
  #closed = false

  constructor(options: LoopOptions) {
    this.#options = options
    this.#name = options.service.name
    this.#echoes = new Echoes((text) => options.screen.warn(text))
    this.#learner = new Learner({ ...options, onMore: (why) => this.#bringSoon(why) })
  }

  begin(): void {
    this.#bringSoon('start')
    this.#follow().catch((error: unknown) => this.#options.screen.warn(messageOf(error)))
  }

  /** The code is another one now. */
  change(changes: readonly Change[]): void {
    const duringBoot = this.#current !== null || performance.now() - this.#endedMs < ECHO_MS
    const [path, ...others] = this.#echoes.sift(changes, duringBoot)
    if (path === undefined) return
    this.#bringSoon(others.length === 0 ? path : `${path} and ${counted(others.length, 'other')}`)
  }

  /** Asks once more: what was refused, as long as it runs, else the code as it is. */
  retry(): void {
    const sinceMs = performance.now()
    this.#wish(async (signal) => {
      const { idle } = await this.#status()
      const { refused } = this.#standing
      const isUp = refused?.release === idle.release && idle.state === 'running'
      if (refused && isUp) await this.#promote(refused.release, sinceMs)
      else await this.#bring('once more', sinceMs, signal)
    })
  }

  /** Goes back to the code before, as long as its process is there: in the folder it is no more. */
  rollBack(): void {
    this.#wish(async () => {
      const { screen, control } = this.#options
      const { idle, live } = await this.#status()
      const { release, state } = idle
      // What was refused or called off may run there as well, and has never been live.
      const isFormer = state === 'running' && release !== null && this.#wereLive.has(release)
      if (!live || !isFormer) {
        screen.warn('There is no way back: the code before runs no more. Undo the change in the editor.')
        return
      }
      try {
        await this.#switch(() => control.rollback(this.#name, release, { actor: ACTOR }))
        screen.done(`${release} is live again, until the next change`)
      } catch (error) {
        this.#complain(error)
      }
    })
  }

  async show(): Promise<void> {
    const { screen } = this.#options
    screen.say(printStatus(await this.#status(), screen.style))
  }

  /** Begins nothing more; resolves when nothing is under way. */
  async close(): Promise<void> {
    this.#closed = true
    this.#learner.close()
    this.#following.abort()
    this.#next = null
    this.#current?.abort()
    await this.#ended
  }

  #status(): Promise<ServiceStatus> {
    return this.#options.control.status(this.#name)
  }

  #wish(task: (signal: AbortSignal) => Promise<void>): void {
    if (this.#closed) return
    this.#next = task
    if (this.#current) this.#current.abort()
    else this.#ended = this.#work()
  }

  async #work(): Promise<void> {
    while (this.#next) {
      const task = this.#next
      const current = new AbortController()
      this.#next = null
      this.#current = current
      try {
        await task(current.signal)
      } catch (error) {
        if (!current.signal.aborted) this.#refuse(this.#complain(error))
      }
    }
    this.#current = null
    this.#endedMs = performance.now()
  }

  #bringSoon(why: string): void {
    const sinceMs = performance.now()
    this.#wish((signal) => this.#bring(why, sinceMs, signal))
  }

  /** From a change to the new code serving. */
  async #bring(why: string, sinceMs: number, signal: AbortSignal): Promise<void> {
    const { control, screen } = this.#options
    const release = `dev-${++this.#releases}`
    screen.note(`${why}: ${release} boots`)
    const context = { actor: ACTOR, signal }
    const staged = await whenFree(() => control.stage(this.#name, release, context), signal)
    this.#learner.booted(staged)
    if (!signal.aborted) await this.#promote(release, sinceMs)
  }

  async #promote(release: string, sinceMs: number): Promise<void> {
    const { control, screen } = this.#options
    const promote = () => control.promote(this.#name, { actor: ACTOR })
    const { verdict } = await this.#switch(() =>
      promote().catch((error: unknown) => {
        if (!this.#learner.refused(error)) throw error
        return promote()
      }),
    )
    screen.done(`${release} is live (${Math.round(performance.now() - sinceMs)} ms)`)
    this.#remind(verdict)
  }

  /** Migrations that have not run keep nothing from going live; that there are any is said once. */
  #remind(verdict: Verdict | null): void {
    const pending = this.#standing.pending.join()
    const warning = verdict?.warnings.find(({ code }) => code === 'pending_migrations')
    if (warning && pending !== this.#reminded) {
      this.#options.screen.warn(`${warning.sentence} ${warning.hint ?? ''}`)
    }
    this.#reminded = pending
  }

  async #switch(work: () => Promise<SwitchResult>): Promise<SwitchResult> {
    this.#switching = true
    try {
      const result = await work()
      this.#learner.switched(result)
      const pending = result.verdict?.target.status?.pending_migrations ?? []
      this.#tell({ live: result.live.release, refused: null, pending })
      return result
    } finally {
      this.#switching = false
    }
  }

  /** What others do: run a migration, or `slotgate promote` after it. */
  async #follow(): Promise<void> {
    const { control, screen } = this.#options
    const query = { service: this.#name, kinds: ['record'], ending: this.#following } as const
    for await (const events of await control.events(query)) {
      const names = events.flatMap((event) => (event.kind === 'record' ? [event.record.event] : []))
      if (this.#switching || !names.some((name) => TELLING.has(name))) continue
      const { live, idle } = await this.#status()
      const { refused } = this.#standing
      const still = refused?.release === live?.release ? null : refused
      const newest = still !== null && idle.release === still.release ? idle : live
      const pending = newest?.schema?.pending_migrations ?? []
      this.#tell({ live: live?.release ?? null, refused: still, pending })
      if (names.includes('flipped')) screen.done(`${live?.release} is live`)
    }
  }

  /** Shows what went wrong. */
  #complain(thrown: unknown): SlotgateError {
    const { screen, advice } = this.#options
    const error =
      thrown instanceof SlotgateError
        ? thrown
        : new SlotgateError('internal_error', { detail: messageOf(thrown) })
    screen.problem(toProblem(error), advice)
    return error
  }

  #refuse(error: SlotgateError): void {
    const release = `dev-${this.#releases}`
    this.#tell({ ...this.#standing, refused: { release, error }, pending: pendingOf(error) })
  }

  #tell(standing: Standing): void {
    this.#standing = standing
    if (standing.live !== null) this.#wereLive.add(standing.live)
    this.#options.onStanding(standing)
  }
}

/** Tries until nobody else's operation is in the way, or the attempt is called off. */
async function whenFree<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const isBusy = error instanceof SlotgateError && error.code === 'operation_in_progress'
      if (!isBusy || signal.aborted) throw error
      await pause(AGAIN_MS, undefined, { signal })
    }
  }
}

/** The migrations that a refused release ships and that have not run, where the gate was asked about it. */
const pendingOf = ({ facts }: SlotgateError): readonly string[] =>
  (facts.verdict as Verdict | undefined)?.target.status?.pending_migrations ?? []
