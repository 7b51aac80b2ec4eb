// Guesses what a mistyped name was meant to be.

/** The number of letters to add, drop or change to get from one word to the other (Levenshtein). */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1]
    for (let column = 0; column < to.length; column++) {
      const changed = (row[column] ?? 0) + (letter === to[column] ? 0 : 1)
      next.push(Math.min(changed, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
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
