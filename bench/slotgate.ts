// Starts slotgate as an operator would: a config, a key, `serve`, and a promotion through the signed command line.
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import { generateKey, writeKeyFile } from '../src/cli/keyfile.ts'
import { type Child, startChild } from './children.ts'
import { freePort, isAccepting } from './ports.ts'
import type { Place } from './proxies.ts'

const BIN = join(import.meta.dirname, '..', 'src', 'bin.ts')
const KEY_ID = 'bench'
const UP_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 20

export interface SlotgateOptions {
  accessLog: boolean
}

/** @throws Error when it does not come up or the promotion is refused */
export async function startSlotgate(place: Place, options: SlotgateOptions): Promise<Child> {
  const adminPort = await freePort()
  const key = join(place.folder, `${KEY_ID}.key`)
  const { content, publicKey = '' } = generateKey('ed25519')
  writeKeyFile(key, content)
  const config = join(place.folder, 'proxy.config.yaml')
  writeFileSync(config, configOf(place, options, { adminPort, publicKey }))
  const logFile = join(place.folder, 'output.log')
  const child = startChild(process.execPath, [BIN, 'serve', '--config', config], {
    cores: place.cores,
    cwd: place.folder,
    logFile,
  })
  try {
    await untilAccepting(adminPort, child, logFile)
    await promisify(execFile)(process.execPath, [
      BIN,
      'promote',
      '--admin',
      `http://127.0.0.1:${adminPort}`,
      '--key',
      key,
    ])
    return child
  } catch (error) {
    await child.end()
    throw error
  }
}

interface AdminDoor {
  adminPort: number
  publicKey: string
}

function configOf(
  { port, threads, backend }: Place,
  { accessLog }: SlotgateOptions,
  { adminPort, publicKey }: AdminDoor,
): string {
  const slot = (publicPort: number, internalPort: number) =>
    `{ public: "http://127.0.0.1:${publicPort}", internal: "http://127.0.0.1:${internalPort}" }`
  return `
listen: 127.0.0.1:${port}
threads: ${threads}
admin:
  listen: 127.0.0.1:${adminPort}
  keys:
    - { id: ${KEY_ID}, algorithm: ed25519, public_key: "${publicKey}", allow: [read, promote, rollback] }
state_dir: state
relay: { access_log: ${accessLog ? 'on' : 'off'} }
services:
  app:
    slots:
      blue: ${slot(backend.port, backend.internalPort)}
      green: ${slot(backend.otherPort, backend.otherInternalPort)}
    schema: off
`
}

async function untilAccepting(port: number, child: Child, logFile: string): Promise<void> {
  for (const end = performance.now() + UP_WITHIN_MS; performance.now() < end; await pause(LOOK_AGAIN_MS)) {
    if (child.hasExited()) throw new Error(`slotgate ended at its start:\n${readFileSync(logFile, 'utf8')}`)
    if (await isAccepting(port)) return
  }
  throw new Error(`slotgate does not listen within ${UP_WITHIN_MS} ms`)
}
