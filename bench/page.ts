// Writes docs/benchmarks.md out of what a full run found.
import { availableParallelism } from 'node:os'
import { loadLine, machineLine } from './machine.ts'
import type { ProxySetup } from './proxies.ts'
import { type Figures, type Section, tableOf, wrap } from './results.ts'
import { short } from './stats.ts'
import { TITLES } from './works/cost.ts'

export interface Report {
  /** All that were to be measured, those that are missing, too. */
  proxies: readonly ProxySetup[]
  sections: readonly Section[]
  figures: Figures
  /** What was to be reached, as a table. */
  targets: string
}

export function pageOf({ proxies, sections, figures, targets }: Report): string {
  const details = sections.map(
    (section) => `## ${section.title}\n\n${wrap(section.about)}\n\n${tableOf(section)}`,
  )
  return `# Benchmarks

Written by \`npm run bench\` on ${new Date().toISOString().slice(0, 10)}; run it again to replace this page. It takes less than twenty minutes.

${machineLine()}, Node ${process.version}, ${loadLine()}.

## What was to be reached

${targets}

## What a request costs

Microseconds of CPU per request, the median of all rounds; in parentheses, how many times what nginx needs. The details are below.

${overviewOf(proxies, figures)}

${details.join('\n\n')}

## How to read it

- **CPU per request** is the time that all threads of all processes of a proxy had a core, as the kernel counts it in
  \`/proc/PID/task/TID/schedstat\`, divided by the requests that were answered meanwhile. It is the figure that noise leaves alone: a machine that is
  busy with something else makes a proxy slower and not more expensive. How it divides into user and system time comes from
  \`/proc/PID/stat\`, which samples.
- **The proxy has core 0 to itself** (\`taskset\`); the load and the app share ${availableParallelism() > 2 ? 'core 1' : 'the other'}. A proxy that is quicker than the load and the app
  together is not busy all the time, and then has fewer requests at hand each time it looks, so that each costs a little more: a
  handicap for the cheap ones. *core busy* tells.
- **Rounds by turns**: the first round of all proxies, then the second of all. What disturbs the machine for a while disturbs them all,
  and *lowest–highest* shows how much. Every work has fresh processes, which run warm before they are measured.
- **Ratios hold within a run**; microseconds of two machines do not compare.
- **Nothing is measured that does not work**: before each work, every proxy relays a query, bodies with a length and in chunks, a chunked
  response, a MiB in both directions and a WebSocket, byte for byte; what does not, is shown as failed.
- **The app** is a process on bare sockets with canned answers, the same for all. So is the load, which looks at every answer: status and
  length. \`failed\` counts those that were wrong or missing.

## Who was measured

${tableOf({ columns: ['proxy', 'version', 'setup'], rows: proxies.map(setupOf), isText: true })}

## Commands

\`\`\`sh
npm run bench                                              # everything; writes this page
npm run bench -- --quick                                   # a short look, two minutes
npm run bench -- --only nginx,slotgate --work small-get    # some of it
\`\`\`

It runs on Linux with two cores or more, on loopback, without being root. nginx, HAProxy and Caddy are those of the system, where they are
installed; the peers on Node are in \`bench/package.json\`, with exact versions, and are installed by the bench itself.
`
}

function setupOf({ name, version, setup, from }: ProxySetup): string[] {
  const found = version()
  return found === null ? [name, '–', `not installed: ${from}`] : [name, found, setup]
}

function overviewOf(proxies: readonly ProxySetup[], figures: Figures): string {
  const names = proxies.filter(({ isVariant }) => !isVariant).map(({ name }) => name)
  const rows = [...TITLES].map(([work, title]) => [
    title,
    ...names.map((name) => cellOf(figures.get(work, name), figures.get(work, 'nginx'))),
  ])
  return tableOf({ columns: ['', ...names], rows })
}

function cellOf(value: number | undefined, nginx: number | undefined): string {
  if (value === undefined) return '–'
  return nginx === undefined ? short(value) : `${short(value)} (${(value / nginx).toFixed(1)})`
}
