// Switches under a load of everything that a browser does: uploads, event streams, WebSockets, fresh connections.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KINDS, MIX } from '../../test/support/load.ts'
import { startChild } from '../children.ts'
import { ALL_CORES } from '../machine.ts'
import type { MixedResult } from '../mixed.ts'
import { newPlace } from '../start.ts'
import { quantile, short, whole } from '../stats.ts'
import type { Task, Work } from './work.ts'

const FLIPS = 200
const QUICK_FLIPS = 20

export const MIXED: Work = { name: 'mixed', run }

async function run({ ground, proxies, isQuick, figures }: Task) {
  if (!proxies.some(({ name }) => name === 'slotgate')) return null
  const { folder } = await newPlace(ground, 'mixed', { cores: ALL_CORES, threads: 0 })
  const logFile = join(folder, 'output.log')
  const args = [join(import.meta.dirname, '..', 'mixed.ts'), String(isQuick ? QUICK_FLIPS : FLIPS)]
  // What an interrupted run leaves there goes with the folder of the bench.
  const env = { TMPDIR: folder }
  const child = startChild(process.execPath, args, { cores: ALL_CORES, cwd: folder, logFile, env })
  await child.exited
  const output = readFileSync(logFile, 'utf8')
  await child.end()
  const result = parse(output)
  for (const line of result.wrong.slice(0, 20)) console.error(line)
  figures.set('mixed failed', 'slotgate', result.wrong.length)
  const mix = KINDS.map((kind) => `${MIX[kind]} ${kind}`).join(', ')
  return {
    title: 'Switching under a mixed load',
    about: `Two releases of a small app run that slotgate boots itself; it switches between them, gate and schema status included, by signed calls,
promotion and rollback by turns, and every fourth switch comes while the one before is still draining. Meanwhile requests arrive at a
fixed rate, whether or not those before were answered, and latency counts from the moment at which a request was due. Arrivals per
second: ${mix}. Every echo is compared byte for byte, every event
stream is watched for gaps. Load, releases and slotgate share all cores, so that latencies are those of a busy machine.`,
    columns: ['', ''],
    rows: rowsOf(result),
    isText: true,
  }
}

/** @throws Error with what it printed where that is no result */
function parse(output: string): MixedResult {
  try {
    return JSON.parse(output.trimEnd().split('\n').at(-1) ?? '')
  } catch {
    throw new Error(`the mixed load ended without a result:\n${output.slice(-2000)}`)
  }
}

function rowsOf({ flips, samples, quickMs, wrong, tookMs, cpuMs }: MixedResult): string[][] {
  const drains = flips.flatMap(({ drainMs }) => drainMs ?? [])
  return [
    ['switches', `${flips.length} in ${short(tookMs / 1000)} s`],
    ['requests sent', whole(samples)],
    ['**failed, or answered by a release that had left**', `**${wrong.length}**`],
    ['latency of GET and POST', spread(quickMs)],
    ['from the admin call to its answer', spread(flips.map(({ callMs }) => callMs))],
    ['of that, the switch itself', spread(flips.map((flip) => flip.tookMs))],
    [`from the flip to the former release's last byte (${drains.length} drains)`, spread(drains)],
    [
      'CPU of slotgate for a request, its share of the switches included',
      `${short((cpuMs * 1000) / samples)} µs`,
    ],
  ]
}

const spread = (values: readonly number[]): string =>
  [0.5, 0.99, 0.999].map((rank) => `p${rank * 100} ${short(quantile(values, rank))} ms`).join(' · ')
