// Who is in the two slots of one service: boots are installed here, a live process that dies is started again, and
// the front door always has the addresses of what runs.
import type { Address, HealthConfig } from '../config/types.ts'
import { type Role, SLOTS, type SlotName } from '../contract.ts'
import { type Facts, messageOf, reason } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import type { EventName } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import { waitFor } from '../wait.ts'
import type { Driver, Instance } from './drivers/driver.ts'
import { checkHealth } from './health.ts'

const FIRST_RESTART_MS = 1_000
const LONGEST_RESTART_MS = 30_000
/** After this long without a death, the next restart starts over at the shortest delay. */
const STEADY_MS = 60_000
/** How often a running release's health is looked at; only the status depends on it. */
const HEALTH_EVERY_MS = 1_000
/** How many of its last lines the journal keeps of a process that died. */
const SHOWN_LINES = 20

export type OccupantState = 'starting' | 'running' | 'restarting' | 'exited' | 'stopped'

/** What is in a slot. */
export interface Occupant {
  readonly release: string
  state: OccupantState
  /** null while it is down. */
  instance: Instance | null
  healthy: boolean
  /** Why it is not healthy or not running. */
  detail: string | null
  restarts: number
  /** The generations in which it was live: its claims are counted there. */
  readonly generations: number[]
  /** The same for its previews, by the generations of those: what it was while it was in the idle slot. */
  readonly previews: number[]
  /** Ends what is under way for it, such as waiting for the next restart. */
  readonly leaving: AbortController
}

/** What the front door is told of a slot: no addresses means that the release is down. */
export interface Backend {
  release: string
  addresses: readonly Address[]
}

export interface OccupantsOptions {
  service: string
  driver: Driver
  /** Read at each use, since a reload may change them. */
  settings(): { health: HealthConfig; stopWithinMs: number }
  journal: Journal
  log: Logger
  /** Resolves once every worker of the data plane has the addresses. */
  setBackend(slot: SlotName, backend: Backend | null): Promise<void>
  /** The front door may drop what it keeps for these addresses: nobody listens there any more. */
  forget(addresses: readonly Address[]): void
  liveSlot(): SlotName | null
  generation(): number
  /** Until then nothing is started again: the start ends what a crash left over, and would take it for that. */
  mayRestart?: Promise<void>
}

export class Occupants {
  readonly #options: OccupantsOptions
  readonly #slots: Record<SlotName, Occupant | null> = { blue: null, green: null }
  /** Occupants that lost their slot and still finish what they had. */
  readonly #leaving = new Set<Occupant>()
  /** Boots and stops that have begun; they write their end into the journal, so `close` waits for them. */
  readonly #underWay = new Set<Promise<void>>()
  #healthTimer: NodeJS.Timeout | null = null
  #closed = false

  constructor(options: OccupantsOptions) {
    this.#options = options
  }

  get(slot: SlotName): Occupant | null {
    return this.#slots[slot]
  }

  roleOf(slot: SlotName): Role {
    return this.#options.liveSlot() === slot ? 'live' : 'idle'
  }

  /** Starts looking at the health of what runs. */
  watch(): void {
    this.#healthTimer = setTimeout(() => void this.#lookAtHealth(), HEALTH_EVERY_MS)
    this.#healthTimer.unref()
  }

  /**
   * Makes an occupant of a release, in no slot yet, and begins to follow its process.
   *
   * @param instance null for one that the journal knows and that does not run
   */
  create(release: string, instance: Instance | null): Occupant {
    const occupant: Occupant = {
      release,
      state: instance ? 'running' : 'stopped',
      instance,
      healthy: instance !== null,
      detail: null,
      restarts: 0,
      generations: [],
      previews: [],
      leaving: new AbortController(),
    }
    if (instance) this.#follow(occupant, instance)
    return occupant
  }

  /**
   * Puts an occupant into a slot. Synchronous, because a flip does it; `announce` tells the front door.
   *
   * @returns who was there before; it still runs, and ending it is the caller's to do
   */
  place(slot: SlotName, occupant: Occupant): Occupant | null {
    const former = this.#slots[slot]
    if (former === occupant) return null
    former?.leaving.abort()
    if (former?.instance) this.#leaving.add(former)
    this.#slots[slot] = occupant
    return former
  }

