// What the docs show in blocks of `sh`, typed into a shell as it stands, and whether what came of it is what they show.
import { type ChildProcess, spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import type { Scope } from './scope.ts'

export interface Block {
  /** Typed in one go. */
  typed: string
  /** What the page shows of the answer, if anything. */
  shown?: string
}

export interface Answered {
  output: string
  /** Of the last command. */
  exitCode: number
}

/** The blocks of `sh` in a page, each with the block of `text` that follows at once. */
export function blocksOf(page: string): Block[] {
  const [, ...blocks] = page.split(/^```sh\n/m)
  return blocks.map((block) => {
    const [typed = ''] = block.split('\n```\n', 1)
    const shown = /^\n```text\n([\s\S]*?)\n```/.exec(block.slice(typed.length + '\n```\n'.length))?.[1]
    return { typed, ...(shown !== undefined && { shown }) }
  })
}

/**
 * Types scripts into one shell, one after the other. What it leaves in the background is killed.
 *
 * @param t the test that it belongs to
 */
export async function typeAll(
  t: Scope,
  scripts: readonly string[],
  options: { cwd: string; env: NodeJS.ProcessEnv },
): Promise<Answered[]> {
  const marked = scripts.map((script) => `${lineByLine(script)}\ncode=$?; echo; echo "@@ $code"\n`)
  const shell = spawn('sh', ['-c', ['exec 2>&1', ...marked].join('\n')], {
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const killAll = () => killGroup(shell)
  // Whoever is left holds its output open.
  shell.once('exit', killAll)
  t.teardown(killAll)
  const answers = (await text(shell.stdout)).matchAll(/([\s\S]*?)^@@ (\d+)\n/gm)
  return [...answers].map(([, output = '', exitCode]) => ({ output, exitCode: Number(exitCode) }))
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

/** What curl gets rarely ends with the end of a line. */
const lineByLine = (script: string): string => script.replaceAll(/^curl [^\n]*[^\\\n]$/gm, '$& && echo')

/** Without what differs from run to run: ports, commits, spans, and how long a call took. */
const steady = (line: string): string =>
  line
    .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')
    .replaceAll(/\b[0-9a-f]{12}\b/g, 'COMMIT')
    .replaceAll(/\d+ ms\)/g, 'N ms)')
    .replaceAll(/\bup \d+ \w+/g, 'up SPAN')
    .replaceAll(/ {2,}/g, ' ')
    .trimEnd()

/** The steps of a call, each with what the release wrote meanwhile. */
const PROGRESS = /^ {2}… \w.*\n(?: {4}│ .*\n)*/gm

/** What was answered, as `patternOf` expects it. */
export const linesOf = (output: string): string =>
  output
    .replaceAll(PROGRESS, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `${steady(line)}\n`)
    .join('')

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

/** The whole output, where a line of only `…` stands for any number of lines. */
export function patternOf(shown: string): RegExp {
  const parts = shown
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (line.trim() === '…' ? '(?:.*\\n)*' : `${escaped(steady(line))}\\n`))
  return new RegExp(`^${parts.join('')}$`)
}
