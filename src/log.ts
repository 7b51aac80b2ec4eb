// The one place where logs are made: pino with fixed field names, so that a line can be searched by them.
import { type Logger as PinoLogger, pino } from 'pino'

/** Field names used in log lines. `code` is a code of errors.ts. */
export interface LogFields {
  service?: string
  slot?: string
  release?: string
  generation?: number
  operation?: string
  actor?: string
  code?: string
  pid?: number
  err?: unknown
  [field: string]: unknown
}

export type Logger = PinoLogger

/**
 * @param destination where lines go; standard output unless a test collects them
 * @returns a logger that writes one JSON object per line, with an ISO time and the level's name
 */
export function createLogger(
  level = process.env.LOG_LEVEL ?? 'info',
  destination?: { write(line: string): void },
): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  return destination ? pino(options, destination) : pino(options)
}

export const silentLogger = (): Logger => pino({ level: 'silent' })
