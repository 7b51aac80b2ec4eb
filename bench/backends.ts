// Starts the app that all proxies stand in front of.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type Child, startChild } from './children.ts'
import { LOAD_CORE } from './machine.ts'
import type { BackendPorts } from './proxies.ts'

const UP_WITHIN_MS = 5000
const LOOK_AGAIN_MS = 10

/** @throws Error when it does not say where it listens */
export async function startBackend(folder: string): Promise<{ child: Child; ports: BackendPorts }> {
  const logFile = join(folder, 'backend.log')
  const file = join(import.meta.dirname, 'backend.ts')
  const child = startChild(process.execPath, [file], { cores: LOAD_CORE, cwd: folder, logFile })
  for (const end = performance.now() + UP_WITHIN_MS; performance.now() < end; await pause(LOOK_AGAIN_MS)) {
    const [line = '', ...more] = readFileSync(logFile, 'utf8').split('\n')
    if (more.length > 0) return { child, ports: JSON.parse(line) }
  }
  throw new Error(`the backend does not start:\n${readFileSync(logFile, 'utf8')}`)
}
