// Switches between releases that slotgate boots, under a load of everything that a browser does; a process of its own:
// node mixed.ts SWITCHES. Its last line on stdout is what it found, as JSON.
import { type Flip, switchOften, violations } from '../test/support/flips.ts'
import { Load, type Sample } from '../test/support/load.ts'
import { World } from '../test/support/world.ts'
import { cpuTimeOf } from './usage.ts'

/** What the bench is told. */
export interface MixedResult {
  flips: readonly Flip[]
  samples: number
  /** Of GET and POST, from the moment a request was due. */
  quickMs: number[]
  /** One line for each request that failed, or was answered by a release that had left. */
  wrong: string[]
  tookMs: number
  /** What slotgate's own process used, in CPU milliseconds. */
  cpuMs: number
}

async function measure(scope: Parameters<typeof World.create>[0], count: number): Promise<MixedResult> {
  const world = await World.create(scope)
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const { pid } = await world.spawn(scope)
  await world.deploy('r42')
  await world.deploy('r43')
  const load = new Load(world.url)
  const [startedMs, cpuBefore] = [performance.now(), cpuTimeOf([pid])]
  load.start()
  const flips = await switchOften(world, count)
  const samples = await load.stop()
  return {
    flips,
    samples: samples.length,
    quickMs: quickOf(samples),
    wrong: violations(samples, flips),
    tookMs: performance.now() - startedMs,
    cpuMs: (cpuTimeOf([pid]).totalNs - cpuBefore.totalNs) / 1e6,
  }
}

const quickOf = (samples: readonly Sample[]): number[] =>
  samples.filter(({ kind }) => /^(get|post)/.test(kind)).map(({ tookMs }) => tookMs)

if (import.meta.main) {
  /** What a test would tear down. */
  const undo: (() => unknown)[] = []
  const scope = { teardown: (step?: () => unknown) => void (step && undo.push(step)) }
  try {
    console.log(JSON.stringify(await measure(scope, Number(process.argv[2]))))
  } finally {
    for (const step of undo.reverse()) await step()
  }
}
