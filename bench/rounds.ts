// Starts the proxies of one work side by side, feeds them in rounds, one proxy after the other, and ends them again.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Child } from './children.ts'
import { type Measured, runClosed, type Window } from './load/closed.ts'
import { PROXY_CORE } from './machine.ts'
import { freePort, isAccepting } from './ports.ts'
import type { BackendPorts, ProxySetup } from './proxies.ts'
import { membersOf } from './usage.ts'
import type { Work } from './works.ts'

/** What all the proxies of a run share. */
export interface Ground {
  folder: string
  backend: BackendPorts
}

/** A proxy that answers. */
export interface Running {
  proxy: ProxySetup
  port: number
  child: Child
  /** All of its processes. */
  pids: readonly number[]
}

export interface Pace {
  rounds: number
  /** Before the first round, so that what is compiled while it runs is compiled. */
  firstWarmMs: number
  warmMs: number
  measureMs: number
}

const ANSWERS_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 20
let started = 0

/** @throws Error when it does not listen in time */
export async function startProxy(
  proxy: ProxySetup,
  { folder, backend }: Ground,
  threads = 1,
): Promise<Running> {
  started += 1
  const own = join(folder, `${started}-${proxy.name.replace('/', '-')}`)
  mkdirSync(own)
  const port = await freePort()
  const child = await proxy.start({ folder: own, port, backend, cores: PROXY_CORE, threads })
  for (const end = performance.now() + ANSWERS_WITHIN_MS; !(await isAccepting(port)); ) {
    if (child.hasExited() || performance.now() > end) {
      await child.end()
      throw new Error(`${proxy.name} does not listen`)
    }
    await pause(LOOK_AGAIN_MS)
  }
  return { proxy, port, child, pids: membersOf(child.pid) }
}

/** Rounds of all proxies by turns: what disturbs the machine for a while disturbs them all. */
export async function measureWork(
  work: Work,
  proxies: readonly Running[],
  pace: Pace,
): Promise<Map<string, Measured[]>> {
  const results = new Map(proxies.map(({ proxy }) => [proxy.name, [] as Measured[]]))
  for (let round = 0; round < pace.rounds; round++) {
    const warmMs = round === 0 ? pace.firstWarmMs : pace.warmMs
    for (const running of proxies) {
      const window: Window = { pids: running.pids, warmMs, measureMs: pace.measureMs }
      results.get(running.proxy.name)?.push(await runClosed({ ...work.load, port: running.port }, window))
    }
  }
  return results
}
