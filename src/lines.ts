// Lines on their way out of a thread: gathered while a chunk is under way, bounded, and what was lost is counted and said.

/** How much may wait for a reader that is slow or a disk that is full; beyond it, lines are lost and not the front door. */
const LIMIT_CHARACTERS = 1024 * 1024
/** What is worth sending without waiting for more. */
const ENOUGH_CHARACTERS = 64 * 1024

export interface LinesOptions {
  /** Sends whole lines on, without blocking, and says when the next may follow. */
  send(chunk: string, done: () => void): void
  /** How long lines are gathered before they are sent; 0: not at all. */
  gatherMs: number
}

export interface Lines {
  /** Takes whole lines, each with its newline. */
  write(lines: string): void
  /** @returns what was not sent yet, for the last moment of a thread */
  takeRest(): string
}

export function createLines({ send, gatherMs }: LinesOptions): Lines {
  let waiting = ''
  let lost = 0
  let underWay = false
  let timer: NodeJS.Timeout | undefined

  function takeRest(): string {
    const rest = lost > 0 ? waiting + lossLine(lost) : waiting
    waiting = ''
    lost = 0
    return rest
  }

  function sendOn(): void {
    clearTimeout(timer)
    timer = undefined
    underWay = true
    send(takeRest(), () => {
      underWay = false
      schedule()
    })
  }

  function schedule(): void {
    if (underWay || waiting === '') return
    if (gatherMs === 0 || waiting.length >= ENOUGH_CHARACTERS) sendOn()
    else timer ??= setTimeout(sendOn, gatherMs).unref()
  }

  return {
    takeRest,
    write(lines) {
      if (waiting.length < LIMIT_CHARACTERS) waiting += lines
      else lost += countOf(lines)
      schedule()
    },
  }
}

const countOf = (lines: string): number => lines.split('\n').length - 1

/** Stands where the lines are missing, once for each time they are. */
function lossLine(lost: number): string {
  const line = { level: 'warn', time: new Date().toISOString(), lost, msg: 'lines of the log were lost' }
  return `${JSON.stringify(line)}\n`
}
