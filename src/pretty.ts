// The log for people: the time of day, the level, the sentence, and what belongs to it; a request in one line.
import { createRequire } from 'node:module'
import type { prettyFactory as PrettyFactory, PrettyOptions } from 'pino-pretty'

/** One line of the log, as far as it matters here. */
interface Line {
  msg?: string | undefined
  method?: string
  path?: string | undefined
  status?: number
  duration_ms?: number
  held_ms?: number
  preview?: boolean
  service?: string
  release?: string
  slot?: string
  client?: string
  code?: string
}

const COLORS = {
  fatal: 'bgRed',
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'blue',
  trace: 'gray',
  message: 'reset',
}

/**
 * @param colors whether the terminal shows them
 * @returns makes readable lines of whole lines of JSON; what is no JSON stays as it is
 */
export function createPretty(colors: boolean): (lines: string) => string {
  // Loaded here: only who looks at the log in a terminal needs it.
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as {
    prettyFactory: typeof PrettyFactory
  }
  const common: PrettyOptions = {
    colorize: colors,
    translateTime: 'SYS:HH:MM:ss.l',
    customColors: COLORS,
    singleLine: true,
  }
  const sentence = prettyFactory(common)
  const exchange = prettyFactory({ ...common, hideObject: true, messageFormat: summaryOf })
  return (lines) =>
    lines
      .split('\n')
      .filter((text) => text !== '')
      .map((text) => {
        const line = parsed(text)
        if (line === null) return `${text}\n`
        return `${(line.msg === 'exchange' ? exchange : sentence)(line).trimEnd()}\n`
      })
      .join('')
}

/** What a client or an app says must not paint the terminal, nor look like a line of its own. */
const CONTROLS = /\p{Cc}/gu

/** @returns null: it is none */
function parsed(text: string): Line | null {
  try {
    const line = JSON.parse(text) as Line
    const shown = (said: string | undefined) => said?.replace(CONTROLS, '·')
    return { ...line, msg: shown(line.msg), ...(line.path && { path: shown(line.path) }) }
  } catch {
    return null
  }
}

/** `GET /invoices 200 in 3.1 ms, invoices r42 blue, for 127.0.0.1`; behind that what is not so as a rule. */
function summaryOf(line: Line): string {
  const {
    method = '–',
    path = '',
    status = '–',
    duration_ms: took,
    held_ms: held,
    preview,
    service,
    release,
    slot,
    client,
    code,
  } = line
  const whose = [service, release, slot].filter((name) => name !== undefined).join(' ')
  const parts = [
    `${[method, path, status].filter((part) => part !== '').join(' ')} in ${took} ms`,
    ...(whose ? [whose] : []),
    ...(client ? [`for ${client}`] : []),
    ...(held ? [`held for ${held} ms`] : []),
    ...(preview ? ['a preview'] : []),
    ...(code ? [code] : []),
  ]
  return parts.join(', ')
}
