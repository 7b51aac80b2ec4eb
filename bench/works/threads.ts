// What a second thread costs: the same work by one and by two, beside nginx with one worker and with two.
import { browserRequest, SMALL_BODY } from '../canned.ts'
import { runClosed } from '../load/closed.ts'
import { runOpen } from '../load/open.ts'
import type { Window } from '../load/window.ts'
import { PROXY_CORE, TWO_CORES } from '../machine.ts'
import type { ProxySetup } from '../proxies.ts'
import { type Entry, endAll, startAll } from '../start.ts'
import { median, short, whole } from '../stats.ts'
import { microsEach } from './cost.ts'
import { PER_SECOND } from './latency.ts'
import { byTurns, type Task, type Work } from './work.ts'

/** Those that can serve with a number of threads of our choice. */
const THREADED = ['nginx', 'slotgate']
const THREADS_TO_TRY = [1, 2]
const CONNECTIONS = 64

const REQUEST = {
  request: browserRequest('GET', '/small'),
  bodyBytes: SMALL_BODY.length,
  connectsEach: false,
}

/** The two ways in which they are compared. */
const KINDS = [
  {
    title: `${whole(PER_SECOND)}/s, a core for each`,
    cores: TWO_CORES,
    run: async (port: number, window: Window) =>
      microsEach(await runOpen({ ...REQUEST, port, perSecond: PER_SECOND }, window)),
  },
  {
    title: 'kept busy, on one core',
    cores: PROXY_CORE,
    run: async (port: number, window: Window) =>
      microsEach(await runClosed({ ...REQUEST, port, connections: CONNECTIONS }, window)),
  },
] as const

type Kind = (typeof KINDS)[number]

/** The comparison that counts: the threads have cores of their own, as they are meant to. */
export const COMPARED = workOf(KINDS[0])

export const THREADS: Work = { name: 'threads', run }

async function run(task: Task) {
  const taking = task.proxies.filter(({ name }) => THREADED.includes(name))
  if (taking.length === 0) return null
  for (const kind of KINDS) await compare(kind, taking, task)
  const names = taking.flatMap((proxy) => THREADS_TO_TRY.map((threads) => nameOf(proxy, threads)))
  return {
    title: 'One thread and two',
    about: `CPU per small GET. ${whole(PER_SECOND)} requests come each second at random moments, one thread having a core to itself and a second
one the core of the load; then all threads are on one core, with ${CONNECTIONS} connections that never rest.`,
    columns: ['threads', ...KINDS.map(({ title }) => title)],
    rows: names.map((name) => [name, ...KINDS.map((kind) => cellOf(task.figures.get(workOf(kind), name)))]),
  }
}

const cellOf = (micros: number | undefined): string =>
  micros === undefined ? 'failed' : `${short(micros)} µs`

async function compare(
  kind: Kind,
  proxies: readonly ProxySetup[],
  { ground, pace, figures }: Task,
): Promise<void> {
  const entries = proxies.flatMap((proxy) =>
    THREADS_TO_TRY.map((threads) => entryOf(proxy, threads, kind.cores)),
  )
  const lineup = await startAll(entries, ground)
  try {
    const measured = await byTurns(lineup.running, pace, ({ port, pids }, window) =>
      kind.run(port, { pids, ...window }),
    )
    for (const [name, rounds] of measured) figures.set(workOf(kind), name, median(rounds))
  } finally {
    await endAll(lineup)
  }
}

function workOf({ title }: Kind): string {
  return `threads ${title}`
}

const nameOf = ({ name }: ProxySetup, threads: number): string => `${name} ${threads}`

const entryOf = (proxy: ProxySetup, threads: number, cores: string): Entry => ({
  name: nameOf(proxy, threads),
  proxy,
  options: { threads, cores: threads === 1 ? PROXY_CORE : cores },
})
