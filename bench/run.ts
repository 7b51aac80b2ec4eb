// `npm run bench`: measures slotgate against what people put in its place, all of it in one run on one machine. A full
// run writes docs/benchmarks.md; `--quick`, `--only PROXY,…` and `--work WORK,…` only print.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Choice, parseArguments } from './args.ts'
import { endChildren } from './children.ts'
import { installPeers } from './install.ts'
import { LOAD_CORE, pinSelf, warnIfBusy } from './machine.ts'
import { pageOf } from './page.ts'
import { PROXIES, type ProxySetup } from './proxies.ts'
import { Figures, type Section, tableOf } from './results.ts'
import { startGround } from './start.ts'
import { targetTable } from './targets.ts'
import { COSTS } from './works/cost.ts'
import { FLIPS } from './works/flips.ts'
import { IDLE } from './works/idle.ts'
import { LATENCY } from './works/latency.ts'
import { MIXED } from './works/mixed.ts'
import { THREADS } from './works/threads.ts'
import type { Pace, Task, Work } from './works/work.ts'

const WORKS: readonly Work[] = [...COSTS, LATENCY, IDLE, THREADS, FLIPS, MIXED]
const PAGE = join(import.meta.dirname, '..', 'docs', 'benchmarks.md')

const FULL: Pace = { rounds: 3, firstWarmMs: 2500, warmMs: 400, measureMs: 2000 }
/** All proxies and works within two minutes, hardly warm. */
const QUICK: Pace = { rounds: 1, firstWarmMs: 300, warmMs: 0, measureMs: 400 }
/** Quick, and yet with time for some rounds, since few are to be measured. */
const QUICK_FEW: Pace = { rounds: 3, firstWarmMs: 2000, warmMs: 300, measureMs: 1500 }
const FEW = 6
const ENDS_WITHIN_MS = 25 * 60_000

const choice = readChoice()
let isLeaving = false
const folder = mkdtempSync(join(tmpdir(), 'slotgate-bench-'))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void leave(130))
setTimeout(() => void leave(1, 'The bench takes too long and is ended.'), ENDS_WITHIN_MS).unref()

try {
  await leave((await run(choice)) ? 0 : 1)
} catch (error) {
  await leave(1, (error as Error).stack)
}

function readChoice(): Choice {
  const known = { proxies: PROXIES.map(({ name }) => name), works: WORKS.map(({ name }) => name) }
  try {
    return parseArguments(process.argv.slice(2), known)
  } catch (error) {
    console.error((error as Error).message)
    process.exit(2)
  }
}

/** Ends the bench, and whatever it started. */
async function leave(code: number, why?: string): Promise<void> {
  // What is interrupted fails, too; it has no say in how the bench ends.
  if (isLeaving) return
  isLeaving = true
  if (why) console.error(why)
  await endChildren()
  rmSync(folder, { recursive: true, force: true })
  process.exit(code)
}

/** @returns whether everything could be measured, and no request failed in a switch */
async function run({ quick, only, works }: Choice): Promise<boolean> {
  const chosen = named(PROXIES, only).filter(({ isVariant }) => !isVariant || !quick || only.length > 0)
  if (chosen.some(({ from }) => from.startsWith('npm'))) installPeers()
  warnIfBusy()
  pinSelf(LOAD_CORE)
  const proxies = chosen.filter(isThere)
  const asked = named(WORKS, works)
  const pace = quick ? (proxies.length * asked.length <= FEW ? QUICK_FEW : QUICK) : FULL
  const figures = new Figures()
  const ground = await startGround(folder)
  const sections = await measureAll(asked, { ground, proxies, pace, isQuick: quick, figures })
  const targets = targetTable(figures)
  if (targets) console.log(`\nTo reach\n\n${targets}`)
  const isWhole = !quick && only.length === 0 && works.length === 0
  if (isWhole && sections) writeFileSync(PAGE, pageOf({ proxies: chosen, sections, figures, targets }))
  const failed = ['flips failed', 'mixed failed'].map((what) => figures.get(what, 'slotgate') ?? 0)
  return sections !== null && failed.every((count) => count === 0)
}

/** One work after the other, each shown as it ends. @returns null when one could not be measured */
async function measureAll(works: readonly Work[], task: Task): Promise<Section[] | null> {
  const sections: (Section | null)[] = []
  let isComplete = true
  for (const work of works) {
    try {
      const section = await work.run(task)
      sections.push(section)
      if (section) console.log(`\n${section.title}\n\n${tableOf(section)}`)
    } catch (error) {
      isComplete = false
      console.error(`${work.name} could not be measured: ${(error as Error).stack}`)
    }
  }
  return isComplete ? sections.filter((section) => section !== null) : null
}

function isThere({ name, version, from }: ProxySetup): boolean {
  if (version() !== null) return true
  console.error(`${name} is not installed and will be missing; this installs it: ${from}`)
  return false
}

function named<Named extends { name: string }>(all: readonly Named[], names: readonly string[]): Named[] {
  return all.filter(({ name }) => names.length === 0 || names.includes(name))
}
