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
}

/** A release that runs. */
export interface Instance {
  readonly release: string
  /** null where something else started it. */
  readonly bootId: string | null
  readonly pid: number | null
  readonly startedAt: Date
  readonly publicAddresses: readonly Address[]
  readonly internal: Address
  /** Resolves when the process has ended, with how ("exit code 1", "signal SIGKILL"); never for one booted elsewhere. */
  readonly exited: Promise<string>
  /** The last lines it wrote, oldest first. */
  output(): string[]
  /** Ends it: SIGTERM, SIGKILL after the time. Resolves when it is gone; does nothing where something else runs it. */
  stop(withinMs: number): Promise<void>
}

export interface Driver {
  /** Whether it can boot releases; if not, only what runs in the slots can be switched to. */
  readonly boots: boolean
  /** Where something else runs the slots: the slot as it is, without waiting for it to be healthy. */
  attach?(release: string, slot: SlotName): Instance
  /**
   * Resolves once the release is healthy and its public port accepts connections.
   *
   * @throws SlotgateError `unknown_release`, `setup_failed`, `target_boot_failed`, or the signal's own reason where that
   *   is one (`shutting_down`); nothing is left running then
   */
  boot(request: BootRequest): Promise<Instance>
}
