// Guesses what a mistyped name was meant to be.

/** How many letters to add, drop, change or swap with a neighbour to get from one word to the other (Damerau-Levenshtein). */
function distance(from: string, to: string): number {
  const rows: number[][] = [Array.from({ length: to.length + 1 }, (_, column) => column)]
  const at = (row: number, column: number) => rows[row]?.[column] ?? Number.POSITIVE_INFINITY
  for (let row = 1; row <= from.length; row++) {
    const cells = [row]
    rows.push(cells)
    for (let column = 1; column <= to.length; column++) {
      const isSame = from[row - 1] === to[column - 1]
      const isSwapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      cells[column] = Math.min(
        at(row - 1, column - 1) + (isSame ? 0 : 1),
        at(row - 1, column) + 1,
        at(row, column - 1) + 1,
        isSwapped ? at(row - 2, column - 2) + 1 : Number.POSITIVE_INFINITY,
      )
    }
  }
  return at(from.length, to.length)
}

const simplify = (name: string): string => name.toLowerCase().replace(/[-_]/g, '')

/** Longer than any name of ours; a guess about more text than this is no help and takes time. */
const MAX_LETTERS = 40

/**
 * @returns the known name nearest to the given one; undefined if none is near enough to be worth a guess. Case,
 * dashes and underscores do not count: `pathPrefix` is as good as `path_prefix`.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_LETTERS) return undefined
  const wanted = simplify(name)
  const ranked = known
    .map((candidate) => ({ candidate, far: distance(wanted, simplify(candidate)) }))
    .sort((a, b) => a.far - b.far)
  const [best] = ranked
  return best && best.far <= Math.max(1, Math.floor(wanted.length / 3)) ? best.candidate : undefined
}
