// A thread that tells another when a request is due: timers of an event loop are only good to a millisecond, and
// looking at the clock all the time would take the core from the app.
import { parentPort, workerData } from 'node:worker_threads'
import { clockMs } from '../clock.ts'

export interface Schedule {
  /** By the common clock, in rising order. */
  dueMs: Float64Array
}

const { dueMs } = workerData as Schedule
const sleeper = new Int32Array(new SharedArrayBuffer(4))

for (let next = 0; next < dueMs.length; ) {
  const waitMs = (dueMs[next] ?? 0) - clockMs()
  // The kernel wakes a sleeper some fifty microseconds late; what is due so soon is as good as due.
  if (waitMs > 0.02) Atomics.wait(sleeper, 0, 0, waitMs)
  const nowMs = clockMs()
  while (next < dueMs.length && (dueMs[next] ?? 0) <= nowMs + 0.02) next += 1
  parentPort?.postMessage(next)
}
