// The keys of a dev session: single keys, read as they are pressed, as long as somebody is at the terminal.
import type { ReadStream } from 'node:tty'

/** What a terminal sends that would otherwise make a signal of it. */
const CTRL_C = '\x03'
const CTRL_D = '\x04'
const CTRL_Z = '\x1a'

export type Keys = Readonly<Record<string, () => unknown>>

/**
 * Reads keys until it is closed, and leaves the terminal as it was.
 *
 * @param quit for Ctrl-C and Ctrl-D as well: the terminal makes no signals of them meanwhile
 * @returns null where standard input is no terminal: then nothing is read of it
 */
export function readKeys(stdin: ReadStream, keys: Keys, quit: () => void): { close(): void } | null {
  if (!stdin.isTTY) return null
  const ways: Keys = { ...keys, q: quit, [CTRL_C]: quit, [CTRL_D]: quit, [CTRL_Z]: suspend }
  const raw = () => void stdin.setRawMode(true)
  const onData = (text: string) => {
    for (const key of text) ways[key.toLowerCase()]?.()
  }

  /** The shell takes over, until it lets this go on. */
  function suspend(): void {
    stdin.setRawMode(false)
    process.kill(0, 'SIGTSTP')
  }

  raw()
  process.on('SIGCONT', raw)
  stdin.setEncoding('utf8').on('data', onData).resume()
  return {
    close() {
      process.off('SIGCONT', raw)
      stdin.off('data', onData).setRawMode(false).pause()
    },
  }
}