  /**
   * Tells the front door where the slot is reached now; resolves when it knows, or when a part of it did not answer in
   * time. Never rejects: a switch asks for itself whether all of it knows, and nobody else's work must end by that.
   */
  async announce(slot: SlotName): Promise<void> {
    const { service, log, setBackend } = this.#options
    const occupant = this.#slots[slot]
    const backend = occupant && {
      release: occupant.release,
      addresses: occupant.instance?.publicAddresses ?? [],
    }
    await setBackend(slot, backend).catch((error: unknown) =>
      log.error({ service, slot, err: error }, `the front door was not told of ${slot}: ${messageOf(error)}`),
    )
  }

  /** Ends an occupant's process, wherever it is, and writes it down. */
  async stop(occupant: Occupant, why: string): Promise<void> {
    occupant.leaving.abort()
    const { instance } = occupant
    if (!instance) return
    occupant.instance = null
    occupant.state = 'stopped'
    occupant.healthy = false
    occupant.detail = why
    await this.#track(this.#end(occupant, instance, why))
  }

  async #end(occupant: Occupant, instance: Instance, why: string): Promise<void> {
    const slot = this.#slotOf(occupant)
    if (slot) await this.announce(slot)
    await instance.stop(this.#options.settings().stopWithinMs)
    this.#options.forget(instance.publicAddresses)
    this.#leaving.delete(occupant)
    await this.#note('stopped', occupant, { ...(slot && { slot }), boot_id: instance.bootId, detail: why })
  }

  #track(work: Promise<void>): Promise<void> {
    const tracked = work.finally(() => this.#underWay.delete(tracked))
    this.#underWay.add(tracked)
    return tracked
  }

  /** Boots the release of a slot once more, as after a restart of slotgate; keeps trying with back-off. */
  async revive(slot: SlotName, occupant: Occupant): Promise<void> {
    await this.#track(this.#bootInto(slot, occupant, 'starting'))
    if (!occupant.instance) await this.#restart(slot, occupant)
  }

  /** Ends everything that runs, at once; nothing is restarted any more. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#healthTimer) clearTimeout(this.#healthTimer)
    const all = [...SLOTS.map((slot) => this.#slots[slot]), ...this.#leaving].filter((one) => one !== null)
    for (const occupant of all) occupant.leaving.abort()
    await Promise.all(all.map((occupant) => this.stop(occupant, 'slotgate stopped')))
    await Promise.all(this.#underWay)
  }

  /** The boots that were taken over from an earlier slotgate. */
  takenOver(): string[] {
    const all = SLOTS.map((slot) => this.#slots[slot]?.instance)
    return all.flatMap((instance) => (instance?.takenOver && instance.bootId ? [instance.bootId] : []))
  }

  /** When slotgate cannot start after all: what it took over is left as it was, what it booted is ended. */
  async giveUp(): Promise<void> {
    for (const slot of SLOTS) {
      const occupant = this.#slots[slot]
      if (!occupant?.instance?.takenOver) continue
      occupant.instance.letGo()
      occupant.instance = null
    }
    await this.close()
  }

  #follow(occupant: Occupant, instance: Instance): void {
    void instance.exited.then(async (how) => {
      if (occupant.instance === instance) await this.#died(occupant, instance, how)
    })
  }

  #slotOf(occupant: Occupant): SlotName | undefined {
    return SLOTS.find((slot) => this.#slots[slot] === occupant)
  }

