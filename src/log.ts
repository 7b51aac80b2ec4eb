// The one place where logs are made: pino, with field names that are the same everywhere: service, slot, release,
// generation, operation, actor, code, pid, request_id, err.
import { type Logger as PinoLogger, pino } from 'pino'

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
