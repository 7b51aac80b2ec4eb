// The differential between the relay and node:http, for as many cases as are asked for; the tests run a bounded number:
//
//   node bench/differential.ts [--cases 1000000] [--seed N]
//
// Prints what was compared. A case that fails is made as small as it gets, printed as a vector, and ends the run with 1.
import { parseArgs } from 'node:util'
import { Judge } from '../test/support/differential/judge.ts'
import { replay, runCases, VECTORS } from '../test/support/differential/run.ts'

/** Each batch has a seed of its own, one above that of the batch before. */
const BATCH = 20_000
const REQUESTS = 0.6

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
})
const cases = Number(values.cases)
const seed = Number(values.seed)
const judge = new Judge()
console.log(`differential: ${cases} cases, seed ${seed}`)
for (const vector of VECTORS) await replay(judge, vector)
const failure = await runAll()
if (failure) console.error(failure)
process.exitCode = failure ? 1 : 0
report()
judge.close()

async function runAll(): Promise<string | undefined> {
  let batch = seed
  for (let left = cases; left > 0; left -= BATCH, batch++) {
    const size = Math.min(BATCH, left)
    const requests = Math.round(size * REQUESTS)
    const failure =
      (await runCases(judge, { kind: 'requests', cases: requests, seed: batch })) ??
      (await runCases(judge, { kind: 'response', cases: size - requests, seed: batch }))
    if (failure) return failure
  }
  return undefined
}

function report(): void {
  const { refused, ...compared } = judge.tallies
  const { user, system } = process.cpuUsage()
  console.log(JSON.stringify({ ...compared, refused: Object.fromEntries(refused) }, undefined, 2))
  console.log(`${Math.round((user + system) / 1e6)} s of CPU, ${Math.round(performance.now() / 1e3)} s`)
}
