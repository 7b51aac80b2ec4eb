// The machine of a run: who gets which core, and what a reader has to know of it.
import { execFileSync, spawnSync } from 'node:child_process'
import { availableParallelism, cpus, loadavg, release } from 'node:os'

/** The proxy has a core to itself; the load and the app share another. */
export const PROXY_CORE = '0'
export const LOAD_CORE = '1'
/** For two threads: a core each. Of two cores, the second one is that of the load. */
export const TWO_CORES = availableParallelism() > 2 ? '0,2' : '0,1'

/** Moves this process, and what it will start, to a core. @throws Error where there are fewer than two */
export function pinSelf(core: string): void {
  if (availableParallelism() < 2) throw new Error('the bench needs two cores: one is for the proxy alone')
  if (spawnSync('taskset', ['--version']).error)
    throw new Error('the bench needs taskset: apt-get install util-linux')
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', core, String(process.pid)], {
    stdio: 'ignore',
  })
}

/** One line: processor, cores, kernel. */
export function machineLine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor'
  return `${cpus().length} × ${model}, ${process.platform} ${release()} ${process.arch}`
}

/** How many files a process of this user may have open. */
export function openFilesLimit(): number {
  const limit = execFileSync('sh', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
  return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit)
}

/** For what is measured with everything at once. */
export const ALL_CORES = `0-${availableParallelism() - 1}`

const QUIET_LOAD = 0.7
const loadAtStart = loadavg()[0] ?? 0

/** How many processes wanted a core in the minute before. */
export const loadLine = (): string => `load average before ${loadAtStart.toFixed(2)}`

/** Others who use the machine make latencies long and costs a little higher. */
export function warnIfBusy(): void {
  if (loadAtStart <= QUIET_LOAD) return
  console.error(`The machine is busy (${loadLine()}): latencies and switches will look worse than they are.`)
}
