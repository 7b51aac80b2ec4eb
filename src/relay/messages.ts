// What the main thread and the worker threads of the front door say to each other. Types alone.
import type { Address, ListenAddress, RelayConfig, ServiceConfig } from '../config/types.ts'
import type { SlotName } from '../contract.ts'
import type { Code, Facts } from '../errors.ts'
import type { Backend } from '../slots/occupants.ts'
import type { ClaimKind, Layout } from '../slots/table.ts'

/** What a worker thread is born with. */
export interface Birth {
  relay: RelayConfig
  services: readonly ServiceConfig[]
  /** What passes are made with; null: nothing can be previewed. */
  passSecret: Uint8Array | null
  buffer: SharedArrayBuffer
  layout: Layout
  /** What it counts of its exchanges. */
  cells: SharedArrayBuffer
  /** Its number: whose cells it counts in. */
  worker: number
  logLevel: string
}

/** Where a slot is reached. */
export interface Placed {
  service: number
  slot: SlotName
  backend: Backend | null
}

/** What a worker thread is told before it listens, and of what it is told again when it changes. */
export interface Told {
  services: readonly ServiceConfig[]
  /** Where all slots are reached. */
  backends: readonly Placed[]
}

/** What a worker thread is asked to do, and what it answers with. Calls are begun in the order in which they come. */
export interface Calls {
  /** Takes over what it is told, then listens. */
  open(at: ListenAddress, options: { reusePort: boolean }, told: Told): ListenAddress
  setServices(services: readonly ServiceConfig[]): void
  setBackend(placed: Placed): void
  letIn(service: number): void
  cut(service: number, generations: readonly number[], kind: ClaimKind): number
  forget(addresses: readonly Address[]): void
  close(withinMs: number): void
}

export type CallName = keyof Calls

export type Call = {
  [Name in CallName]: { kind: 'call'; id: number; name: Name; args: Parameters<Calls[Name]> }
}[CallName]

/** Where lines of a thread go to: the log, or the spans. */
export type Sink = 'log' | 'spans'

/** `linesTaken`: the main thread has the last lines for that, the next may follow. */
export type ToWorker = Call | { kind: 'linesTaken'; sink: Sink }

export type FromWorker =
  /** Calls may come. */
  | { kind: 'ready' }
  | { kind: 'done'; id: number; value: unknown }
  | { kind: 'failed'; id: number; code: Code; facts: Facts }
  | { kind: 'lines'; sink: Sink; lines: string }
