// Random runs of everything that may happen to a switch, held against a model; the tests run a bounded number:
//
//   node bench/model.ts [--runs 2000] [--seed N]
//
// Prints the seed and how often each answer was seen. A run that fails is made as short as it gets, printed, and ends with 1.
import { parseArgs } from 'node:util'
import { outcomes, runModel } from '../test/support/model/commands.ts'

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    path: { type: 'string' },
  },
})
const { path } = values
const [runs, seed] = [Number(values.runs), Number(values.seed)]
console.log(`model: ${runs} runs, seed ${seed}`)
const failure = await runModel({ runs, seed, ...(path !== undefined && { path }) })
if (failure) console.error(failure)
process.exitCode = failure ? 1 : 0
const seen = [...outcomes].sort(([, one], [, other]) => other - one)
console.log(seen.map(([code, count]) => `${code} ${count}`).join(' · '))
console.log(`${Math.round(performance.now() / 1000)} s`)
