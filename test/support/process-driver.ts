// The process driver by itself, on a folder and a journal of its own, without slotgate around it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Journal } from '../../src/journal/file.ts'
import { createLogger } from '../../src/log.ts'
import type { Driver } from '../../src/slots/drivers/driver.ts'
import { createProcessDriver } from '../../src/slots/drivers/process.ts'
import { folderSource } from '../../src/slots/drivers/source.ts'

export const BOOT = {
  release: 'r1',
  slot: 'blue',
  rehearsal: false,
  signal: new AbortController().signal,
} as const

export interface ProcessDriverWorld {
  journal: Journal
  /** The log. */
  lines: string[]
  /** The file that the config names; it is not made. */
  envFile: string
  /** As a start of slotgate makes it. */
  createDriver(config?: { envFile?: string }): Driver
}

/** @param script what Node runs as the release */
export async function processDriverWorld(t: Test, script: string): Promise<ProcessDriverWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'slotgate-process-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const journal = await Journal.open(join(folder, 'journal.jsonl'))
  t.teardown(() => journal.close().catch(() => {}))
  const lines: string[] = []
  const createDriver = (config: { envFile?: string } = {}) =>
    createProcessDriver({
      service: 'invoices',
      source: folderSource(folder, 'invoices', journal),
      releases: { command: [process.execPath, '-e', script], env: {}, ...config },
      settings: () => ({
        health: { path: '/', intervalMs: 20, timeoutMs: 1_000, withinMs: 5_000 },
        stopWithinMs: 500,
      }),
      stateDir: folder,
      journal,
      log: createLogger('info', { write: (line) => void lines.push(line) }),
    })
  return { journal, lines, envFile: join(folder, 'secrets.env'), createDriver }
}
