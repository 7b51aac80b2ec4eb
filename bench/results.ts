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
}

/** As Markdown, the columns padded, so that it can be read on a terminal, too. */
export function tableOf({ columns, rows }: Pick<Section, 'columns' | 'rows'>): string {
  const all = [columns, ...rows]
  const widths = columns.map((_, at) => Math.max(...all.map((cells) => (cells[at] ?? '').length)))
  const line = (cells: readonly string[]) =>
    `| ${widths.map((width, at) => (at === 0 ? (cells[at] ?? '').padEnd(width) : (cells[at] ?? '').padStart(width))).join(' | ')} |`
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(columns), rule, ...rows.map(line)].join('\n')
}
