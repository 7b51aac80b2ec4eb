// Random numbers that a seed repeats, for tests that print their seed.

/** @returns a number from 0 up to, not including, 1 */
export type Random = () => number

/** The generator mulberry32: 32 bits of state, good enough to spread faults and sizes. */
export function randomOf(seed: number): Random {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** @returns an integer, both ends included */
export const between = (random: Random, least: number, most: number): number =>
  least + Math.floor(random() * (most - least + 1))

/** @returns an integer below 2 ** bits, small ones as likely as large ones: their logarithm is what is even */
export const magnitude = (random: Random, bits: number): number => Math.floor(2 ** (random() * bits))

/** @param weights how often each is drawn, relative to the others */
export function pick<Name extends string>(random: Random, weights: Readonly<Record<Name, number>>): Name {
  const entries = Object.entries<number>(weights) as [Name, number][]
  let left = random() * entries.reduce((sum, [, weight]) => sum + weight, 0)
  const found = entries.find(([, weight]) => {
    left -= weight
    return left < 0
  })
  return (found ?? entries[0] ?? raise('nothing to pick from'))[0]
}

function raise(message: string): never {
  throw new Error(message)
}
