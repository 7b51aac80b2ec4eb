// The machine of a run: who gets which core, and what a reader has to know of it.
import { execFileSync, spawnSync } from 'node:child_process'
import { availableParallelism, cpus, release } from 'node:os'

/** The proxy has a core to itself; the load and the app share another. */
export const PROXY_CORE = '0'
export const LOAD_CORE = '1'
/** Where two threads serve, the second one takes its part of the core of the load. */
export const BOTH_CORES = '0,1'

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
