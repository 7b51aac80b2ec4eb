// `npm run bench`: measures slotgate against what people put in its place, all of it in one run on one machine.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArguments } from './args.ts'
import { startBackend } from './backends.ts'
import { LOAD_CORE, pinSelf } from './machine.ts'
import { PROXIES } from './proxies.ts'
import { measureWork, startProxy } from './rounds.ts'
import { closedTable } from './tables.ts'
import { WORKS } from './works.ts'

const QUICK = { rounds: 3, firstWarmMs: 2000, warmMs: 300, measureMs: 1500 }
const FULL = { rounds: 5, firstWarmMs: 3000, warmMs: 500, measureMs: 2500 }

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
const folder = mkdtempSync(join(tmpdir(), 'slotgate-bench-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))

const choice = parseArguments(
  process.argv.slice(2),
  PROXIES.map(({ name }) => name),
  WORKS.map(({ name }) => name),
)
const chosen = <Named extends { name: string }>(all: readonly Named[], names: readonly string[]): Named[] =>
  all.filter(({ name }) => names.length === 0 || names.includes(name))

pinSelf(LOAD_CORE)
const { child: app, ports: backend } = await startBackend(folder)
for (const work of chosen(WORKS, choice.works)) {
  const present = chosen(PROXIES, choice.only).filter((proxy) => proxy.version() !== null)
  const running = await Promise.all(present.map((proxy) => startProxy(proxy, { folder, backend })))
  const results = await measureWork(work, running, choice.quick ? QUICK : FULL)
  console.log(`\n${work.title}\n${closedTable(results)}`)
  await Promise.all(running.map(({ child }) => child.end()))
}
await app.end()
process.exit(0)
