// Preloaded into slotgate, main thread and workers: upon SIGUSR2 every thread collects its garbage, and the main thread
// writes what is left into the file $SOAK_MEMORY.
import { renameSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { BroadcastChannel, isMainThread } from 'node:worker_threads'

/** What one collection found, in bytes over all threads. */
export interface Collected {
  /** Counts the collections. */
  count: number
  heapUsed: number
  /** Outside of the heap, buffers included. */
  external: number
}

type Message = { ask: number } | { answer: number; heapUsed: number; external: number }

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')
const channel = new BroadcastChannel('soak')
channel.unref()

/** Twice: what was only reachable by something with a finalizer goes with the second. */
function measure(): { heapUsed: number; external: number } {
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return { heapUsed, external }
}

if (isMainThread) collectAll()
else {
  channel.onmessage = ({ data }: { data: Message }) => {
    if ('ask' in data) channel.postMessage({ answer: data.ask, ...measure() } satisfies Message)
  }
}

/** The workers answer one after the other; each answer writes the sum anew, and the last one stands. */
function collectAll(): void {
  const file = process.env.SOAK_MEMORY ?? ''
  let sum: Collected = { count: 0, heapUsed: 0, external: 0 }
  const add = ({ heapUsed, external }: { heapUsed: number; external: number }) => {
    sum = { ...sum, heapUsed: sum.heapUsed + heapUsed, external: sum.external + external }
    writeFileSync(`${file}.new`, JSON.stringify(sum))
    renameSync(`${file}.new`, file)
  }
  process.on('SIGUSR2', () => {
    sum = { count: sum.count + 1, heapUsed: 0, external: 0 }
    channel.postMessage({ ask: sum.count } satisfies Message)
    add(measure())
  })
  channel.onmessage = ({ data }: { data: Message }) => {
    if ('answer' in data && data.answer === sum.count) add(data)
  }
}
