// The one place where logs are made: pino, with field names that are the same everywhere: service, slot, release,
// generation, operation, actor, code, pid, request_id, err.
import { write, writeSync } from 'node:fs'
import { type Logger as PinoLogger, pino } from 'pino'
import { createLines } from './lines.ts'
import { createPretty } from './pretty.ts'

/** Takes one or more whole lines, each with its newline, and never blocks. */
export interface LineSink {
  write(lines: string): void
}

export interface Logger extends PinoLogger {
  /** Where its lines go, for lines that were made elsewhere: by hand or in another thread. */
  readonly lines: LineSink
}

const DEFAULT_LEVEL = 'info'
const AGAIN_MS = 100
const STDOUT = 1

/** Writes all of it behind the event loop's back. */
function writeOut(chunk: Buffer, done: () => void): void {
  write(STDOUT, chunk, (error, written) => {
    if (error?.code === 'EAGAIN') return void setTimeout(writeOut, AGAIN_MS, chunk, done).unref()
    // What else cannot be written now, never will be; the next lines may have more luck.
    const rest = error ? Buffer.alloc(0) : chunk.subarray(written)
    if (rest.length > 0) writeOut(rest, done)
    else done()
  })
}

/**
 * Standard output: a full disk or a stuck reader of the log must not stop what is being served. pino's own destination
 * retries a failed write for ever when the process exits, and then it never does.
 */
function createStdout(format: Format): LineSink {
  const lines = createLines({ send: (chunk, done) => writeOut(Buffer.from(chunk), done), gatherMs: 0 })
  process.on('exit', () => {
    try {
      writeSync(STDOUT, lines.takeRest())
    } catch {
      // There is nobody left to tell.
    }
  })
  if (format === 'json') return lines
  const pretty = createPretty(process.stdout.isTTY && !process.env.NO_COLOR)
  return { write: (text) => lines.write(pretty(text)) }
}

/** JSON for who keeps it, and what reads well for who looks at a terminal. */
type Format = 'json' | 'pretty'

function chosenFormat(): Format {
  const { LOG_FORMAT: asked } = process.env
  if (asked === 'json' || asked === 'pretty') return asked
  return process.stdout.isTTY ? 'pretty' : 'json'
}

/**
 * @param destination where lines go; standard output unless a test collects them
 * @returns a logger that makes one JSON object per line, with an ISO time and the level's name
 */
export function createLogger(
  level = process.env.LOG_LEVEL || DEFAULT_LEVEL,
  destination: LineSink = createStdout(chosenFormat()),
): Logger {
  const known = level === 'silent' || level.toLowerCase() in pino.levels.values
  const options = {
    level: known ? level : DEFAULT_LEVEL,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const log = pino(options, destination)
  if (!known) {
    const levels = Object.keys(pino.levels.values).join(', ')
    log.warn({ level_asked: level }, `there is no log level ${level}; write one of ${levels}, silent`)
  }
  return Object.assign(log, { lines: destination })
}

export const silentLogger = (): Logger => createLogger('silent', { write: () => {} })
