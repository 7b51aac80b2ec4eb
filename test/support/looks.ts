// What a test waits for: looked for at once, and again whenever something has come.
export class Looks {
  readonly #looks = new Set<() => void>()

  /** Something has come. */
  again(): void {
    for (const look of this.#looks) look()
  }

  /** Resolves with what is found, now or later. */
  until<Found>(find: () => Found | undefined): Promise<Found> {
    const { promise, resolve } = Promise.withResolvers<Found>()
    const look = () => {
      const found = find()
      if (found === undefined) return
      this.#looks.delete(look)
      resolve(found)
    }
    this.#looks.add(look)
    look()
    return promise
  }
}
