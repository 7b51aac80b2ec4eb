// What a request costs a proxy that is kept busy: closed loads of six kinds, and WebSockets.
import { browserRequest, JSON_BODY, LARGE_BODY, SMALL_BODY, TAKEN } from '../canned.ts'
import { type ClosedLoad, runClosed } from '../load/closed.ts'
import { runEcho } from '../load/echo.ts'
import type { Measured, Window } from '../load/window.ts'
import { endAll, failureOf, type Lineup, startAll } from '../start.ts'
import { median, short, whole } from '../stats.ts'
import { byTurns, entriesOf, type Task, type Work } from './work.ts'

interface Cost {
  name: string
  title: string
  about: string
  /** More rounds than the others have. */
  moreRounds?: number
  /** Whether those with an access log are measured, too. */
  withLogs?: boolean
  load(port: number, window: Window): Promise<Measured>
}

const CONNECTIONS = 64
/** Few, so that their bodies do not fill the caches by being many. */
const LARGE_CONNECTIONS = 8
const MESSAGE = Buffer.from('so far, so good; and what is said here is sixty-four bytes long.')

const costs: readonly Cost[] = [
  {
    name: 'small-get',
    title: 'Small GET',
    about: `${CONNECTIONS} connections, a head of 15 fields as a browser sends it, 300 bytes back.`,
    moreRounds: 2,
    withLogs: true,
    ...closed(browserRequest('GET', '/small'), SMALL_BODY),
  },
  {
    name: 'chunked',
    title: 'Small GET, chunked response',
    about: 'The same, with the response in three chunks, written at once.',
    ...closed(browserRequest('GET', '/chunked'), SMALL_BODY),
  },
  {
    name: 'down',
    title: '1 MiB down',
    about: `${LARGE_CONNECTIONS} connections; a request is a MiB.`,
    ...closed(browserRequest('GET', '/large'), LARGE_BODY, { connections: LARGE_CONNECTIONS }),
  },
  {
    name: 'up',
    title: '1 MiB up',
    about: `${LARGE_CONNECTIONS} connections; a request is a MiB.`,
    ...closed(browserRequest('POST', '/take', { body: LARGE_BODY }), TAKEN, {
      connections: LARGE_CONNECTIONS,
    }),
  },
  {
    name: 'json-post',
    title: '32 KiB JSON POST',
    about: `${CONNECTIONS} connections.`,
    ...closed(browserRequest('POST', '/take', { body: JSON_BODY }), TAKEN),
  },
  {
    name: 'new-connection',
    title: 'Small GET, each on a new connection',
    about: `${CONNECTIONS} at a time; connections to the app are kept where a proxy keeps them.`,
    ...closed(browserRequest('GET', '/small', { connection: 'close' }), SMALL_BODY, { connectsEach: true }),
  },
  {
    name: 'web-socket',
    title: 'WebSocket echo',
    about: `${CONNECTIONS} WebSockets, messages of ${MESSAGE.length} bytes; a request is a message there and back.`,
    load: (port, window) => runEcho({ port, connections: CONNECTIONS, message: MESSAGE }, window),
  },
]

function closed(request: Buffer, answer: Buffer, more: Partial<ClosedLoad> = {}): Pick<Cost, 'load'> {
  const load = { request, bodyBytes: answer.length, connections: CONNECTIONS, connectsEach: false, ...more }
  return { load: (port, window) => runClosed({ ...load, port }, window) }
}

export const COSTS: readonly Work[] = costs.map((cost) => ({
  name: cost.name,
  run: (task) => measure(cost, task),
}))

/** What the overview calls them. */
export const TITLES = new Map(costs.map(({ name, title }) => [name, title]))

const COLUMNS = [
  '',
  'CPU per request',
  'user',
  'system',
  'lowest–highest',
  'requests/s',
  'core busy',
  'failed',
]

async function measure(cost: Cost, { ground, proxies, pace, isQuick, figures }: Task) {
  const taking = proxies.filter(({ isVariant }) => cost.withLogs || !isVariant)
  if (taking.length === 0) return null
  const lineup = await startAll(entriesOf(taking), ground)
  try {
    const rounds = pace.rounds + (isQuick ? 0 : (cost.moreRounds ?? 0))
    const measured = await byTurns(lineup.running, { ...pace, rounds }, ({ port, pids }, window) =>
      cost.load(port, { pids, ...window }),
    )
    const rows = taking.map((proxy) => rowOf(proxy.name, measured.get(proxy.name), lineup))
    for (const [name, results] of measured) figures.set(cost.name, name, median(results.map(microsEach)))
    return { title: cost.title, about: cost.about, columns: COLUMNS, rows }
  } finally {
    await endAll(lineup)
  }
}

export const microsEach = ({ cpu, answered }: Pick<Measured, 'cpu' | 'answered'>): number =>
  cpu.totalNs / 1000 / answered

function rowOf(name: string, results: readonly Measured[] | undefined, { failed }: Lineup): string[] {
  if (!results) return [name, failureOf(name, failed)]
  const micros = results.map(microsEach)
  const user = median(results.map(({ cpu }) => cpu.userTicks / (cpu.userTicks + cpu.systemTicks)))
  const busy = median(results.map(({ cpu, tookMs }) => cpu.totalNs / 1e6 / tookMs))
  return [
    name,
    `${short(median(micros))} µs`,
    short(median(micros) * user),
    short(median(micros) * (1 - user)),
    `${short(Math.min(...micros))}–${short(Math.max(...micros))}`,
    whole(median(results.map(({ answered, tookMs }) => (answered * 1000) / tookMs))),
    `${whole(busy * 100)} %`,
    whole(results.reduce((sum, { failed }) => sum + failed, 0)),
  ]
}
