// What a client costs who is connected and silent.
import { browserRequest, SMALL_BODY } from '../canned.ts'
import { runClosed } from '../load/closed.ts'
import { AT_ONCE, type IdleLoad, type IdleMeasured, runIdle } from '../load/idle.ts'
import { openFilesLimit } from '../machine.ts'
import { firstLineOf, startProxy } from '../start.ts'
import { median, short, whole } from '../stats.ts'
import type { Task, Work } from './work.ts'

const CONNECTIONS = 5000
const QUICK_CONNECTIONS = 2000
/** How long the process carries a load before. */
const CARRY_MS = 1000
const SETTLE_MS = 1500
const QUICK_SETTLE_MS = 500
/** What else a process has open. */
const OTHER_FILES = 500
const KIBIBYTE = 1024

export const IDLE: Work = { name: 'idle', run }

async function run(task: Task) {
  const taking = task.proxies.filter(({ isVariant }) => !isVariant)
  if (taking.length === 0) return null
  const connections = Math.min(task.isQuick ? QUICK_CONNECTIONS : CONNECTIONS, openFilesLimit() - OTHER_FILES)
  const rows: string[][] = []
  for (const proxy of taking) rows.push(await rowOf(proxy, connections, task))
  return {
    title: `${whole(connections)} idle connections`,
    about: `Memory that ${whole(connections)} clients take who were answered once and stay connected, divided by them; each time with a fresh
process that has carried a load for a moment, so that what it needs for any number of clients is there before. What a proxy takes at its start for connections to come is not in it (nginx: 424 bytes for each of its
\`worker_connections\`). Memory is PSS, all processes together.`,
    columns: ['', 'memory per connection', 'lowest–highest', 'still open'],
    rows,
  }
}

async function rowOf(
  proxy: Task['proxies'][number],
  connections: number,
  { ground, pace, isQuick, figures }: Task,
) {
  const settleMs = isQuick ? QUICK_SETTLE_MS : SETTLE_MS
  const sizes: number[] = []
  let open = 0
  try {
    for (let round = 0; round < Math.min(pace.rounds, 3); round++) {
      const { port, pids, child } = await startProxy(proxy, ground)
      const request = browserRequest('GET', '/small')
      const measured = await measure({ port, request, connections, pids, settleMs }).finally(() =>
        child.end(),
      )
      sizes.push(measured.bytesPerConnection / KIBIBYTE)
      open = measured.open
    }
  } catch (error) {
    console.error(`${proxy.name} failed: ${(error as Error).message}`)
    return [proxy.name, `failed: ${firstLineOf((error as Error).message)}`]
  }
  figures.set('idle', proxy.name, median(sizes))
  return [
    proxy.name,
    `${short(median(sizes))} KiB`,
    `${short(Math.min(...sizes))}–${short(Math.max(...sizes))}`,
    whole(open),
  ]
}

async function measure(load: IdleLoad): Promise<IdleMeasured> {
  const { port, request, pids } = load
  const carried = { port, request, bodyBytes: SMALL_BODY.length, connections: AT_ONCE, connectsEach: false }
  await runClosed(carried, { pids, warmMs: 0, measureMs: CARRY_MS })
  return runIdle(load)
}
