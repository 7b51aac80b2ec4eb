// Random runs of everything that may happen to a switch, held against a model after every step. `node bench/model.ts` does
// thousands; MODEL_SEED and MODEL_RUNS repeat or lengthen these.
import t from 'tap'
import { outcomes, runModel } from '../support/model/commands.ts'

const SEED = Number(process.env.MODEL_SEED ?? Date.now() % 1_000_000)
const RUNS = Number(process.env.MODEL_RUNS ?? 24)

t.test('whatever happens in whatever order, the invariants hold and the model is right', async (t) => {
  t.comment(`MODEL_SEED=${SEED}`)
  t.equal(await runModel({ runs: RUNS, seed: SEED }), null)
  t.ok(outcomes.has('deploy: ok'), 'something went live')
})
