// `npm run bench`: 200 switches under load. Correctness first: exits with 1 if one request failed or was answered by a
// release that had left. Then the figures, on the terminal and in docs/benchmarks.md.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus } from 'node:os'
import { type Flip, quantile, switchOften, violations } from '../test/support/flips.ts'
import { KINDS, Load, MIX, type Sample } from '../test/support/load.ts'
import { World } from '../test/support/world.ts'

const FLIPS = 200
const RANKS = [0.5, 0.99, 0.999]
const REPORT = new URL('../docs/benchmarks.md', import.meta.url)

/** What a test would tear down. */
const undo: (() => unknown)[] = []
const scope = { teardown: (step?: () => unknown) => void (step && undo.push(step)) }
try {
  const measured = await measure(await World.create(scope))
  const wrong = violations(measured.samples, measured.flips)
  const table = tableOf(measured, wrong.length)
  console.log(table)
  for (const line of wrong.slice(0, 20)) console.error(line)
  if (wrong.length === 0) writeFileSync(REPORT, pageOf(table))
  process.exitCode = wrong.length === 0 ? 0 : 1
} finally {
  for (const step of undo.reverse()) await step()
}

interface Measured {
  samples: readonly Sample[]
  flips: readonly Flip[]
  tookMs: number
  /** What slotgate's own process used, in CPU milliseconds. */
  cpuMs: number
}

async function measure(world: World): Promise<Measured> {
  for (const release of ['r42', 'r43']) await world.addRelease(release, { min: 41, max: 43 })
  const { pid } = await world.spawn(scope)
  await world.deploy('r42')
  await world.deploy('r43')
  const load = new Load(world.url)
  const [startedMs, cpuBeforeMs] = [performance.now(), cpuMsOf(pid)]
  load.start()
  const flips = await switchOften(world, FLIPS)
  const samples = await load.stop()
  return { samples, flips, tookMs: performance.now() - startedMs, cpuMs: cpuMsOf(pid) - cpuBeforeMs }
}

/** User and system time of a process so far (proc(5), stat fields 14 and 15). */
function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const perSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / perSecond
}

function tableOf({ samples, flips, tookMs, cpuMs }: Measured, wrong: number): string {
  const quick = samples.filter(({ kind }) => /^(get|post)/.test(kind)).map((sample) => sample.tookMs)
  const drains = flips.flatMap(({ drainMs }) => drainMs ?? [])
  const rows: [string, string][] = [
    ['switches', `${flips.length} in ${(tookMs / 1000).toFixed(0)} s`],
    ['requests sent', String(samples.length)],
    ['… a second', (samples.length / (tookMs / 1000)).toFixed(0)],
    ['**failed, or answered by a release that had left**', `**${wrong}**`],
    ['latency of GET and POST', spread(quick)],
    ['from the admin call to its answer', spread(flips.map(({ callMs }) => callMs))],
    ['of that, the switch itself', spread(flips.map((flip) => flip.tookMs))],
    [`from the flip to the former release's last byte (${drains.length} drains)`, spread(drains)],
    [
      'CPU of slotgate for a request, its share of the switches included',
      `${((cpuMs * 1000) / samples.length).toFixed(0)} µs`,
    ],
  ]
  return ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join('\n')
}

function spread(values: readonly number[]): string {
  return RANKS.map((rank) => `p${rank * 100} ${quantile(values, rank).toFixed(1)} ms`).join(' · ')
}

function pageOf(table: string): string {
  const { version } = createRequire(import.meta.url)('../package.json') as { version: string }
  const mix = KINDS.map((kind) => `${MIX[kind]} ${kind}`).join(', ')
  return `# Benchmarks

Written by \`npm run bench\`; run it again to replace this page.

## Switching under load

Two releases of a small app run; slotgate, in a process of its own, switches between them by signed calls, promotion
and rollback by turns, and every fourth switch comes while the one before is still draining. Meanwhile requests arrive at a
fixed rate, whether or not those before were answered (an open loop), and latency counts from the moment at which a request
was due. Arrivals per second: ${mix}. Every echo is compared byte for byte, every event stream is watched for gaps.
The load, both releases and slotgate share the machine's processors, so that latencies are those of a busy machine.

${table}

slotgate ${version}, Node ${process.version}, ${process.platform} ${process.arch}, ${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown processor'}, ${new Date().toISOString().slice(0, 10)}.
`
}
