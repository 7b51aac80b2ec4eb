// What every way of running a release has in common: boot it, know when it ends, stop it.
import type { Address } from '../../config/types.ts'
import type { SlotName } from '../../contract.ts'

export interface BootRequest {
  release: string
  slot: SlotName
  /** True when it is booted on temporary ports only to be asked. */
  rehearsal: boolean
  /** Ends the boot early: the attempt is not wanted any more. */
  signal: AbortSignal
  /** Is given each line that `setup` or the release writes, as the log has it, also long after the boot. */
  onLine?: (from: 'setup' | 'boot', line: string) => void
}

/** A release that runs. */
export interface Instance {
  readonly release: string
  /** null where something else started it. */
  readonly bootId: string | null
  readonly pid: number | null
  readonly startedAt: Date
  /** Whether an earlier slotgate booted it, and this one took it over. */
  readonly takenOver: boolean
  readonly publicAddresses: readonly Address[]
  readonly internal: Address
  /**
   * Resolves when the process has ended, with how ("exit code 1", "signal SIGKILL", or that nobody can know, where it was
   * taken over); never for one booted elsewhere.
   */
  readonly exited: Promise<string>
  /** The last lines it wrote, oldest first. */
  output(): string[]
  /** Ends it: SIGTERM, SIGKILL after the time. Resolves when it is gone; does nothing where something else runs it. */
  stop(withinMs: number): Promise<void>
  /** Leaves it running for the next slotgate, and follows it no longer. */
  letGo(): void
}

export interface Driver {
  /** Whether it can boot releases; if not, only what runs in the slots can be switched to. */
  readonly boots: boolean
  /**
   * Whether an earlier release can be booted again: its id decides which code that is. Where all releases share one folder,
   * say, it would be the code of today under the name of the earlier one.
   */
  readonly bootsEarlier: boolean
  /**
   * What runs in a slot before anything was booted: where something else runs the slots, the slot as it is; else the very
   * process that an earlier slotgate booted for it. Nobody has asked yet whether it is healthy.
   *
   * @returns null if there is none
   */
  find(release: string, slot: SlotName): Promise<Instance | null>
  /** Whether a release id stands for the same files for good, so that to deploy what is live would change nothing. */
  readonly isFixed: boolean
  /**
   * @param name what a caller calls a release
   * @returns its release id, which is its name everywhere else
   * @throws SlotgateError `invalid_release_id`, or why there is no such release
   */
  identify(name: string): Promise<string>
  /**
   * Resolves once the release is healthy and its public port accepts connections.
   *
   * @throws SlotgateError `unknown_release`, `setup_failed`, `setup_timeout`, `target_boot_failed`, or the signal's own
   *   reason where that is one (`shutting_down`); nothing is left running then
   */
  boot(request: BootRequest): Promise<Instance>
  /**
   * Ends what an earlier slotgate booted and this one has not taken over, where the system's processes do not tell.
   *
   * @param keep the boots that were taken over
   */
  endLeftovers?(keep: ReadonlySet<string>): Promise<void>
  /** Begins to remove the files of releases that are not needed, where the driver keeps such; resolves when it has. */
  tidy?(needed: ReadonlySet<string>): Promise<void>
  /** Begins nothing more; resolves when nothing of it is under way. */
  close?(): Promise<void>
}
