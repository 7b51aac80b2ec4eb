// The keys of a dev session: single keys, read as they are pressed, as long as somebody is at the terminal.
import { setTimeout as pause } from 'node:timers/promises'
import type { ReadStream } from 'node:tty'
import { isInBackground } from '../slots/proc.ts'

/** What a terminal sends that would otherwise make a signal of it. */
const CTRL_C = '\x03'
const CTRL_D = '\x04'
const CTRL_Z = '\x1a'

const LOOK_MS = 500

export type Keys = Readonly<Record<string, () => unknown>>

/**
 * Reads keys until it is closed, and leaves the terminal as it was. In the background nothing is read, and nothing set.
 *
 * @param quit for Ctrl-C and Ctrl-D as well: the terminal makes no signals of them meanwhile
 * @returns null where standard input is no terminal: then nothing is read of it
 */
export function readKeys(stdin: ReadStream, keys: Keys, quit: () => void): { close(): void } | null {
  if (!stdin.isTTY) return null
  const ways: Keys = { ...keys, q: quit, [CTRL_C]: quit, [CTRL_D]: quit, [CTRL_Z]: suspend }
  let isClosed = false
  const onData = (text: string) => {
    for (const key of text) ways[key.toLowerCase()]?.()
  }

  async function begin(): Promise<void> {
    stdin.pause()
    // Not every shell tells a job that runs when it brings it to the front.
    while (!isClosed && (await isInBackground())) await pause(LOOK_MS, undefined, { ref: false })
    if (!isClosed) stdin.setRawMode(true).resume()
  }

  function leave(): void {
    stdin.setRawMode(false).pause()
  }

  /** The shell takes over, until it lets this go on, in front of it or behind. */
  function suspend(): void {
    leave()
    process.kill(0, 'SIGTSTP')
  }

  stdin.setEncoding('utf8').on('data', onData)
  process.on('SIGCONT', begin)
  void begin()
  return {
    close() {
      isClosed = true
      process.off('SIGCONT', begin)
      stdin.off('data', onData)
      leave()
    },
  }
}
