// The preview of a service: whoever may see it reaches what is in the idle slot. It has a pointer of its own in the table, which
// moves whenever another release comes to be the idle one; so its claims are counted by what they are of, and none is ever
// of a release that is gone, or live.
import type { ListenAddress, ServiceConfig } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import { messageOf } from '../errors.ts'
import type { Journal } from '../journal/file.ts'
import { stateOf } from '../journal/record.ts'
import type { Logger } from '../log.ts'
import { LINK_PATH, makePass, PASS, passKey } from '../passes.ts'
import { siteOf } from '../slots/ask.ts'
import type { Occupant } from '../slots/occupants.ts'
import type { Table } from '../slots/table.ts'
import type { DataPlane } from './data-plane.ts'

export interface PreviewOptions {
  /** Its own, in the table. */
  readonly place: number
  readonly name: string
  readonly secret: Uint8Array
  readonly table: Table
  readonly dataPlane: DataPlane
  readonly journal: Journal
  readonly log: Logger
}

/** @returns the link that makes a pass known to a browser; whoever is elsewhere may know the front door by another origin */
export function linkOf(service: ServiceConfig, frontDoor: ListenAddress, pass: string): string {
  const link = new URL(siteOf(service, frontDoor) + LINK_PATH)
  link.searchParams.set(PASS, pass)
  return link.href
}

export class Preview {
  readonly #options: PreviewOptions
  /** Whether what is in the idle slot stays there. */
  #isOpen = false

  constructor(options: PreviewOptions) {
    this.#options = options
  }

  get place(): number {
    return this.#options.place
  }

  /** At the start: what is in the idle slot, and which passes are good. */
  restore(slot: SlotName, occupant: Occupant | null): void {
    const { table, place } = this.#options
    table.setPasses(place, this.#number)
    this.#show(slot, occupant)
  }

  /** Puts another release into the idle slot. Who comes meanwhile waits. */
  async during<Result>(slot: SlotName, occupant: Occupant, work: () => Promise<Result>): Promise<Result> {
    const { table, place } = this.#options
    table.pause(place)
    try {
      const result = await work()
      this.#show(slot, occupant)
      return result
    } finally {
      this.#goOn()
    }
  }

  /** Moves with the pointer of the service, so that nobody reaches the slot that goes live. */
  move<Result>(slot: SlotName, occupant: Occupant | null, flip: () => Result): Result {
    const { table, place } = this.#options
    table.pause(place)
    const result = flip()
    this.#show(slot, occupant)
    this.#goOn()
    return result
  }

  /** What is in the idle slot is about to end. Resolves when nobody can reach it any more; never rejects. */
  close(slot: SlotName): Promise<void> {
    const { dataPlane, place, name, log } = this.#options
    this.#isOpen = false
    return dataPlane
      .setBackend(place, slot, null)
      .catch((error: unknown) =>
        log.error(
          { service: name, slot, err: error },
          `the end of a preview was not told: ${messageOf(error)}`,
        ),
      )
  }

  /** Its generations in which an occupant was previewed and will not be again. */
  past({ previews }: Occupant): number[] {
    const { table, place } = this.#options
    const { generation } = table.pointer(place)
    return previews.filter((one) => !this.#isOpen || one !== generation)
  }

  /**
   * @param forMs for how long it is good, in milliseconds from now
   * @throws SlotgateError `journal_write_failed`: there is none
   */
  async pass(actor: string, forMs: number, generation: number): Promise<{ pass: string; until: string }> {
    const { secret, name } = this.#options
    const expiresMs = Math.floor((Date.now() + forMs) / 1_000) * 1_000
    const until = new Date(expiresMs).toISOString()
    await this.#options.journal.append({ event: 'preview_opened', service: name, generation, actor, until })
    return { pass: makePass(passKey(secret, name, this.#number), expiresMs), until }
  }

  /**
   * Makes every pass void that there is.
   *
   * @throws SlotgateError `journal_write_failed`: nothing changed
   */
  async end(actor: string, generation: number): Promise<void> {
    const { journal, name, table, place } = this.#options
    await journal.append({ event: 'previews_ended', service: name, generation, actor })
    table.setPasses(place, this.#number)
  }

  #show(slot: SlotName, occupant: Occupant | null): void {
    const { table, place } = this.#options
    const { generation } = table.flip(place, slot)
    occupant?.previews.push(generation)
    this.#isOpen = true
  }

  #goOn(): void {
    const { table, place, dataPlane } = this.#options
    table.resume(place)
    dataPlane.letIn(place)
  }

  get #number(): number {
    const { journal, name } = this.#options
    return stateOf(journal.state, name).previewsEnded
  }
}
