// What slotgate is to reach, in ratios within one run, and whether it did.
import { type Figures, tableOf } from './results.ts'
import { short, whole } from './stats.ts'
import { COMPARED } from './works/threads.ts'

interface Target {
  work: string
  toReach: string
  /** @returns what was found and whether it is enough; null where that was not measured */
  judge(figures: Figures): { found: string; isReached: boolean } | null
}

/** At most so many times what the peers need. */
function ratio(work: string, title: string, limits: Readonly<Record<string, number>>): Target {
  const names = Object.keys(limits)
  return {
    work: title,
    toReach: names.map((name) => `≤ ${limits[name]} × ${name}`).join(', '),
    judge(figures) {
      const own = figures.get(work, 'slotgate')
      const peers = names.map((name) => ({ name, value: figures.get(work, name) }))
      if (own === undefined || peers.some(({ value }) => value === undefined)) return null
      const found = peers.map(({ name, value = Number.NaN }) => ({ name, ratio: own / value }))
      return {
        found: found.map(({ name, ratio }) => `${ratio.toFixed(2)} × ${name}`).join(', '),
        isReached: found.every(({ name, ratio }) => ratio <= (limits[name] ?? 0)),
      }
    },
  }
}

const IDLE_KIB = 4
const FLIP_MS = 5
const THREADS_FACTOR = 1.1
const REQUESTS = 1_000_000
const SWITCHES = 200

const TARGETS: readonly Target[] = [
  ratio('small-get', 'CPU per small GET', { nginx: 1.2, 'http-proxy': 0.25 }),
  ratio('chunked', 'the same, chunked response', { nginx: 1.3 }),
  ratio('down', 'CPU per MiB down', { nginx: 0.8, 'http-proxy': 0.5 }),
  ratio('up', 'CPU per MiB up', { nginx: 0.8, 'http-proxy': 0.5 }),
  ratio('latency p99', 'p99 at 5,000/s', { nginx: 2 }),
  ratio('latency p99.9', 'p99.9 at 5,000/s', { nginx: 3 }),
  {
    work: 'memory per idle connection',
    toReach: `≤ ${IDLE_KIB} KiB`,
    judge(figures) {
      const own = figures.get('idle', 'slotgate')
      return own === undefined ? null : { found: `${short(own)} KiB`, isReached: own <= IDLE_KIB }
    },
  },
  {
    work: 'CPU per request with 2 threads',
    toReach: `≤ ${THREADS_FACTOR} × 1 thread`,
    judge(figures) {
      const [one, two] = [1, 2].map((threads) => figures.get(COMPARED, `slotgate ${threads}`))
      if (one === undefined || two === undefined) return null
      return { found: `${(two / one).toFixed(2)} × 1 thread`, isReached: two / one <= THREADS_FACTOR }
    },
  },
  {
    work: "flip: call to first request on the new slot, without the gate's own reads",
    toReach: `p99 ≤ ${FLIP_MS} ms`,
    judge(figures) {
      const own = figures.get('flips p99', 'slotgate')
      return own === undefined ? null : { found: `${short(own)} ms`, isReached: own <= FLIP_MS }
    },
  },
  {
    work: 'failed requests while switching',
    toReach: `0 of ≥ ${whole(REQUESTS)}, over ≥ ${SWITCHES} switches`,
    judge(figures) {
      const [failed, requests, switches] = ['failed', 'requests', 'count'].map((what) =>
        figures.get(`flips ${what}`, 'slotgate'),
      )
      if (failed === undefined || requests === undefined || switches === undefined) return null
      const isEnough = requests >= REQUESTS && switches >= SWITCHES
      return {
        found: `${whole(failed)} of ${whole(requests)}, over ${switches} switches`,
        isReached: failed === 0 && isEnough,
      }
    },
  },
]

/** The targets of which something was measured; `''` if of none. */
export function targetTable(figures: Figures): string {
  const rows = TARGETS.flatMap(({ work, toReach, judge }) => {
    const judged = judge(figures)
    return judged ? [[work, toReach, judged.found, judged.isReached ? 'reached' : '**not reached**']] : []
  })
  return rows.length === 0 ? '' : tableOf({ columns: ['work', 'to reach', 'found', ''], rows, isText: true })
}
