// What the app notes of the switches in front of it, by the common clock.
import { clockMs } from './clock.ts'

/** The first request of a slot after one of the other. */
export interface Turn {
  atMs: number
  /** The slot, as the first byte of what it answers. */
  slot: number
}

/** A question of the gate, as the app sees it. */
export interface Read {
  connectedMs: number
  answeredMs: number
}

export interface AppNotes {
  turns: Turn[]
  reads: Read[]
}

export class Notebook {
  readonly #notes: AppNotes = { turns: [], reads: [] }
  #slot = 0

  /** A request has come to this slot. */
  request(slot: number): void {
    if (slot === this.#slot) return
    this.#slot = slot
    this.#notes.turns.push({ atMs: clockMs(), slot })
  }

  read(connectedMs: number): void {
    this.#notes.reads.push({ connectedMs, answeredMs: clockMs() })
  }

  toJSON(): AppNotes {
    return this.#notes
  }
}

/** Asks the app for its notes. */
export async function notesOf(internalPort: number): Promise<AppNotes> {
  const response = await fetch(`http://127.0.0.1:${internalPort}/notes`)
  return (await response.json()) as AppNotes
}
