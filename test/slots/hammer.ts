// A thread that claims and releases as fast as it can, and counts claims it got in a generation already drained.
import { parentPort, workerData } from 'node:worker_threads'
import { openTable } from '../../src/slots/table.ts'

const { buffer, retired, entered, layout, worker } = workerData
const table = openTable(buffer, layout)
const drained = new Uint8Array(retired)
const made = new Uint32Array(entered)
let claims = 0
let lost = 0
parentPort?.postMessage('ready')
while (Atomics.load(drained, 0) === 0) {
  const claim = table.claim(0, worker)
  if (typeof claim === 'string') continue
  claims += 1
  Atomics.add(made, 0, 1)
  if (Atomics.load(drained, claim.generation) === 1) lost += 1
  table.release(claim, worker)
}
parentPort?.postMessage({ claims, lost })