  /** A process ended that nobody asked to end. */
  async #died(occupant: Occupant, instance: Instance, how: string): Promise<void> {
    const { service, log } = this.#options
    const { release } = occupant
    const slot = this.#slotOf(occupant)
    const wasLive = slot !== undefined && this.#options.liveSlot() === slot
    occupant.instance = null
    occupant.healthy = false
    occupant.state = wasLive ? 'restarting' : 'exited'
    occupant.detail = `it ended with ${how}`
    this.#leaving.delete(occupant)
    if (slot) await this.announce(slot)
    await instance.stop(0)
    this.#options.forget(instance.publicAddresses)
    log.error({ service, slot, release, pid: instance.pid }, `${release} ended with ${how}`)
    await this.#note('exited', occupant, {
      ...(slot && { slot }),
      boot_id: instance.bootId,
      detail: how,
      output: instance.output().slice(-SHOWN_LINES),
    })
    if (wasLive) await this.#restart(slot, occupant, instance.startedAt)
  }

  /** Starts the live release again: after 1 s, then twice as long each time, at most every 30 s. */
  async #restart(slot: SlotName, occupant: Occupant, lastStart?: Date): Promise<void> {
    const { service, log } = this.#options
    const steady = lastStart !== undefined && Date.now() - lastStart.getTime() > STEADY_MS
    if (steady) occupant.restarts = 0
    let delayMs = backOff(occupant.restarts)
    while (this.#stillLive(slot, occupant)) {
      const alarm = reason('live_release_exited', {
        release: occupant.release,
        detail: occupant.detail ?? 'it did not start',
        delay_ms: delayMs,
      })
      log.error({ service, slot, release: occupant.release, code: alarm.code }, alarm.sentence)
      await this.#note('restarting', occupant, { slot, delay_ms: delayMs, attempt: occupant.restarts + 1 })
      if (!(await waitFor(delayMs, occupant.leaving.signal))) return
      await this.#options.mayRestart
      if (!this.#stillLive(slot, occupant)) break
      occupant.restarts += 1
      await this.#track(this.#bootInto(slot, occupant, 'restarting'))
      if (occupant.instance) return
      delayMs = backOff(occupant.restarts)
    }
    if (!this.#closed && !occupant.instance) occupant.state = 'exited'
  }

  #stillLive(slot: SlotName, occupant: Occupant): boolean {
    const { liveSlot } = this.#options
    return (
      !this.#closed &&
      liveSlot() === slot &&
      this.#slots[slot] === occupant &&
      !occupant.leaving.signal.aborted
    )
  }

  async #bootInto(slot: SlotName, occupant: Occupant, state: OccupantState): Promise<void> {
    const { driver, service, log } = this.#options
    const { release, leaving } = occupant
    occupant.state = state
    try {
      const instance = await driver.boot({ release, slot, rehearsal: false, signal: leaving.signal })
      if (leaving.signal.aborted) return await instance.stop(this.#options.settings().stopWithinMs)
      occupant.instance = instance
      occupant.state = 'running'
      occupant.healthy = true
      occupant.detail = null
      await this.announce(slot)
      this.#follow(occupant, instance)
    } catch (error) {
      occupant.detail = messageOf(error)
      if (leaving.signal.aborted) return
      log.error({ service, slot, release, err: error }, `${release} did not start`)
    }
  }

  async #lookAtHealth(): Promise<void> {
    await Promise.all(SLOTS.map((slot) => this.#lookAt(slot)))
    // The next look only after this one, or a slow answer would overwrite a newer one.
    if (!this.#closed) this.watch()
  }

  async #lookAt(slot: SlotName): Promise<void> {
    const occupant = this.#slots[slot]
    const instance = occupant?.instance
    if (!occupant || !instance) return
    const problem = await checkHealth(instance.internal, this.#options.settings().health, this.roleOf(slot))
    if (occupant.instance !== instance) return
    if (occupant.healthy !== (problem === null)) {
      const { service, log } = this.#options
      log.warn(
        { service, slot, release: occupant.release, healthy: problem === null },
        problem ?? 'it is healthy again',
      )
    }
    occupant.healthy = problem === null
    occupant.detail = problem
  }

  /** The journal is told, but a disk that refuses must not keep an app from being stopped or started. */
  async #note(event: EventName, { release }: Occupant, facts: Facts): Promise<void> {
    const { service, journal, log } = this.#options
    await journal
      .append({
        ...facts,
        event,
        service,
        actor: 'slotgate',
        release,
        generation: this.#options.generation(),
      })
      .catch((error) => log.error({ service, release, err: error }, 'the journal could not be written'))
  }
}

const backOff = (restarts: number): number => Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** restarts)
