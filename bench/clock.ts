// One clock for all processes and threads of the bench, so that what one of them notes can be set against another's.

/** Milliseconds since the machine was started, with fractions. `performance.now()` counts from the start of a thread. */
export function clockMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e3 + nanoseconds / 1e6
}
