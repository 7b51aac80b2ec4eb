// What a run found: figures by work and proxy, for the targets and the overview, and a table for each work.

/** The figure of a work for a proxy: the smaller, the better. */
export class Figures {
  readonly #values = new Map<string, number>()

  set(work: string, proxy: string, value: number): void {
    this.#values.set(`${work} ${proxy}`, value)
  }

  /** @returns undefined where that was not measured */
  get(work: string, proxy: string): number | undefined {
    return this.#values.get(`${work} ${proxy}`)
  }
}

/** One table, and what is to be known of it. */
export interface Section {
  title: string
  /** How it was measured. */
  about: string
  columns: readonly string[]
  rows: readonly (readonly string[])[]
  /** Whether the columns are words rather than figures. */
  isText?: boolean
}

/** As Markdown, the columns padded, so that it can be read on a terminal, too. */
export function tableOf({ columns, rows, isText = false }: Omit<Section, 'title' | 'about'>): string {
  const all = [columns, ...rows]
  const widths = columns.map((_, at) => Math.max(...all.map((cells) => (cells[at] ?? '').length)))
  const isLeft = (at: number) => isText || at === 0
  const pad = (text: string, at: number) =>
    isLeft(at) ? text.padEnd(widths[at] ?? 0) : text.padStart(widths[at] ?? 0)
  const line = (cells: readonly string[]) =>
    `| ${widths.map((_, at) => pad(cells[at] ?? '', at)).join(' | ')} |`
  const rule = widths.map((width, at) => (isLeft(at) ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`))
  return [line(columns), `|${rule.join('|')}|`, ...rows.map(line)].join('\n')
}

const LINE_LENGTH = 150

/** A paragraph, broken anew. */
export function wrap(text: string): string {
  const lines: string[] = []
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1)
    if (line === undefined || line.length + word.length >= LINE_LENGTH) lines.push(word)
    else lines[lines.length - 1] = `${line} ${word}`
  }
  return lines.join('\n')
}
