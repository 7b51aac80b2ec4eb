// What a client costs who is connected and silent.
import { browserRequest } from '../canned.ts'
import { runIdle } from '../load/idle.ts'
import { openFilesLimit } from '../machine.ts'
import { firstLineOf, startProxy } from '../start.ts'
import { median, short, whole } from '../stats.ts'
import type { Task, Work } from './work.ts'

const CONNECTIONS = 5000
const QUICK_CONNECTIONS = 2000
const SETTLE_MS = 2000
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
process, after a first few clients. What a proxy takes at its start for connections to come is not in it (nginx: 424 bytes for each of its
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
      const measured = await runIdle({ port, request, connections, pids, settleMs }).finally(() =>
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
