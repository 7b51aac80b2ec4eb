// A command line without a terminal: runs the CLI with streams that remember, and a real admin server to talk to.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { Deps } from '../../src/cli/call.ts'
import { runCli } from '../../src/cli/run.ts'
import type { Control } from '../../src/switch/types.ts'
import { type Door, openDoor, privateKey } from '../admin/door.ts'

export interface Ended {
  code: number
  stdout: string
  stderr: string
}

export interface Terminal extends Partial<Pick<Deps, 'env' | 'serve' | 'dev' | 'stderr'>> {
  isTTY?: boolean
}

export async function run(
  argv: string[],
  { env = {}, serve, dev, stderr, isTTY = false }: Terminal = {},
): Promise<Ended> {
  const written = { stdout: '', stderr: '' }
  const sink = (name: keyof typeof written) => ({
    isTTY,
    write: (text: string) => {
      written[name] += text
    },
  })
  const refuse = () => Promise.reject(new Error('slotgate was not expected to run'))
  const code = await runCli(argv, {
    serve: serve ?? refuse,
    dev: dev ?? refuse,
    stdout: sink('stdout'),
    stderr: stderr ?? sink('stderr'),
    env,
  })
  return { code, ...written }
}

export function newFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'slotgate-cli-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

export interface Desk extends Door {
  /** Where the key file `ops.key` is. */
  folder: string
  env: Record<string, string>
  run(argv: string[], terminal?: Terminal): Promise<Ended>
}

/** An admin server, and an operator in front of it whose environment has its address and a key. */
export async function openDesk(t: Test, overrides: Partial<Control> = {}): Promise<Desk> {
  const door = await openDoor(t, { overrides })
  const folder = newFolder(t)
  const key = join(folder, 'ops.key')
  writeFileSync(key, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 })
  const env = { SLOTGATE_ADMIN: door.url, SLOTGATE_KEY: key }
  return {
    ...door,
    folder,
    env,
    run: (argv, terminal = {}) => run(argv, { ...terminal, env: { ...env, ...terminal.env } }),
  }
}
