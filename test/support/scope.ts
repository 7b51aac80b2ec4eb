// What the helpers of tests need of a test: to be told when it ends.

/** Anything that runs things at its end: tap's `t`, or what stands for it outside of tests. */
export interface Scope {
  teardown(stop: () => unknown): void
}
