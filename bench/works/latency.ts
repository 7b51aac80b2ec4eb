// How long a request takes at a rate that every proxy can carry, and what it costs then.
import { browserRequest, SMALL_BODY } from '../canned.ts'
import { type OpenMeasured, runOpen } from '../load/open.ts'
import { endAll, failureOf, type Lineup, startAll } from '../start.ts'
import { median, quantile, short, whole } from '../stats.ts'
import { microsEach } from './cost.ts'
import { byTurns, entriesOf, type Task, type Work } from './work.ts'

export const PER_SECOND = 5000
/** What stands in the tables where the load goes to the app itself. */
const DIRECT = 'no proxy'
const RANKS = [0.5, 0.99, 0.999] as const
/** A thousandth of what arrives should be more than a handful. */
const LONGER = 3

const REQUEST = {
  request: browserRequest('GET', '/small'),
  bodyBytes: SMALL_BODY.length,
  connectsEach: false,
  perSecond: PER_SECOND,
}

export const LATENCY: Work = { name: 'latency', run }

async function run({ ground, proxies, pace, isQuick, figures }: Task) {
  const taking = proxies.filter(({ isVariant }) => !isVariant)
  if (taking.length === 0) return null
  const lineup = await startAll(entriesOf(taking), ground)
  try {
    const direct = { name: DIRECT, port: ground.backend.port, pids: ground.backendPids }
    const longer = isQuick ? pace : { ...pace, measureMs: pace.measureMs * LONGER }
    const measured = await byTurns([direct, ...lineup.running], longer, ({ port, pids }, window) =>
      runOpen({ ...REQUEST, port }, { pids, ...window }),
    )
    for (const [name, rounds] of measured) {
      figures.set('latency p99', name, rankOf(rounds, 0.99))
      figures.set('latency p99.9', name, rankOf(rounds, 0.999))
    }
    return {
      title: `Latency at ${whole(PER_SECOND)} requests/s`,
      about: `Small GETs at random moments, an open load: latency counts from the moment a request was due, whether or not it
could be sent then. *Late* is the load's own part of it, the same for all; it brings ratios a little nearer to 1.`,
      columns: ['', ...RANKS.map((rank) => `p${rank * 100}`), 'late p50', 'p99', 'CPU per request', 'failed'],
      rows: [DIRECT, ...taking.map(({ name }) => name)].map((name) =>
        rowOf(name, measured.get(name), lineup),
      ),
    }
  } finally {
    await endAll(lineup)
  }
}

const rankOf = (rounds: readonly OpenMeasured[], rank: number): number =>
  median(rounds.map(({ latenciesMs }) => quantile(latenciesMs, rank)))

function rowOf(name: string, rounds: readonly OpenMeasured[] | undefined, { failed }: Lineup): string[] {
  if (!rounds) return [name, failureOf(name, failed)]
  const micros = rounds.map(microsEach)
  const late = (rank: number) => median(rounds.map(({ lateMs }) => quantile(lateMs, rank)))
  return [
    name,
    ...RANKS.map((rank) => `${short(rankOf(rounds, rank))} ms`),
    short(late(0.5)),
    short(late(0.99)),
    name === DIRECT ? '' : `${short(median(micros))} µs`,
    whole(rounds.reduce((sum, { failed, unanswered }) => sum + failed + unanswered, 0)),
  ]
}
