// Colour and alignment: only for a terminal, and never where NO_COLOR is set (https://no-color.org).
import { stripVTControlCharacters } from 'node:util'
import type { Call, Sink } from './call.ts'

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const

export type Style = Record<keyof typeof CODES, (text: string) => string>

const plain: Style = { bold: String, dim: String, red: String, green: String, yellow: String }

const paint = (code: number) => (text: string) => `\x1b[${code}m${text}\x1b[0m`

const coloured: Style = {
  bold: paint(CODES.bold),
  dim: paint(CODES.dim),
  red: paint(CODES.red),
  green: paint(CODES.green),
  yellow: paint(CODES.yellow),
}

export const styleFor = (sink: Sink, env: Call['env']): Style =>
  sink.isTTY && !env.NO_COLOR ? coloured : plain

const width = (text: string): number => [...stripVTControlCharacters(text)].length

/** @returns one line per row, each column as wide as its widest cell */
export function columns(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const count = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: count }, (_, column) =>
    Math.max(...rows.map((row) => width(row[column] ?? ''))),
  )
  const pad = (cell: string, column: number) => cell + ' '.repeat((widths[column] ?? 0) - width(cell))
  return rows.map((row) => row.map(pad).join(gap).trimEnd())
}

/**
 * What others wrote (an app's output, a sentence with an app's words in it) must not drive the terminal.
 *
 * @returns the text without control characters, line breaks included
 */
export const tame = (text: string): string => stripVTControlCharacters(text).replace(/\p{Cc}+/gu, ' ')

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
] as const

/** @returns a time span a person reads at a glance: `3 h`, `12 s` */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const [unit, size] = UNITS.find(([, unitSeconds]) => seconds >= unitSeconds) ?? ['s', 1]
  return `${Math.floor(seconds / size)} ${unit}`
}

/** @returns `1 request`, `2 requests` */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
