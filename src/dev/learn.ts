// What of the contract an app keeps, found out while it runs: it may have one port only, and no schema status.
import { setTimeout as pause } from 'node:timers/promises'
import type { ServiceConfig } from '../config/types.ts'
import { messageOf, SlotgateError } from '../errors.ts'
import { listeningPortsOf } from '../ports.ts'
import { loopback } from '../slots/drivers/boot.ts'
import { checkAccepts } from '../slots/health.ts'
import { membersOf } from '../slots/proc.ts'
import type { Control, StageResult, SwitchResult } from '../switch/types.ts'
import type { Screen } from './screen.ts'

/** On a busy machine a second port may open so late after the first one. */
const LATE_MS = 30_000
const LOOK_MS = 250
/** The line of the boot is among so many of the newest ones in the journal. */
const RECORDS = 50

export interface LearnerOptions {
  control: Control
  screen: Screen
  service: ServiceConfig
  /** Gives the running slotgate other settings for the service. */
  configure(service: ServiceConfig): void
  /** The app has turned out to have more than it was taken for: what runs has to be booted anew to be asked. */
  onMore(why: string): void
}

/** Lives as long as the session. */
export class Learner {
  readonly #options: LearnerOptions
  #service: ServiceConfig
  #hasSchema = false
  #closed = false

  constructor(options: LearnerOptions) {
    this.#options = options
    this.#service = options.service
  }

  /** The first boot shows which ports there are. */
  booted({ release, public_urls: [publicUrl], internal_url: internalUrl }: StageResult): void {
    const { health, schema } = this.#service
    if (health.port !== 'either') return
    const { port: _, ...both } = health
    if (publicUrl !== internalUrl) {
      this.#configure({ health: both })
      return
    }
    this.#configure({ health: { ...health, port: 'public' }, schema: 'off' })
    this.#say(
      'listens on PORT and not on INTERNAL_PORT: its health is asked there, and no schema (schema: off)',
    )
    const { screen } = this.#options
    this.#lookForLate(release, { health: both, schema }).catch((error) => screen.warn(messageOf(error)))
  }

  switched({ verdict }: SwitchResult): void {
    if (verdict?.target.status) this.#hasSchema = true
  }

  /**
   * @param error that a promotion ended with
   * @returns whether the app has no schema status, and is not asked for one from now on. One that had it before has lost it
   */
  refused(error: unknown): boolean {
    const isMissing = error instanceof SlotgateError && error.code === 'schema_status_not_found'
    if (!isMissing || this.#hasSchema || this.#service.schema === 'off') return false
    this.#say(`has no ${this.#service.schema.path}: no schema is checked (schema: off)`)
    this.#configure({ schema: 'off' })
    return true
  }

  close(): void {
    this.#closed = true
  }

  /** An app that was taken for one with one port may only have been slow. */
  async #lookForLate(release: string, before: Pick<ServiceConfig, 'health' | 'schema'>): Promise<void> {
    const { control, onMore } = this.#options
    const records = await control.history({ service: this.#service.name, limit: RECORDS })
    const boot = records.find((record) => record.event === 'booting' && record.release === release)
    const [pid, port] = [Number(boot?.pid), Number(boot?.internal_port)]
    for (const untilMs = performance.now() + LATE_MS; !this.#closed && performance.now() < untilMs; ) {
      if ((await checkAccepts(loopback(port), LOOK_MS)) === null && (await isOpenedBy(pid, port))) {
        this.#configure(before)
        onMore('it listens on INTERNAL_PORT after all')
        return
      }
      await pause(LOOK_MS, undefined, { ref: false })
    }
  }

  #configure(changed: Partial<ServiceConfig>): void {
    this.#service = { ...this.#service, ...changed }
    this.#options.configure(this.#service)
  }

  #say(what: string): void {
    this.#options.screen.note(`${this.#service.name} ${what}`)
  }
}

/** Once the app has left it closed, anybody may have taken the port. Where the system does not tell, it is the app's. */
const isOpenedBy = async (pid: number, port: number): Promise<boolean> =>
  process.platform !== 'linux' || (await listeningPortsOf(await membersOf(pid))).includes(port)
